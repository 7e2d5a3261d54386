//! The records of `state-changelog`: what a committed transaction changed, and who took a partition over.
//!
//! ```text
//! record  = version u8 | kind u8 | fields | crc32c of everything before it
//! DELTA   = lineage txn part flags (1 last part, 2 snapshot) | base next seq stream_time | sources | entries | waits
//! BARRIER = lineage txn found nonce | owner
//! ```
//! A DELTA that is a snapshot holds what outlives the windows, and with them the changelog's retention, and not only
//! what changed of it: every tally, every mark, everything that waits. Values are absolute, so applying a DELTA twice
//! is harmless. A BARRIER says which transaction it found: DELTAs before it in the log with a greater number never
//! happened. Restore trusts only what follows from that.

use std::collections::BTreeMap;

use schemas::identity::Hash128;
use schemas::sizes::DELTA_SPLIT_BYTES;

use crate::books::{Place, Tallies};
use crate::state::wait::WaitChange;
use crate::state::{Changes, DeadRef, Entry, Seen, Status, keys};
use crate::varint::{Fields, Malformed, put_bytes, put_i64, put_u64};

const VERSION: u8 = 3;
const DELTA: u8 = 1;
const BARRIER: u8 = 2;

const STATUS_SHIFT: u16 = 14;
const HAS_LAST: u16 = 1 << 13;
const SLOT_MASK: u16 = (1 << 12) - 1;

/// What one transaction changed of one partition, or a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// See [`crate::position::Position::lineage`].
    pub lineage: u64,
    /// Number of the transaction.
    pub txn: u64,
    /// Which part this is, from 0.
    pub part: u32,
    /// Whether it is the last part.
    pub is_last: bool,
    /// Whether it holds everything that outlives the windows.
    pub is_snapshot: bool,
    /// First input offset of the transaction.
    pub base: i64,
    /// Next input offset after it.
    pub next: i64,
    /// Last `weir-seq` after it.
    pub seq: u64,
    /// Stream time after it.
    pub stream_time: i64,
    /// What changed.
    pub changes: Changes,
}

/// A new owner's mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// See [`crate::position::Position::lineage`].
    pub lineage: u64,
    /// Number of the transaction that wrote it.
    pub txn: u64,
    /// The last transaction it found committed.
    pub found: u64,
    /// Tells this barrier from every other.
    pub nonce: u64,
    /// Who wrote it, for people.
    pub owner: String,
}

/// A record of the changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// What a transaction changed.
    Delta(Delta),
    /// A new owner's mark.
    Barrier(Barrier),
}

/// A changelog record that cannot be read: the state cannot be rebuilt from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangelogError {
    /// The checksum does not hold.
    #[error("changelog record with a wrong checksum")]
    Checksum,
    /// Written by a version this build does not know.
    #[error("changelog record of unknown version {0} or kind {1}")]
    Unknown(u8, u8),
    /// Fields that make no sense.
    #[error("malformed changelog record")]
    Malformed(#[from] Malformed),
}

/// Encodes a transaction's changes into as many records as the size limit asks for, and gives each to `emit`.
pub fn encode_delta<E>(delta: &Delta, mut emit: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut out = Vec::with_capacity(DELTA_SPLIT_BYTES.min(64 + delta.changes.entries.len() * 48));
    let mut entries = delta.changes.entries.as_slice();
    let mut waits = delta.changes.waits.as_slice();
    let mut part = 0;
    loop {
        let (now, later) = entries.split_at(entries.len().min(DELTA_SPLIT_BYTES / MAX_ENTRY_BYTES));
        let room = DELTA_SPLIT_BYTES.saturating_sub(now.len() * MAX_ENTRY_BYTES);
        let (wait_now, wait_later) = waits.split_at(fitting(waits, room));
        let is_last = later.is_empty() && wait_later.is_empty();
        DeltaHead { delta, part, is_last }.encode(now, wait_now, &mut out);
        seal(&mut out);
        emit(&out)?;
        if is_last {
            return Ok(());
        }
        (entries, waits) = (later, wait_later);
        part += 1;
        out.clear();
    }
}

