//! How far one partition's work is known to be committed, as it rides in the metadata of its committed offset.
//!
//! Kafka commits it in the same transaction as the outputs, so it is true whenever it can be read. It decides
//! every doubt after a crash: which transaction was the last, where the changelog and the output tails begin.
//! It must never be written outside of the transaction that makes it true.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::varint::{Fields, Malformed, put_bytes, put_i64, put_u64};

const VERSION: u8 = 3;

/// The longest metadata a broker takes by default is 4096 bytes; ours stays below this.
pub const METADATA_BYTES_MAX: usize = 3500;

/// The committed truth about one partition of `verified-events`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Next offset of `verified-events` to read. Not part of the metadata: it is the committed offset itself.
    pub next: i64,
    /// Drawn once at the first start; tells this log and state from those of another cluster or topic.
    pub lineage: u64,
    /// Number of the last transaction that touched the partition.
    pub txn: u64,
    /// Number of the last one that wrote a DELTA.
    pub delta_txn: u64,
    /// Last `weir-seq` given to `clean-events`.
    pub seq: u64,
    /// Greatest append time read so far.
    pub stream_time: i64,
    /// Where restore may begin if no local state exists any more than this says.
    pub changelog_next: i64,
    /// Partitions of `verified-events` when the history began. With another number, keys are elsewhere.
    pub partitions: u32,
    /// Wall clock at the last snapshot in the changelog.
    pub snapshot_ms: i64,
    /// Takeovers since the partition last moved.
    pub attempts: u32,
    /// Takeovers since the partition last had no errand: no event that waited for its turn, and no command.
    pub errand_attempts: u32,
    /// What may have killed processes, if anything is handled alone.
    pub alone: Alone,
    /// How many processes died while they handled that and nothing else.
    pub deaths: u32,
    /// Next command to read: the first retry tier's delay, which names its topic, and an offset.
    pub commands: Option<(String, i64)>,
    /// A process is about to handle what is handled alone.
    pub is_marked: bool,
    /// First offset of each output partition that may hold effects later than this position.
    pub hints: Hints,
}

/// What is handled alone because it may kill the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Alone {
    /// The next record.
    #[default]
    Next,
    /// The turn of an event that waited, by its offset and how often it was redriven.
    Turn(i64, u64),
    /// The command at this offset.
    Command(i64),
}

/// First offsets after the last known effects of a partition, per output partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// In `clean-events`.
    pub clean: BTreeMap<i32, i64>,
    /// In `stale-events`.
    pub stale: BTreeMap<i32, i64>,
    /// In `dead-events`.
    pub dead: BTreeMap<i32, i64>,
}

/// The metadata of a committed offset is not ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not base64.
    #[error("offset metadata is not base64")]
    NotBase64,
    /// Written by a version this build does not know.
    #[error("offset metadata of unknown version {0}")]
    Version(u8),
    /// Cut short.
    #[error("offset metadata is malformed")]
    Malformed(#[from] Malformed),
}

impl Position {
    /// The text for the committed offset's metadata.
    pub fn metadata(&self) -> String {
        let mut out = vec![VERSION];
        put_u64(&mut out, self.lineage);
        put_u64(&mut out, self.txn);
        put_u64(&mut out, self.txn.saturating_sub(self.delta_txn));
        put_u64(&mut out, self.seq);
        put_i64(&mut out, self.stream_time);
        put_i64(&mut out, self.changelog_next);
        put_u64(&mut out, u64::from(self.partitions));
        put_i64(&mut out, self.snapshot_ms);
        put_u64(&mut out, u64::from(self.attempts));
        put_u64(&mut out, u64::from(self.deaths) << 1 | u64::from(self.is_marked));
        let (tier, next) = self.commands.as_ref().map_or(("", 0), |(tier, next)| (tier, *next));
        put_bytes(&mut out, tier.as_bytes());
        put_i64(&mut out, next);
        for hints in [&self.hints.clean, &self.hints.stale, &self.hints.dead] {
            put_u64(&mut out, hints.len() as u64);
            for (partition, offset) in hints {
                put_i64(&mut out, i64::from(*partition));
                put_i64(&mut out, *offset);
            }
        }
        // Versions before this one know nothing of it, and pass over it.
        if self.errand_attempts > 0 || self.alone != Alone::Next {
            put_u64(&mut out, u64::from(self.errand_attempts));
            let (kind, offset, generation) = match self.alone {
                Alone::Next => (0, 0, 0),
                Alone::Turn(src, generation) => (1, src, generation),
                Alone::Command(offset) => (2, offset, 0),
            };
            put_u64(&mut out, kind);
            put_i64(&mut out, offset);
            put_u64(&mut out, generation);
        }
        STANDARD_NO_PAD.encode(out)
    }

