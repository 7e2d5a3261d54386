//! A rig whose events follow a script, and what became of each of them.

use std::collections::BTreeMap;
use std::process::Command;

use rdkafka::message::{Headers as _, Message as _};
use schemas::verified_event::{EventKind, HttpHeaders, StaleMode, VerifiedEvent};
use schemas::{DeadEvent, Topic, headers, identity, partition};
use serde_json::Value;
use weir_tests::process::Process;
use weir_tests::script::{MENDED, SCRIPT};
use weir_tests::stepper::STAYS;
use weir_tests::wait::wait_until;

use crate::PATIENCE;
use crate::rig::{PARTITIONS, Rig};

/// A rig whose events follow a script.
pub struct Scene {
    /// Its installation.
    pub rig: Rig,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Its id.
    pub id: String,
    /// Reason code.
    pub reason: String,
    /// How often it was handled.
    pub attempts: i64,
    /// Which attempts are in its history.
    pub history: Vec<i64>,
}

/// What `weir` said.
pub struct Said {
    /// Exit code.
    pub code: Option<i32>,
    /// The lines that are JSON.
    pub rows: Vec<Value>,
    /// All of it, for an error message.
    pub text: String,
}

impl Scene {
    /// Topics of its own. `retry` is what stands under `[retry]`.
    pub async fn new(name: &str, retry: &str) -> Self {
        let settings = format!(
            "[retry]\n{retry}\n[processor]\nsession_timeout = \"6s\"\ncommit_interval = \"20ms\"\nbatch_events = 25\n"
        );
        Self::with_settings(name, &settings).await
    }

    /// The same with all settings.
    pub async fn with_settings(name: &str, settings: &str) -> Self {
        let mut scene = Self { rig: Rig::with_settings(name, settings).await };
        scene.break_again();
        scene
    }

    /// From now on events follow their script.
    pub fn break_again(&mut self) {
        self.rig.environment = vec![(SCRIPT, "broken")];
    }

    /// From now on every event passes.
    pub fn mend(&mut self) {
        self.rig.environment = vec![(SCRIPT, MENDED)];
    }

    /// Appends events: the resource and the id of each.
    pub fn feed<I: AsRef<str>>(&self, events: &[(u32, I)]) {
        self.rig.append(events.iter().map(|(resource, id)| record("alpha", *resource, id.as_ref())));
    }

    /// Starts a worker that goes on until it is killed.
    pub fn stay(&self, instance: &str) -> Process {
        let mut environment = self.rig.environment.clone();
        environment.push((STAYS, "1"));
        self.rig.start_with(instance, &environment)
    }

    /// Waits until what is committed is there for every reader, when all workers have stopped or have nothing to do.
    pub fn settle(&self) {
        [Topic::Clean, Topic::Dead].iter().for_each(|topic| self.rig.settle(topic));
    }

    /// Ids in `clean-events`, with where each came from, in the order of their sequence numbers by partition.
    pub fn clean(&self) -> Vec<String> {
        let mut found = self.rig.read(&Topic::Clean, |message| {
            let header = |name: &str| text(message, name);
            let seq: u64 = header(headers::WEIR_SEQ).parse().expect("a number");
            (header(headers::WEIR_SRC).split(':').next().map(str::to_owned), seq, header(headers::ID))
        });
        found.sort();
        found.into_iter().map(|(_, _, id)| id).collect()
    }

    /// Dead letters by the id of their event; the last of several.
    pub fn dead(&self) -> BTreeMap<String, Dead> {
        let found = self.rig.read(&Topic::Dead, |message| {
            let dead = DeadEvent::decode(message.payload().unwrap_or_default()).expect("a dead letter");
            let history = dead.history.iter().map(|failure| failure.attempt).collect();
            let (id, reason, attempts) = (dead.dead_id.to_owned(), dead.reason.to_owned(), dead.attempts);
            (dead.event_id.unwrap_or_default().to_owned(), Dead { id, reason, attempts, history })
        });
        found.into_iter().collect()
    }

    /// Hops of each event through the retry topics, in order.
    pub fn hops(&self) -> BTreeMap<String, Vec<u32>> {
        let mut hops: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for tier in self.rig.tiers() {
            let found = self.rig.read(&tier, |message| {
                let hop = text(message, headers::WEIR_HOP).parse::<u32>().ok()?;
                let event = VerifiedEvent::decode(message.payload()?).ok()?;
                Some((event.event_id.to_owned(), hop))
            });
            for (id, hop) in found.into_iter().flatten() {
                hops.entry(id).or_default().push(hop);
            }
        }
        hops.values_mut().for_each(|hops| hops.sort_unstable());
        hops
    }

    /// Waits until something holds of what is committed.
    pub async fn wait(&self, what: &str, holds: impl Fn(&Self) -> Result<(), String>) {
        wait_until(what, PATIENCE, || std::future::ready(holds(self)))
            .await
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.rig.log("a")));
    }

    /// Waits until so many events are dead.
    pub async fn wait_for_dead(&self, count: usize) -> BTreeMap<String, Dead> {
        self.wait("the dead letters", |scene| {
            let dead = scene.dead();
            if dead.len() == count { Ok(()) } else { Err(format!("{dead:?}")) }
        })
        .await;
        self.dead()
    }

    /// Runs `weir`.
    pub fn weir(&self, arguments: &[&str]) -> Said {
        said(self.rig.weir(arguments))
    }
}

/// Runs a command to its end.
pub fn said(mut command: Command) -> Said {
    let output = command.output().expect("built before");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let text = format!("{command:?}: {:?}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    Said { code: output.status.code(), rows, text }
}

/// The record of an event as ingest writes it, with its partition.
pub fn record(source: &str, resource: u32, id: &str) -> (i32, Vec<u8>, Vec<u8>) {
    let key = partition::resource_key(source, "thing", &resource.to_string()).into_bytes();
    let identity = identity::by_id(id);
    let body = format!("{{\"id\":{id:?},\"resource\":{resource},\"text\":\"{}\"}}", "lorem ipsum ".repeat(20));
    let mut value = Vec::new();
    VerifiedEvent {
        source,
        preset: "github",
        event_id: id,
        event_type: if resource.is_multiple_of(2) { "thing.updated" } else { "thing.created" },
        identity: &identity,
        identity_signed: true,
        window_ms: 4 * 24 * 60 * 60 * 1000,
        stale: StaleMode::Off,
        kind: EventKind::Other,
        occurred_at_ms: None,
        occurred_at_signed: false,
        signed_at_ms: None,
        received_at_ms: 1,
        content_type: "application/json",
        assurance: 2,
        schema: None,
        defect: None,
        http_headers: HttpHeaders::default(),
        body: body.as_bytes(),
    }
    .encode(&mut value);
    (partition::partition(&key, PARTITIONS), key, value)
}

/// A resource whose events lie in this partition, the nth of them.
pub fn resource_in(of: i32, nth: usize) -> u32 {
    let lies_there = |resource: &u32| record("alpha", *resource, "x").0 == of;
    (0..).filter(lies_there).nth(nth).expect("there are enough")
}

/// A header of a record, as text; empty without it.
pub fn text(message: &rdkafka::message::BorrowedMessage<'_>, name: &str) -> String {
    let found = message.headers().and_then(|headers| headers.iter().find(|header| header.key == name));
    String::from_utf8_lossy(found.and_then(|header| header.value).unwrap_or_default()).into_owned()
}