/// How many of these fit into so many bytes. One always fits into an empty part.
fn fitting(waits: &[WaitChange], room: usize) -> usize {
    let mut left = room;
    let fit = waits.iter().take_while(|change| {
        let size = change.size();
        let does_fit = size <= left;
        left = left.saturating_sub(size);
        does_fit
    });
    let count = fit.count();
    if count == 0 && room == DELTA_SPLIT_BYTES { waits.len().min(1) } else { count }
}

/// An upper bound of one encoded entry.
const MAX_ENTRY_BYTES: usize = 80;

struct DeltaHead<'a> {
    delta: &'a Delta,
    part: u32,
    is_last: bool,
}

impl DeltaHead<'_> {
    fn encode(&self, entries: &[Entry], waits: &[WaitChange], out: &mut Vec<u8>) {
        let delta = self.delta;
        out.extend_from_slice(&[VERSION, DELTA]);
        put_u64(out, delta.lineage);
        put_u64(out, delta.txn);
        put_u64(out, u64::from(self.part));
        out.push(u8::from(self.is_last) | u8::from(delta.is_snapshot) << 1);
        put_i64(out, delta.base);
        put_i64(out, delta.next);
        put_u64(out, delta.seq);
        put_i64(out, delta.stream_time);
        if self.part == 0 {
            encode_sources(&delta.changes, out);
        } else {
            put_u64(out, 0);
        }
        put_u64(out, entries.len() as u64);
        let mut before = delta.stream_time;
        let mut class = u8::MAX;
        for entry in entries {
            encode_entry(entry, &mut before, &mut class, out);
        }
        put_u64(out, waits.len() as u64);
        for change in waits {
            change.encode(out);
        }
    }
}

fn encode_sources(changes: &Changes, out: &mut Vec<u8>) {
    put_u64(out, changes.tallies.0.len() as u64);
    for (source, row) in &changes.tallies.0 {
        put_bytes(out, source.as_bytes());
        put_u64(out, u64::from(changes.source_classes.get(source).copied().unwrap_or_default()));
        for tally in row {
            put_u64(out, *tally);
        }
    }
}

/// One entry: flags and slot, hash, check, time against the entry before it, then what the flags announce. The
/// class is written only where it changes, announced by a time difference shifted left by one.
fn encode_entry(entry: &Entry, before: &mut i64, class: &mut u8, out: &mut Vec<u8>) {
    let status: u16 = match entry.seen.status {
        Status::Done => 0,
        Status::Parked(_) => 1,
        Status::Dead(_) => 2,
        Status::Discarded => 3,
    };
    let has_last = if entry.last.is_some() { HAS_LAST } else { 0 };
    let flags = (status << STATUS_SHIFT) | has_last | (entry.slot & SLOT_MASK);
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&entry.hash.0);
    out.extend_from_slice(&entry.seen.check.to_be_bytes());
    let class_changes = *class != entry.class;
    put_i64(out, (entry.seen.first_seen.wrapping_sub(*before) << 1) | i64::from(class_changes));
    *before = entry.seen.first_seen;
    if class_changes {
        out.push(entry.class);
        *class = entry.class;
    }
    if entry.class == keys::MARKS {
        out.push(entry.window_class);
    }
    if let Status::Parked(dead) | Status::Dead(dead) = entry.seen.status {
        put_i64(out, dead.offset);
        put_u64(out, dead.generation);
    }
    if let Some((resource, occurred_at)) = entry.last {
        out.extend_from_slice(&resource);
        put_i64(out, occurred_at.wrapping_sub(entry.seen.first_seen));
    }
}

/// Encodes a barrier.
pub fn encode_barrier(barrier: &Barrier) -> Vec<u8> {
    let mut out = vec![VERSION, BARRIER];
    put_u64(&mut out, barrier.lineage);
    put_u64(&mut out, barrier.txn);
    put_u64(&mut out, barrier.found);
    put_u64(&mut out, barrier.nonce);
    put_bytes(&mut out, barrier.owner.as_bytes());
    seal(&mut out);
    out
}

