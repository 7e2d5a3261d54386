//! The worker that runs in production, over Kafka and disks in memory: random histories, random faults, one seed each.
//! What comes out must equal a model that fits on one screen.
//!
//! A failure prints its seed, the fewest faults that still fail, and a trace; `SEED=` takes a seed back, `SEEDS=` and
//! `FIRST=` run many. Every guarantee has a control that breaks it, and each control must be caught.

mod topic;
mod transactions;
mod group;
mod cluster;
mod client;
mod producer;
mod sabotage;
mod stores;
mod observer;
mod plan;
mod world;
mod ward;
mod people;
mod schedule;
mod oracle;
mod simulate;
mod controls;
mod every_point;
mod scenarios;
