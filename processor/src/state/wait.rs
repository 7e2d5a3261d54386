//! An event that waits, as the state knows it: where its record lies, and when its turn comes.
//!
//! Waiting events are kept by resource, in the order of their offsets. Most of them only stand behind another one,
//! and then nothing is known of them but the offset; the rest is in [`Detail`].

use super::ResourceHash;
use crate::varint::{Fields, Malformed, put_bytes, put_i64, put_u64};

/// Where the record of a waiting event lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordAt {
    /// In `verified-events`, at the event's own offset.
    Input,
    /// In a retry topic: the command that redrove it.
    Command {
        /// The tier's delay, which names the topic.
        tier: String,
        /// Its offset there.
        offset: i64,
    },
}

/// What is known of a waiting event beyond its place in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Where its record lies.
    pub record_at: RecordAt,
    /// How often it was redriven.
    pub generation: u64,
    /// Not before this, by the owner's clock, milliseconds since the epoch.
    pub due_ms: i64,
    /// Failures since it came, or was redriven.
    pub failures: u32,
    /// How often it was handled in all generations.
    pub handled: u32,
    /// Records written to retry tiers.
    pub hops: u32,
    /// When it failed first, milliseconds since the epoch.
    pub first_failed_ms: i64,
    /// The last pause.
    pub pause_ms: i64,
    /// The failures so far, as [`schemas::command::encode_history`] writes them.
    pub history: Vec<u8>,
    /// Whether it has been handled: then it retries, else it is parked.
    pub is_retrying: bool,
}

impl Default for Detail {
    fn default() -> Self {
        Self {
            record_at: RecordAt::Input,
            generation: 0,
            due_ms: 0,
            failures: 0,
            handled: 0,
            hops: 0,
            first_failed_ms: 0,
            pause_ms: 0,
            history: Vec::new(),
            is_retrying: false,
        }
    }
}

/// A waiting event's change: it came, it changed, or it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitChange {
    /// Slot of its resource.
    pub slot: u16,
    /// Its resource.
    pub resource: ResourceHash,
    /// Its offset in `verified-events`.
    pub src: i64,
    /// What is known now. `None`: it waits no more.
    pub now: Option<Waits>,
}

/// A waiting event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// Its source.
    pub source: String,
    /// `None`: it only stands behind another one of its resource.
    pub detail: Option<Box<Detail>>,
}

const GONE: u8 = 0;
const FOLLOWS: u8 = 1;
const KNOWN: u8 = 2;

impl WaitChange {
    /// Appends it to a DELTA.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.slot.to_be_bytes());
        out.extend_from_slice(&self.resource);
        put_i64(out, self.src);
        match &self.now {
            None => out.push(GONE),
            Some(waits) => waits.encode(out),
        }
    }

    /// Reads it from a DELTA.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let slot = u16::from_be_bytes(fields.array()?);
        let resource = fields.array()?;
        let src = fields.i64()?;
        Ok(Self { slot, resource, src, now: Waits::decode(fields)? })
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let known = self
            .now
            .iter()
            .map(|waits| waits.source.len() + waits.detail.as_ref().map_or(0, |detail| 80 + detail.history.len()));
        32 + known.sum::<usize>()
    }
}

impl Waits {
    /// Appends it to a DELTA or a store's value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.detail.is_some() { KNOWN } else { FOLLOWS });
        put_bytes(out, self.source.as_bytes());
        let Some(detail) = &self.detail else { return };
        match &detail.record_at {
            RecordAt::Input => put_bytes(out, b""),
            RecordAt::Command { tier, offset } => {
                put_bytes(out, tier.as_bytes());
                put_i64(out, *offset);
            }
        }
        put_u64(out, detail.generation);
        put_i64(out, detail.due_ms);
        put_u64(out, u64::from(detail.failures));
        put_u64(out, u64::from(detail.handled));
        put_u64(out, u64::from(detail.hops) << 1 | u64::from(detail.is_retrying));
        put_i64(out, detail.first_failed_ms);
        put_i64(out, detail.pause_ms);
        put_bytes(out, &detail.history);
    }

    /// Reads it. `None`: it waits no more.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Option<Self>, Malformed> {
        let kind = fields.u8()?;
        if kind == GONE {
            return Ok(None);
        }
        let source = fields.text()?.to_owned();
        let detail = match kind {
            FOLLOWS => None,
            KNOWN => Some(Box::new(detail(fields)?)),
            _ => return Err(Malformed),
        };
        Ok(Some(Self { source, detail }))
    }
}

fn detail(fields: &mut Fields<'_>) -> Result<Detail, Malformed> {
    let tier = fields.text()?;
    let record_at = if tier.is_empty() {
        RecordAt::Input
    } else {
        RecordAt::Command { tier: tier.to_owned(), offset: fields.i64()? }
    };
    let (generation, due_ms) = (fields.u64()?, fields.i64()?);
    let (failures, handled, hops) = (small(fields.u64()?)?, small(fields.u64()?)?, fields.u64()?);
    Ok(Detail {
        record_at,
        generation,
        due_ms,
        failures,
        handled,
        hops: small(hops >> 1)?,
        is_retrying: hops & 1 != 0,
        first_failed_ms: fields.i64()?,
        pause_ms: fields.i64()?,
        history: fields.bytes()?.to_vec(),
    })
}

fn small(number: u64) -> Result<u32, Malformed> {
    u32::try_from(number).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_survives_the_round_trip() {
        let detail = Detail {
            record_at: RecordAt::Command { tier: "5s".to_owned(), offset: 77 },
            generation: 2,
            due_ms: 1_700_000_000_000,
            failures: 3,
            handled: 9,
            hops: 4,
            first_failed_ms: 5,
            pause_ms: 60_000,
            history: b"[]".to_vec(),
            is_retrying: true,
        };
        let waits = |detail: Option<Detail>| Waits { source: "stripe".to_owned(), detail: detail.map(Box::new) };
        let states = [None, Some(waits(None)), Some(waits(Some(Detail::default()))), Some(waits(Some(detail)))];
        for now in states {
            let change = WaitChange { slot: 4095, resource: [7; 12], src: i64::MAX, now };
            let mut bytes = Vec::new();
            change.encode(&mut bytes);
            assert!(bytes.len() <= change.size(), "{} of {}", bytes.len(), change.size());
            let mut fields = Fields::new(&bytes);
            assert_eq!(WaitChange::decode(&mut fields), Ok(change));
            assert!(fields.is_empty());
        }
    }
}
