//! The ends of output partitions: what torn transactions left visible there, once everything is decided.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::books::Place;
use crate::changelog::{self, Record};
use crate::emit::Out;
use crate::log::{Ends, Fault, Found, Log};
use crate::position::{Hints, Position};
use crate::step::order::short_hash;
use crate::task::Effects;

use super::{SLICE_MS, UNDECIDED_MS};

/// Finds what torn transactions left visible: records of input that is not committed yet.
pub(super) fn reconcile<L: Log>(
    log: &mut L,
    partition: i32,
    known: &BTreeMap<(Out, i32), Ends>,
    position: &mut Position,
) -> Result<Effects, Fault> {
    let mut effects = Effects::default();
    for (out, output) in outputs(log, partition) {
        let ends = match known.get(&(out, output)) {
            Some(ends) => *ends,
            None => end_of(log, (out, output))?,
        };
        let from = hints_of(&mut position.hints, out).get(&output).copied().unwrap_or(ends.start);
        let seq = position.seq;
        let end = scan_decided(log, (out, output), from, ends, &mut |found| {
            let Some((_, offset)) = found.src.filter(|(from, _)| *from == partition) else { return };
            if let Some(used) = found.seq.filter(|used| *used > seq) {
                effects.seqs.insert(used);
            }
            // Of those before, the ones that wait may be torn as well: the task knows which.
            effects.places.insert((offset, found.generation), place(out));
            if out == Out::Clean && found.generation == 0 {
                effects.passed.insert(offset, short_hash(found.key));
            }
        })?;
        if effects.places.is_empty() && effects.seqs.is_empty() {
            hints_of(&mut position.hints, out).insert(output, end);
        }
    }
    Ok(effects)
}

/// Where partitions end, and what of them was decided before that was asked.
pub fn ends_of<L: Log>(log: &mut L, wanted: &[(Out, i32)]) -> Result<BTreeMap<(Out, i32), Ends>, Fault> {
    let before = log.ends_of(wanted)?;
    let mut ends = log.ends_of(wanted)?;
    for (at, ends) in &mut ends {
        ends.stable = before.get(at).map_or(ends.start, |before| before.stable);
    }
    Ok(ends)
}

/// The same of one.
pub(super) fn end_of<L: Log>(log: &mut L, (out, partition): (Out, i32)) -> Result<Ends, Fault> {
    let stable = log.ends(out, partition)?.stable;
    Ok(Ends { stable, ..log.ends(out, partition)? })
}

/// Reads everything that was in an output partition when its end was asked, once it is decided. `ends`: of
/// [`ends_of`]. Where the next look may begin.
pub(super) fn scan_decided<L: Log>(
    log: &mut L,
    (out, partition): (Out, i32),
    from: i64,
    ends: Ends,
    each: &mut dyn FnMut(Found<'_>),
) -> Result<i64, Fault> {
    let from = from.max(ends.start);
    // A committed record is followed by its marker: one lone offset that was decided before the end was asked can't
    // hold an effect. One that was decided since can: its marker was written after the end was asked.
    if ends.high - from <= 1 && ends.stable >= ends.high {
        return Ok(from);
    }
    let mut moved = log.now_ms();
    let mut next = from;
    let mut last = from;
    let mut is_decided = false;
    loop {
        // Asked before the scan: what was decided then, the scan reads.
        is_decided = is_decided || log.ends(out, partition)?.stable >= ends.high;
        let scanned = log.scan(out, partition, next, SLICE_MS, &mut |found| {
            last = found.offset + 1;
            each(found);
            ControlFlow::Continue(())
        })?;
        if scanned.next > next {
            // Reading much takes its time: what is waited for is the end of a transaction.
            moved = log.now_ms();
        }
        // A clock that was set back would let it wait for as long.
        moved = moved.min(log.now_ms());
        next = scanned.next;
        if is_decided && scanned.is_end {
            return Ok(last);
        }
        if log.now_ms().saturating_sub(moved) > UNDECIDED_MS {
            let detail = format!("partition {partition} of {} stays undecided", name(out));
            return Err(Fault::Unsure { doing: "look for torn transactions", detail });
        }
    }
}

/// Whether what an owner wrote last into the changelog is committed: a DELTA, or the barrier of its takeover. Outputs are
/// written before it, so they are as well.
pub fn has_last_record<L: Log>(log: &mut L, partition: i32, own: &Position) -> Result<bool, Fault> {
    let ends = end_of(log, (Out::Changelog, partition))?;
    let mut is_there = false;
    scan_decided(log, (Out::Changelog, partition), own.changelog_next - 1, ends, &mut |found| {
        is_there |= match changelog::decode(found.value) {
            Ok(Record::Delta(delta)) => delta.lineage == own.lineage && delta.txn == own.delta_txn,
            Ok(Record::Barrier(barrier)) => {
                barrier.lineage == own.lineage && (own.delta_txn..=own.txn).contains(&barrier.txn)
            }
            Err(_) => false,
        };
    })?;
    Ok(is_there)
}

/// The output partitions that an input partition can reach.
pub fn outputs<L: Log>(log: &L, partition: i32) -> Vec<(Out, i32)> {
    let clean = log.clean_partitions();
    let step = log.input_partitions().min(clean).max(1);
    let mut outputs = vec![(Out::Dead, partition)];
    let mut output = partition % step;
    while output < clean {
        outputs.push((Out::Clean, output));
        outputs.push((Out::Stale, output));
        output += step;
    }
    outputs
}

pub(super) fn hints_of(hints: &mut Hints, out: Out) -> &mut std::collections::BTreeMap<i32, i64> {
    match out {
        Out::Stale => &mut hints.stale,
        Out::Dead => &mut hints.dead,
        Out::Clean | Out::Resolutions | Out::Changelog | Out::Retry(_) => &mut hints.clean,
    }
}

pub(super) fn place(out: Out) -> Place {
    match out {
        Out::Stale => Place::Stale,
        Out::Dead => Place::Dead,
        Out::Clean | Out::Resolutions | Out::Changelog | Out::Retry(_) => Place::Clean,
    }
}

pub(super) fn name(out: Out) -> &'static str {
    match out {
        Out::Clean => "clean-events",
        Out::Stale => "stale-events",
        Out::Dead => "dead-events",
        Out::Resolutions => "dead-resolutions",
        Out::Changelog => "state-changelog",
        Out::Retry(_) => "retry-events",
    }
}
