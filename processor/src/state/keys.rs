//! The byte layout of every key and value in a store, and the arithmetic of window classes and buckets.
//!
//! ```text
//! seen   'd' | class u8 | bucket u32 | slot u16 | hash 16        -> first_seen u48 | check u16 | status u8 [ offset, generation ]
//! last   'l' | class u8 | bucket u32 | slot u16 | resource 12    -> occurred_at i64 | set_at u48
//! wait   'w' | slot u16 | resource 12 | offset i64              -> see `wait::Waits`
//! tally  'b' | source                                            -> 7 x u64
//! cursor 'c'                                                     -> see `encode_cursor`
//! filter 'x' [ number u32 ]                                      -> txn u64, and then the rows of a filter
//! ```
//! Integers in keys are big-endian, so that a bucket is one range and whole buckets can be removed at once.
//! Every seen and last key carries its slot: the state of some slots can be cut out of it.

use std::collections::BTreeMap;

use schemas::identity::Hash128;

use super::{Cursor, DeadRef, Last, ResourceHash, Seen, Status};
use crate::books::{Place, Tallies};
use crate::varint::{Fields, Malformed, put_bytes, put_i64, put_u64};

const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;

/// Window classes: a source's window is stored in the smallest that holds it. The last one is [`MARKS`].
pub const CLASSES: [i64; 8] = [HOUR, DAY, 4 * DAY, 8 * DAY, 32 * DAY, 128 * DAY, 512 * DAY, 32 * DAY];
/// The class of what must outlive its window, as long as a dead letter is kept: events that waited, died or were
/// judged by a person. There are few of them, so that a snapshot can hold them all.
pub const MARKS: u8 = 7;
/// Buckets a class is divided into.
const BUCKETS_PER_CLASS: i64 = 4;
const VERSION: u8 = 3;

/// The key of the cursor.
pub const CURSOR: &[u8] = b"c";
/// Length of what comes before the hash in seen and last keys.
pub const PREFIX_BYTES: usize = 8;
/// Length of a seen key.
pub const SEEN_BYTES: usize = 24;
/// Length of a last key.
pub const LAST_BYTES: usize = 20;
/// First byte of tally keys.
pub const TALLY: u8 = b'b';
/// First byte of seen keys.
pub const SEEN: u8 = b'd';
/// First byte of last keys.
pub const LAST: u8 = b'l';
/// First byte of the keys of a filter that is kept.
pub const FILTER: u8 = b'x';
/// First byte of wait keys.
pub const WAIT: u8 = b'w';

/// The class of a window in milliseconds.
pub fn class_of(window_ms: i64) -> u8 {
    let last = usize::from(MARKS) - 1;
    CLASSES.iter().take(last).position(|class| *class >= window_ms).unwrap_or(last) as u8
}

/// The class in which an event of this window is marked. A window longer than the marks needs no other place.
pub fn mark_class_of(class: u8) -> u8 {
    if class_ms(class) > class_ms(MARKS) { class } else { MARKS }
}

/// Length of a class in milliseconds.
pub fn class_ms(class: u8) -> i64 {
    CLASSES.get(usize::from(class)).copied().unwrap_or(i64::MAX / 8)
}

/// The bucket of a stream time within a class.
pub fn bucket_of(class: u8, stream_time: i64) -> u32 {
    (stream_time.max(0) / (class_ms(class) / BUCKETS_PER_CLASS)).min(i64::from(u32::MAX)) as u32
}

/// The first bucket that may still hold something within a class at a stream time. Everything before it is gone
/// for every window of the class.
pub fn first_live_bucket(class: u8, stream_time: i64) -> u32 {
    bucket_of(class, stream_time.saturating_sub(class_ms(class)))
}

/// The key under which an event is known.
pub fn seen_key(class: u8, bucket: u32, slot: u16, hash: Hash128) -> [u8; SEEN_BYTES] {
    let mut key = [0_u8; SEEN_BYTES];
    key[..8].copy_from_slice(&prefix(SEEN, class, bucket, slot));
    key[8..].copy_from_slice(&hash.0);
    key
}

/// The key under which a resource's last snapshot is known.
pub fn last_key(class: u8, bucket: u32, slot: u16, resource: ResourceHash) -> [u8; LAST_BYTES] {
    let mut key = [0_u8; LAST_BYTES];
    key[..8].copy_from_slice(&prefix(LAST, class, bucket, slot));
    key[8..].copy_from_slice(&resource);
    key
}

