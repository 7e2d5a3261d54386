//! People who repair what is wrong and send commands about dead letters: twice, two at once, late, both kinds.

use std::collections::BTreeSet;

use processor::emit::Out;
use schemas::command::{Command, Verb, encode_history};
use schemas::{DeadEvent, DeadId, ReasonCode, Resolution};

use crate::topic::Stamped;
use crate::world::World;

impl World {
    /// Dead letters that a repair helps and that nobody has dealt with.
    pub fn letters(&self) -> Vec<(i32, i64)> {
        let cluster = self.cluster.borrow();
        let resolved = cluster.log((Out::Resolutions, 0)).committed(0).map(|(_, record)| record.key.clone());
        let resolved: BTreeSet<Vec<u8>> = resolved.collect();
        let mut letters = Vec::new();
        for (partition, log) in cluster.partitions(Out::Dead) {
            for (offset, record) in log.committed(0) {
                let dead = DeadEvent::decode(&record.value).expect("our own record");
                let is_helped = ["attempts_exhausted", "handler_panicked", "park_overflow"].contains(&dead.reason);
                if is_helped && !resolved.contains(dead.dead_id.as_bytes()) {
                    letters.push((partition, offset));
                }
            }
        }
        letters
    }

    /// Someone does something about a dead letter, once the half of the time is over.
    pub fn let_people_act(&self) {
        let (ills, horizon) = {
            let plan = self.plan.borrow();
            (plan.ills, plan.horizon)
        };
        if !ills.is_repaired || *self.steps.borrow() < horizon / 2 {
            return;
        }
        self.ward.repair();
        let letters = self.letters();
        let Some((partition, offset)) = self.plan.borrow_mut().pick(&letters) else { return };
        let verb = if self.is_likely(80) { Verb::Redrive } else { Verb::Discard };
        let times = if self.is_likely(30) { 2 } else { 1 };
        let mut cluster = self.cluster.borrow_mut();
        let record = cluster.log((Out::Dead, partition)).committed(offset).next().expect("it was there").1.clone();
        let dead = DeadEvent::decode(&record.value).expect("our own record");
        self.say(|| format!("people: {verb:?} {} {times} times", dead.dead_id));
        for _ in 0..times {
            let history = encode_history(&dead.history);
            let id = cluster.nonce().to_string();
            let command = Command {
                verb,
                id: &id,
                dead_id: DeadId::parse(dead.dead_id).expect("a dead id"),
                source: Some(dead.source.unwrap_or_default()),
                attempts: u32::try_from(dead.attempts).expect("few"),
                first_failed_ms: dead.first_failed_ms,
                received_at_ms: dead.received_at_ms,
                operator: "model",
                note: "",
                is_as_is: false,
                history: &history,
                originals: dead.original_headers.clone(),
            };
            let sent = Stamped {
                key: dead.original_key.unwrap_or_default().to_vec(),
                value: dead.original_value.unwrap_or_default().to_vec(),
                headers: command.headers(),
                ..Stamped::default()
            };
            cluster.append_plain((Out::Retry(0), partition), sent);
        }
    }

    /// How many records are in retry topics, and how many dead letters people dealt with.
    pub fn waited(&self) -> (usize, usize) {
        let cluster = self.cluster.borrow();
        let in_tier =
            |tier| cluster.partitions(Out::Retry(tier)).map(|(_, log)| log.committed(0).count()).sum::<usize>();
        (
            in_tier(0) + in_tier(1),
            self.resolutions().iter().filter(|resolution| resolution.command_id.is_some()).count(),
        )
    }

    /// What became of each dead letter.
    pub fn resolutions(&self) -> Vec<Resolution> {
        let cluster = self.cluster.borrow();
        let all = cluster.log((Out::Resolutions, 0)).committed(0);
        all.map(|(_, record)| Resolution::decode(&record.value).expect("our own record")).collect()
    }
}

/// Whether a reason is one of those that nobody can help.
pub fn is_beyond_help(reason: &str) -> bool {
    ReasonCode::parse(reason).is_some_and(|reason| matches!(reason, ReasonCode::Undecodable | ReasonCode::NoIdentity))
}
