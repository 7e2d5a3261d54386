//! What was found in the topics, decoded. Nothing here knows what should be there.

use rand::RngExt;

use crate::event::Digest;
use crate::seed::random;

/// Partition and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A record of `verified-events`.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Where it lies.
    pub at: Position,
    /// When the broker appended it.
    pub appended_ms: i64,
    /// Its key.
    pub key: String,
    /// Its source.
    pub source: String,
    /// Its event id.
    pub id: String,
    /// The hash of the provider's bytes.
    pub digest: Digest,
}

/// A record of `clean-events` or `stale-events`.
#[derive(Debug, Clone)]
pub struct Emitted {
    /// Where it lies.
    pub at: Position,
    /// Its key.
    pub key: String,
    /// Its headers, in order.
    pub headers: Vec<(String, String)>,
    /// The hash of its value.
    pub digest: Digest,
    /// The first bytes of its value, for people.
    pub beginning: String,
}

/// A record of `dead-events`.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Where it lies.
    pub at: Position,
    /// Its key.
    pub key: String,
    /// Its headers, in order.
    pub headers: Vec<(String, String)>,
    /// `dead_id`.
    pub dead_id: String,
    /// `reason`.
    pub reason: String,
    /// `attempts`.
    pub attempts: i64,
    /// `source`.
    pub source: String,
    /// `event_id`.
    pub id: String,
    /// `event_type`.
    pub event_type: String,
    /// `source_topic`.
    pub source_topic: String,
    /// `source_partition` and `source_offset`.
    pub original: Position,
    /// `received_at_ms`.
    pub received_ms: i64,
    /// `original_key`.
    pub original_key: String,
    /// The hash of the provider's bytes inside `original_value`.
    pub digest: Digest,
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// `verified-events`.
    pub verified: Vec<Verified>,
    /// `clean-events`.
    pub clean: Vec<Emitted>,
    /// `stale-events`.
    pub stale: Vec<Emitted>,
    /// `dead-events`.
    pub dead: Vec<DeadLetter>,
}

/// A lie about what was found, to see whether the check finds it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// One clean record less.
    LoseOne,
    /// One clean record twice.
    DoubleOne,
}

impl Control {
    /// The control of that name.
    pub fn find(name: &str) -> Option<Self> {
        match name {
            "lose-one" => Some(Control::LoseOne),
            "double-one" => Some(Control::DoubleOne),
            _ => None,
        }
    }
}

impl Emitted {
    /// A header's value; nothing when it is absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// `weir-src`.
    pub fn src(&self) -> Option<Position> {
        self.header("weir-src").and_then(Position::parse)
    }
}

impl DeadLetter {
    /// `weir-src`.
    pub fn src(&self) -> Option<Position> {
        header(&self.headers, "weir-src").and_then(Position::parse)
    }
}

impl Observed {
    /// Tells the lie. The id of the event that it is about.
    pub fn pretend(&mut self, control: Control, seed: u64) -> String {
        let victim = random(seed, "control").random_range(0..self.clean.len());
        let id = self.clean[victim].header("ce_id").unwrap_or_default().to_owned();
        match control {
            Control::LoseOne => {
                self.clean.remove(victim);
            }
            Control::DoubleOne => {
                let copy = self.clean[victim].clone();
                self.clean.insert(victim, copy);
            }
        }
        id
    }
}

impl Position {
    /// Reads `<partition>:<offset>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (partition, offset) = text.split_once(':')?;
        let position = Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? };
        (position.to_string() == text).then_some(position)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

/// A header's value.
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}