/// The key of a waiting event.
pub fn wait_key(slot: u16, resource: ResourceHash, src: i64) -> [u8; 23] {
    let mut key = [WAIT; 23];
    key[1..3].copy_from_slice(&slot.to_be_bytes());
    key[3..15].copy_from_slice(&resource);
    key[15..].copy_from_slice(&src.to_be_bytes());
    key
}

/// Reads a wait key: slot, resource and offset.
pub(crate) fn decode_wait_key(key: &[u8]) -> Result<(u16, ResourceHash, i64), Malformed> {
    let mut fields = Fields::new(key.get(1..).ok_or(Malformed)?);
    Ok((u16::from_be_bytes(fields.array()?), fields.array()?, i64::from_be_bytes(fields.array()?)))
}

/// Reads what a seen key says: its slot and hash.
pub(crate) fn decode_seen_key(key: &[u8]) -> Result<(u16, Hash128), Malformed> {
    let mut fields = Fields::new(key.get(PREFIX_BYTES - 2..).ok_or(Malformed)?);
    Ok((u16::from_be_bytes(fields.array()?), Hash128(fields.array()?)))
}

/// The first key of a bucket in one table.
pub fn bucket_start(table: u8, class: u8, bucket: u32) -> [u8; 6] {
    let [b0, b1, b2, b3] = bucket.to_be_bytes();
    [table, class, b0, b1, b2, b3]
}

fn prefix(table: u8, class: u8, bucket: u32, slot: u16) -> [u8; 8] {
    let [b0, b1, b2, b3] = bucket.to_be_bytes();
    let [s0, s1] = slot.to_be_bytes();
    [table, class, b0, b1, b2, b3, s0, s1]
}

/// The value of a seen key.
pub fn encode_seen(seen: &Seen, out: &mut Vec<u8>) {
    out.extend_from_slice(&u48(seen.first_seen));
    out.extend_from_slice(&seen.check.to_be_bytes());
    match seen.status {
        Status::Done => out.push(0),
        Status::Parked(_) => out.push(1),
        Status::Dead(_) => out.push(2),
        Status::Discarded => out.push(3),
    }
    if let Status::Parked(dead) | Status::Dead(dead) = seen.status {
        put_i64(out, dead.offset);
        put_u64(out, dead.generation);
    }
}

/// Reads the value of a seen key.
pub fn decode_seen(value: &[u8]) -> Result<Seen, Malformed> {
    let mut fields = Fields::new(value);
    let first_seen = from_u48(fields.array()?);
    let check = u16::from_be_bytes(fields.array()?);
    let status = match fields.u8()? {
        0 => Status::Done,
        1 => Status::Parked(DeadRef { offset: fields.i64()?, generation: fields.u64()? }),
        2 => Status::Dead(DeadRef { offset: fields.i64()?, generation: fields.u64()? }),
        3 => Status::Discarded,
        _ => return Err(Malformed),
    };
    Ok(Seen { first_seen, check, status })
}

/// The value of a last key.
pub fn encode_last(last: &Last) -> [u8; 14] {
    let mut value = [0_u8; 14];
    value[..8].copy_from_slice(&last.occurred_at.to_be_bytes());
    value[8..].copy_from_slice(&u48(last.set_at));
    value
}

/// Reads the value of a last key.
pub fn decode_last(value: &[u8]) -> Result<Last, Malformed> {
    let mut fields = Fields::new(value);
    Ok(Last { occurred_at: i64::from_be_bytes(fields.array()?), set_at: from_u48(fields.array()?) })
}

/// The value of a tally key.
pub fn encode_tally(row: &[u64; Place::ALL.len()]) -> Vec<u8> {
    row.iter().flat_map(|tally| tally.to_be_bytes()).collect()
}

/// Reads a tally key and its value into `tallies`.
pub fn decode_tally(key: &[u8], value: &[u8], tallies: &mut Tallies) -> Result<(), Malformed> {
    let source = std::str::from_utf8(key.get(1..).ok_or(Malformed)?).map_err(|_| Malformed)?;
    let mut fields = Fields::new(value);
    for place in Place::ALL {
        tallies.set(source, place, u64::from_be_bytes(fields.array()?));
    }
    Ok(())
}