/// Reads a record of the changelog.
pub fn decode(bytes: &[u8]) -> Result<Record, ChangelogError> {
    let (bytes, crc) = bytes.split_last_chunk::<4>().ok_or(Malformed)?;
    if crc32c::crc32c(bytes) != u32::from_be_bytes(*crc) {
        return Err(ChangelogError::Checksum);
    }
    let mut fields = Fields::new(bytes);
    match (fields.u8()?, fields.u8()?) {
        (VERSION, DELTA) => Ok(Record::Delta(decode_delta(&mut fields)?)),
        (VERSION, BARRIER) => Ok(Record::Barrier(Barrier {
            lineage: fields.u64()?,
            txn: fields.u64()?,
            found: fields.u64()?,
            nonce: fields.u64()?,
            owner: fields.text()?.to_owned(),
        })),
        (version, kind) => Err(ChangelogError::Unknown(version, kind)),
    }
}

fn decode_delta(fields: &mut Fields<'_>) -> Result<Delta, Malformed> {
    let (lineage, txn) = (fields.u64()?, fields.u64()?);
    let part = u32::try_from(fields.u64()?).map_err(|_| Malformed)?;
    let flags = fields.u8()?;
    let mut delta = Delta {
        lineage,
        txn,
        part,
        is_last: flags & 1 != 0,
        is_snapshot: flags & 2 != 0,
        base: fields.i64()?,
        next: fields.i64()?,
        seq: fields.u64()?,
        stream_time: fields.i64()?,
        changes: Changes::default(),
    };
    (delta.changes.tallies, delta.changes.source_classes) = decode_sources(fields)?;
    let mut before = delta.stream_time;
    let mut class = u8::MAX;
    for _ in 0..fields.u64()? {
        delta.changes.entries.push(decode_entry(fields, &mut before, &mut class)?);
    }
    for _ in 0..fields.u64()? {
        delta.changes.waits.push(WaitChange::decode(fields)?);
    }
    if fields.is_empty() { Ok(delta) } else { Err(Malformed) }
}

fn decode_sources(fields: &mut Fields<'_>) -> Result<(Tallies, BTreeMap<String, u16>), Malformed> {
    let mut tallies = Tallies::default();
    let mut classes = BTreeMap::new();
    for _ in 0..fields.u64()? {
        let source = fields.text()?;
        classes.insert(source.to_owned(), u16::try_from(fields.u64()?).map_err(|_| Malformed)?);
        for place in Place::ALL {
            tallies.set(source, place, fields.u64()?);
        }
    }
    Ok((tallies, classes))
}

fn decode_entry(fields: &mut Fields<'_>, before: &mut i64, class: &mut u8) -> Result<Entry, Malformed> {
    let flags = u16::from_be_bytes(fields.array()?);
    let hash = Hash128(fields.array()?);
    let check = u16::from_be_bytes(fields.array()?);
    let step = fields.i64()?;
    let first_seen = before.wrapping_add(step >> 1);
    *before = first_seen;
    if step & 1 == 1 {
        *class = fields.u8()?;
    }
    let window_class = if *class == keys::MARKS { fields.u8()? } else { *class };
    let status = match flags >> STATUS_SHIFT {
        0 => Status::Done,
        1 => Status::Parked(DeadRef { offset: fields.i64()?, generation: fields.u64()? }),
        2 => Status::Dead(DeadRef { offset: fields.i64()?, generation: fields.u64()? }),
        _ => Status::Discarded,
    };
    let last =
        if flags & HAS_LAST == 0 { None } else { Some((fields.array()?, first_seen.wrapping_add(fields.i64()?))) };
    Ok(Entry {
        class: *class,
        window_class,
        slot: flags & SLOT_MASK,
        hash,
        seen: Seen { first_seen, check, status },
        last,
    })
}

