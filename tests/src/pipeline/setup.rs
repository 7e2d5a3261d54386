//! What a pipeline is to be like, and the `weir.toml` that says so.

use std::path::PathBuf;

use anyhow::Result;

use crate::broker;
use crate::place;
use crate::ports;
use crate::sources::Source;

/// What a pipeline is to be like.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Kafka's bootstrap list.
    pub brokers: String,
    /// Put before every topic.
    pub prefix: String,
    /// Everything on disk: `weir.toml`, secrets, logs, state. Emptied at start.
    pub folder: PathBuf,
    /// What secrets and choices follow from.
    pub seed: u64,
    /// Where the door listens.
    pub ingest_port: u16,
    /// N.
    pub partitions: i32,
    /// Largest body, bytes; whole KiB.
    pub body_limit: usize,
    /// `[processor] session_timeout`.
    pub session_timeout: &'static str,
    /// `[kafka] wait`.
    pub wait: &'static str,
    /// More environment for every process: `WEIR__…` overrides.
    pub environment: Vec<(String, String)>,
    /// The program that is the processor.
    pub processor: &'static str,
    /// More of `weir.toml`: whole sections.
    pub sections: &'static str,
}

impl Setup {
    /// For a test: a prefix, a folder and ports of its own.
    pub fn test(name: &str, brokers: &str, seed: u64) -> Result<Self> {
        Ok(Self {
            brokers: brokers.to_owned(),
            prefix: broker::prefix(name),
            folder: place::root().join("target/e2e").join(name),
            seed,
            ingest_port: ports::free()?,
            partitions: 8,
            body_limit: 256 * 1024,
            session_timeout: "6s",
            wait: "30s",
            // No balancer stands before it.
            environment: vec![("WEIR__INGEST__LINGER".to_owned(), "0s".to_owned())],
            processor: "weir-processor",
            sections: "",
        })
    }

    /// Its `weir.toml`. What differs from process to process comes by environment.
    pub(super) fn toml(&self) -> String {
        let Self { brokers, prefix, partitions, body_limit, session_timeout, wait, ingest_port, .. } = self;
        let mut toml = format!(
            "# Written by weir-demo or a test.\n\
             [kafka]\nbrokers = {brokers:?}\nwait = {wait:?}\n\n\
             [topics]\nprefix = {prefix:?}\npartitions = {partitions}\n\n\
             [ingest]\nlisten = \"127.0.0.1:{ingest_port}\"\nbody_limit = \"{}KiB\"\n\n\
             [processor]\nsession_timeout = {session_timeout:?}\n\n{}",
            body_limit / 1024,
            self.sections,
        );
        for source in Source::ALL {
            toml.push_str(&source.toml(&self.folder.join("secrets")));
            toml.push('\n');
        }
        toml
    }
}
