//! Every topic: its name, partitions, retention and cleanup, derived from the few settings that decide them.
//!
//! `weir topics apply` creates exactly this and the services check it at start; nothing else may create a topic.

use crate::sizes;

/// A topic of Weir.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// What ingest writes.
    Verified,
    /// A retry tier, by the text of its delay.
    Retry(String),
    /// What downstream services subscribe to.
    Clean,
    /// What `stale = "route"` set aside.
    Stale,
    /// What was given up.
    Dead,
    /// What became of dead events.
    Resolutions,
    /// Requests that failed verification, by opt-in.
    Quarantine,
    /// The state's changelog.
    Changelog,
}

/// What decides the topics of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Put before every name.
    pub prefix: String,
    /// N.
    pub partitions: i32,
    /// Replication factor.
    pub replication: i32,
    /// The texts of `[retry] delays`, as configured.
    pub retry_delays: Vec<String>,
    /// The largest body any source may send.
    pub body_limit: u64,
    /// The longest deduplication window of any source, in milliseconds.
    pub longest_window_ms: i64,
}

/// How a topic is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Which topic.
    pub topic: Topic,
    /// Its full name.
    pub name: String,
    /// Its partition count.
    pub partitions: i32,
    /// Its replication factor.
    pub replication: i32,
    /// Topic configuration, sorted by key.
    pub config: Vec<(&'static str, String)>,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Retention of `verified-events` and of what is derived from it, in milliseconds.
pub const EVENT_RETENTION_MS: i64 = 7 * DAY_MS;
/// Retention of `dead-events`, in milliseconds.
pub const DEAD_RETENTION_MS: i64 = 30 * DAY_MS;
/// Retention of `dead-resolutions`, in milliseconds.
pub const RESOLUTION_RETENTION_MS: i64 = 60 * DAY_MS;
/// Partitions of `quarantine-events`.
pub const QUARANTINE_PARTITIONS: i32 = 4;

impl Topics {
    /// The full name of a topic.
    pub fn name(&self, topic: &Topic) -> String {
        let name = match topic {
            Topic::Verified => "verified-events",
            Topic::Retry(delay) => return format!("{}retry-events-{delay}", self.prefix),
            Topic::Clean => "clean-events",
            Topic::Stale => "stale-events",
            Topic::Dead => "dead-events",
            Topic::Resolutions => "dead-resolutions",
            Topic::Quarantine => "quarantine-events",
            Topic::Changelog => "state-changelog",
        };
        format!("{}{name}", self.prefix)
    }

    /// Every topic of this installation, in the order an event meets them.
    pub fn all(&self) -> Vec<Topic> {
        let mut topics = vec![Topic::Verified];
        topics.extend(self.retry_delays.iter().cloned().map(Topic::Retry));
        topics.extend([
            Topic::Clean,
            Topic::Stale,
            Topic::Dead,
            Topic::Resolutions,
            Topic::Quarantine,
            Topic::Changelog,
        ]);
        topics
    }

    /// Retention the changelog needs so that no state inside a window is lost with it.
    pub fn changelog_retention_ms(&self) -> i64 {
        self.longest_window_ms + EVENT_RETENTION_MS + DAY_MS
    }

    /// How each topic is created.
    pub fn plan(&self) -> Vec<Plan> {
        self.all().into_iter().map(|topic| self.plan_of(topic)).collect()
    }

    fn plan_of(&self, topic: Topic) -> Plan {
        let (partitions, cleanup, retention_ms, record_bytes) = match &topic {
            Topic::Verified | Topic::Retry(_) | Topic::Clean | Topic::Stale => {
                (self.partitions, "delete", EVENT_RETENTION_MS, sizes::event_record_bytes(self.body_limit))
            }
            Topic::Dead => (self.partitions, "delete", DEAD_RETENTION_MS, sizes::dead_record_bytes(self.body_limit)),
            Topic::Resolutions => (1, "compact,delete", RESOLUTION_RETENTION_MS, sizes::CHANGELOG_BYTES),
            Topic::Quarantine => {
                (QUARANTINE_PARTITIONS, "delete", EVENT_RETENTION_MS, sizes::event_record_bytes(self.body_limit))
            }
            Topic::Changelog => (self.partitions, "delete", self.changelog_retention_ms(), sizes::CHANGELOG_BYTES),
        };
        let mut config = vec![
            ("cleanup.policy", cleanup.to_owned()),
            ("max.message.bytes", record_bytes.to_string()),
            ("retention.ms", retention_ms.to_string()),
        ];
        if matches!(topic, Topic::Verified | Topic::Retry(_) | Topic::Dead) {
            config.push(("message.timestamp.type", "LogAppendTime".to_owned()));
        }
        if self.replication >= 3 {
            config.push(("min.insync.replicas", "2".to_owned()));
        }
        config.sort();
        Plan { name: self.name(&topic), topic, partitions, replication: self.replication, config }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics {
            prefix: "p-".to_owned(),
            partitions: 16,
            replication: 1,
            retry_delays: vec!["5s".to_owned(), "1m".to_owned()],
            body_limit: 1024 * 1024,
            longest_window_ms: 4 * DAY_MS,
        }
    }

    #[test]
    fn names_carry_the_prefix_and_the_delay() {
        let names: Vec<String> = topics().plan().into_iter().map(|plan| plan.name).collect();
        assert_eq!(
            names,
            [
                "p-verified-events",
                "p-retry-events-5s",
                "p-retry-events-1m",
                "p-clean-events",
                "p-stale-events",
                "p-dead-events",
                "p-dead-resolutions",
                "p-quarantine-events",
                "p-state-changelog"
            ]
        );
    }

    #[test]
    fn the_broker_sets_the_time_where_time_decides() {
        for plan in topics().plan() {
            let by_broker = plan.config.contains(&("message.timestamp.type", "LogAppendTime".to_owned()));
            let expected = matches!(plan.topic, Topic::Verified | Topic::Retry(_) | Topic::Dead);
            assert_eq!(by_broker, expected, "{}", plan.name);
        }
    }

    #[test]
    fn the_changelog_outlives_every_window() {
        assert_eq!(topics().changelog_retention_ms(), (4 + 7 + 1) * DAY_MS);
    }
}
