//! Whether and when an event that failed is tried again. Pure.

pub mod classify;
pub mod policy;
pub mod schedule;
