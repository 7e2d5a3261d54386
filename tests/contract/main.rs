//! The contract: published vectors, golden records, names. What other teams and other versions rely on.
//!
//! Fixtures are added to, never edited: a change here is a change for everyone who reads our topics.

mod json;
mod records;
mod names;
mod signatures;