fn seal(out: &mut Vec<u8>) {
    let crc = crc32c::crc32c(out);
    out.extend_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::wait::{Detail, Waits};

    fn entry(n: u64) -> Entry {
        let mut hash = [0; 16];
        hash[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let status = match n % 5 {
            0 => Status::Dead(DeadRef { offset: n as i64, generation: n }),
            1 => Status::Parked(DeadRef { offset: 9, generation: n }),
            2 => Status::Discarded,
            _ => Status::Done,
        };
        Entry {
            class: if n.is_multiple_of(7) { keys::MARKS } else { (n % 3) as u8 },
            window_class: (n % 3) as u8,
            slot: (n % 4096) as u16,
            hash: Hash128(hash),
            seen: Seen { first_seen: 1_700_000_000_000 + n as i64, check: n as u16, status },
            last: n.is_multiple_of(2).then_some(([n as u8; 12], 1_700_000_000_000 - n as i64)),
        }
    }

    fn delta(entries: u64) -> Delta {
        let mut tallies = Tallies::default();
        tallies.set("stripe", Place::Clean, entries);
        Delta {
            lineage: 9,
            txn: 3,
            part: 0,
            is_last: true,
            is_snapshot: true,
            base: 10,
            next: 20,
            seq: 7,
            stream_time: 1_700_000_000_500,
            changes: Changes {
                entries: (0..entries).map(entry).collect(),
                tallies,
                source_classes: [("stripe".to_owned(), 4)].into(),
                waits: (0..entries / 3).map(wait).collect(),
            },
        }
    }

    fn wait(n: u64) -> WaitChange {
        let detail = (n % 4 == 1).then(|| Box::new(Detail { history: vec![b'x'; 200], ..Detail::default() }));
        let now = (!n.is_multiple_of(4)).then(|| Waits { source: "stripe".to_owned(), detail });
        WaitChange { slot: (n % 4096) as u16, resource: [n as u8; 12], src: n as i64, now }
    }

    fn parts(delta: &Delta) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        encode_delta(delta, |bytes| {
            parts.push(bytes.to_vec());
            Ok::<(), ()>(())
        })
        .expect("collecting cannot fail");
        parts
    }

    #[test]
    fn a_delta_survives_the_round_trip_whole_and_in_parts() {
        for count in [0, 1, 7, 30_000] {
            let delta = delta(count);
            let mut joined: Option<Delta> = None;
            let parts = parts(&delta);
            assert_eq!(parts.len() > 1, count == 30_000);
            for (number, bytes) in parts.iter().enumerate() {
                assert!(bytes.len() <= DELTA_SPLIT_BYTES + 4096);
                let Ok(Record::Delta(part)) = decode(bytes) else { panic!("a delta") };
                assert_eq!(part.part as usize, number);
                match &mut joined {
                    None => joined = Some(part),
                    Some(all) => {
                        all.is_last = part.is_last;
                        all.changes.entries.extend(part.changes.entries);
                        all.changes.waits.extend(part.changes.waits);
                    }
                }
            }
            assert_eq!(joined, Some(delta));
        }
    }

    #[test]
    fn an_ordinary_entry_takes_at_most_forty_bytes() {
        let mut delta = delta(0);
        delta.changes.entries = (0..10_000)
            .map(|n| Entry {
                class: 2,
                window_class: 2,
                seen: Seen { status: Status::Done, ..entry(n).seen },
                ..entry(n * 2)
            })
            .collect();
        let bytes: usize = parts(&delta).iter().map(Vec::len).sum();
        assert!(bytes / 10_000 < 40, "{} bytes per entry", bytes / 10_000);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let parts = parts(&delta(3));
        for bit in 0..parts[0].len() * 8 {
            let mut flipped = parts[0].clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_barrier_survives_the_round_trip() {
        let barrier = Barrier { lineage: 1, txn: 5, found: 4, nonce: u64::MAX, owner: "weir-a-0".to_owned() };
        assert_eq!(decode(&encode_barrier(&barrier)), Ok(Record::Barrier(barrier)));
    }
}
