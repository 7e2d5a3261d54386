//! The last events of a topic, of which nobody knows where they begin.
//!
//! Transaction markers and events that a filter leaves out take offsets too, so the search reads ever larger
//! pieces backwards until each partition has given enough or has no more.

use std::collections::{BTreeMap, VecDeque};

use runtime::report::Failure;

use crate::log::Range;
use crate::record::Seen;

/// The first piece is a little larger than what is wanted if every record had its marker.
const FIRST: i64 = 64;
/// Each piece is this much larger than the one before.
const GROWTH: i64 = 4;

/// Reads ranges and hands out what fits, each partition in its order.
pub type Read<'a> = dyn FnMut(&[Range], &mut dyn FnMut(Seen)) -> Result<(), Failure> + 'a;

/// The last `limit` events of all partitions, oldest first. Holds no more than `limit` of each.
pub fn last(bounds: &[Range], limit: usize, read: &mut Read<'_>) -> Result<Vec<Seen>, Failure> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut piece = FIRST + 2 * i64::try_from(limit).unwrap_or(i64::MAX / 4);
    let mut open: Vec<Range> = bounds.to_vec();
    let mut found: BTreeMap<i32, VecDeque<Seen>> = BTreeMap::new();
    loop {
        open.retain(|range| range.from < range.until && found.get(&range.partition).map_or(0, VecDeque::len) < limit);
        if open.is_empty() {
            break;
        }
        let pieces: Vec<Range> = open.iter().map(|range| cut(range, piece)).collect();
        let mut older: BTreeMap<i32, VecDeque<Seen>> = BTreeMap::new();
        read(&pieces, &mut |seen| {
            let events = older.entry(seen.partition).or_default();
            events.push_back(seen);
            keep_last(events, limit);
        })?;
        for (partition, mut events) in older {
            let newer = found.entry(partition).or_default();
            events.append(newer);
            keep_last(&mut events, limit);
            *newer = events;
        }
        for range in &mut open {
            range.until = cut(range, piece).from;
        }
        piece = piece.saturating_mul(GROWTH);
    }
    let mut all: Vec<Seen> = found.into_values().flatten().collect();
    all.sort_by_key(|seen| (seen.at_ms, seen.partition, seen.offset));
    all.drain(..all.len().saturating_sub(limit));
    Ok(all)
}

/// The last `piece` offsets of a range.
fn cut(range: &Range, piece: i64) -> Range {
    Range { from: range.from.max(range.until.saturating_sub(piece)), ..*range }
}

fn keep_last(events: &mut VecDeque<Seen>, limit: usize) {
    events.drain(..events.len().saturating_sub(limit));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topic where every `every`th offset is an event that fits.
    fn search(bounds: &[Range], every: i64, limit: usize) -> (Vec<(i32, i64)>, i64) {
        let mut offsets_read = 0;
        let found = last(bounds, limit, &mut |ranges, take| {
            for range in ranges {
                offsets_read += range.until - range.from;
                for offset in (range.from..range.until).filter(|offset| offset % every == 0) {
                    let partition = range.partition;
                    take(Seen { partition, offset, at_ms: offset, ..Seen::default() });
                }
            }
            Ok(())
        });
        (found.unwrap().iter().map(|seen| (seen.partition, seen.offset)).collect(), offsets_read)
    }

    fn range(partition: i32, from: i64, until: i64) -> Range {
        Range { partition, from, until }
    }

    #[test]
    fn the_newest_of_all_partitions_come_out_in_the_order_of_time() {
        let (found, _) = search(&[range(0, 0, 1000), range(1, 0, 999)], 1, 5);
        assert_eq!(found, [(0, 997), (1, 997), (0, 998), (1, 998), (0, 999)]);
    }

    #[test]
    fn only_the_end_of_a_long_topic_is_read() {
        let (found, offsets_read) = search(&[range(0, 0, 1_000_000)], 1, 10);
        assert_eq!(found.len(), 10);
        assert!(offsets_read < 200, "{offsets_read}");
    }

    #[test]
    fn rare_events_are_found_however_far_back_they_lie() {
        let (found, _) = search(&[range(0, 5, 50_000)], 10_000, 3);
        assert_eq!(found, [(0, 20_000), (0, 30_000), (0, 40_000)]);
    }

    #[test]
    fn a_topic_with_too_few_events_gives_what_it_has() {
        assert_eq!(search(&[range(0, 7, 9), range(1, 0, 0)], 1, 10).0, [(0, 7), (0, 8)]);
        assert_eq!(search(&[range(0, 7, 9)], 1, 0).0, []);
    }
}