/// The value of the cursor key.
pub fn encode_cursor(cursor: &Cursor) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_u64(&mut out, cursor.lineage);
    put_u64(&mut out, cursor.txn);
    put_i64(&mut out, cursor.next);
    put_u64(&mut out, cursor.seq);
    put_i64(&mut out, cursor.stream_time);
    put_i64(&mut out, cursor.changelog_next);
    put_u64(&mut out, cursor.buckets.len() as u64);
    for (class, (first, last)) in &cursor.buckets {
        out.push(*class);
        put_u64(&mut out, u64::from(*first));
        put_u64(&mut out, u64::from(*last));
    }
    put_u64(&mut out, cursor.source_classes.len() as u64);
    for (source, classes) in &cursor.source_classes {
        put_bytes(&mut out, source.as_bytes());
        put_u64(&mut out, u64::from(*classes));
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

/// Reads the value of the cursor key.
pub fn decode_cursor(value: &[u8]) -> Result<Cursor, Malformed> {
    let (bytes, crc) = value.split_last_chunk::<4>().ok_or(Malformed)?;
    if crc32c::crc32c(bytes) != u32::from_be_bytes(*crc) {
        return Err(Malformed);
    }
    let mut fields = Fields::new(bytes);
    if fields.u8()? != VERSION {
        return Err(Malformed);
    }
    let mut cursor = Cursor {
        lineage: fields.u64()?,
        txn: fields.u64()?,
        next: fields.i64()?,
        seq: fields.u64()?,
        stream_time: fields.i64()?,
        changelog_next: fields.i64()?,
        buckets: BTreeMap::new(),
        source_classes: BTreeMap::new(),
    };
    for _ in 0..fields.u64()? {
        let class = fields.u8()?;
        cursor.buckets.insert(class, (bucket(&mut fields)?, bucket(&mut fields)?));
    }
    for _ in 0..fields.u64()? {
        let source = fields.text()?.to_owned();
        cursor.source_classes.insert(source, u16::try_from(fields.u64()?).map_err(|_| Malformed)?);
    }
    Ok(cursor)
}

fn bucket(fields: &mut Fields<'_>) -> Result<u32, Malformed> {
    u32::try_from(fields.u64()?).map_err(|_| Malformed)
}

fn u48(value: i64) -> [u8; 6] {
    let [_, _, bytes @ ..] = value.max(0).to_be_bytes();
    bytes
}

fn from_u48(bytes: [u8; 6]) -> i64 {
    bytes.iter().fold(0, |value, byte| (value << 8) | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lives_in_the_smallest_class_that_holds_it() {
        assert_eq!(class_of(1), 0);
        assert_eq!(class_of(HOUR), 0);
        assert_eq!(class_of(HOUR + 1), 1);
        assert_eq!(class_of(4 * DAY), 2);
        assert_eq!(class_of(31 * DAY), 4);
        assert_eq!(class_of(i64::MAX), 6);
        assert_eq!((mark_class_of(2), mark_class_of(4), mark_class_of(5)), (MARKS, MARKS, 5));
    }

    #[test]
    fn a_bucket_is_live_until_its_youngest_entry_left_the_class() {
        let class = class_of(4 * DAY);
        let born = 1_700_000_000_000;
        let bucket = bucket_of(class, born);
        assert!(first_live_bucket(class, born + 4 * DAY) <= bucket);
        assert!(first_live_bucket(class, born + 5 * DAY + DAY) > bucket);
    }

    #[test]
    fn values_and_the_cursor_survive_the_round_trip() {
        let dead = DeadRef { offset: i64::MAX, generation: 3 };
        for status in [Status::Done, Status::Parked(dead), Status::Dead(dead), Status::Discarded] {
            let seen = Seen { first_seen: 1_700_000_000_123, check: 0xabcd, status };
            let mut out = Vec::new();
            encode_seen(&seen, &mut out);
            assert_eq!(decode_seen(&out), Ok(seen));
        }
        let last = Last { occurred_at: -5, set_at: 1_700_000_000_123 };
        assert_eq!(decode_last(&encode_last(&last)), Ok(last));
        let cursor = Cursor {
            lineage: 1,
            txn: 2,
            next: 3,
            seq: 4,
            stream_time: 5,
            changelog_next: 6,
            buckets: [(2, (10, 12))].into(),
            source_classes: [("stripe".to_owned(), 4)].into(),
        };
        let bytes = encode_cursor(&cursor);
        assert_eq!(decode_cursor(&bytes), Ok(cursor));
    }

    #[test]
    fn a_flipped_bit_in_the_cursor_is_noticed() {
        let bytes = encode_cursor(&Cursor { next: 77, ..Cursor::default() });
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_cursor(&flipped), Err(Malformed), "bit {bit}");
        }
    }
}