    /// Reads a committed offset and its metadata.
    pub fn parse(next: i64, metadata: &str) -> Result<Self, MetadataError> {
        let bytes = STANDARD_NO_PAD.decode(metadata).map_err(|_| MetadataError::NotBase64)?;
        let mut fields = Fields::new(&bytes);
        let version = fields.u8()?;
        if version != VERSION {
            return Err(MetadataError::Version(version));
        }
        let (lineage, txn) = (fields.u64()?, fields.u64()?);
        let mut position = Self {
            next,
            lineage,
            txn,
            delta_txn: txn.saturating_sub(fields.u64()?),
            seq: fields.u64()?,
            stream_time: fields.i64()?,
            changelog_next: fields.i64()?,
            partitions: u32::try_from(fields.u64()?).map_err(|_| Malformed)?,
            snapshot_ms: fields.i64()?,
            attempts: u32::try_from(fields.u64()?).map_err(|_| Malformed)?,
            ..Self::default()
        };
        let deaths = fields.u64()?;
        position.is_marked = deaths & 1 != 0;
        position.deaths = u32::try_from(deaths >> 1).map_err(|_| Malformed)?;
        let (tier, next) = (fields.text()?, fields.i64()?);
        position.commands = (!tier.is_empty()).then(|| (tier.to_owned(), next));
        position.hints = Hints { clean: hints(&mut fields)?, stale: hints(&mut fields)?, dead: hints(&mut fields)? };
        if !fields.is_empty() {
            position.errand_attempts = u32::try_from(fields.u64()?).map_err(|_| Malformed)?;
            let (kind, offset, generation) = (fields.u64()?, fields.i64()?, fields.u64()?);
            position.alone = match kind {
                0 => Alone::Next,
                1 => Alone::Turn(offset, generation),
                2 => Alone::Command(offset),
                _ => return Err(Malformed.into()),
            };
        }
        Ok(position)
    }
}

fn hints(fields: &mut Fields<'_>) -> Result<BTreeMap<i32, i64>, Malformed> {
    let mut hints = BTreeMap::new();
    for _ in 0..fields.u64()? {
        let partition = i32::try_from(fields.i64()?).map_err(|_| Malformed)?;
        hints.insert(partition, fields.i64()?);
    }
    Ok(hints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_the_round_trip_through_metadata() {
        let position = Position {
            next: 42,
            lineage: u64::MAX,
            txn: 7,
            delta_txn: 6,
            seq: 5,
            stream_time: 1_700_000_000_000,
            changelog_next: 99,
            partitions: 16,
            snapshot_ms: 1_700_000_000_500,
            attempts: 3,
            errand_attempts: 0,
            alone: Alone::Next,
            deaths: 2,
            is_marked: true,
            commands: Some(("5s".to_owned(), 12)),
            hints: Hints { clean: [(0, 10), (16, 3)].into(), stale: BTreeMap::new(), dead: [(3, 0)].into() },
        };
        let text = position.metadata();
        assert!(text.len() < 120, "{text}");
        assert_eq!(Position::parse(42, &text).as_ref(), Ok(&position));
        for alone in [Alone::Next, Alone::Turn(i64::MAX, u64::MAX), Alone::Command(7)] {
            let position = Position { errand_attempts: 4, alone, ..position.clone() };
            assert_eq!(Position::parse(42, &position.metadata()), Ok(position));
        }
    }

    #[test]
    fn foreign_metadata_is_refused() {
        assert_eq!(Position::parse(0, "not base64!"), Err(MetadataError::NotBase64));
        assert_eq!(Position::parse(0, "CQ"), Err(MetadataError::Version(9)));
        assert_eq!(Position::parse(0, "Aw"), Err(MetadataError::Malformed(Malformed)));
    }

    #[test]
    fn the_largest_fan_out_stays_below_what_a_broker_takes() {
        // One input partition feeds at most clean / N partitions; 128 is far beyond any sensible plan.
        let mut position = Position { next: i64::MAX, ..Position::default() };
        position.hints.clean = (0..128).map(|partition| (partition * 16, i64::MAX)).collect();
        position.hints.stale = position.hints.clean.clone();
        assert!(position.metadata().len() <= METADATA_BYTES_MAX + 1000);
    }
}
