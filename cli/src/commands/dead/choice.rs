//! Which dead letters a command is about: found in a first pass, which keeps where they are and not what they hold.
//!
//! They are sent in the order in which they were received, and died in another. So the second pass goes in batches
//! of that order, each bounded in letters and bytes: memory stays flat, and a batch is read once, in its own order.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use anyhow::anyhow;
use runtime::report::Failure;
use schemas::DeadId;

use super::drafts::Drafts;
use super::filter::Filter;
use super::letters::{self, Letter, Letters};
use super::list::Counts;
use super::states::States;
use crate::args::dead::{ActArgs, State};
use crate::log::Range;

/// Most letters in memory.
const BATCH_LETTERS: usize = 1000;
/// Most bytes of them, unless one alone has more.
const BATCH_BYTES: u64 = 32 * 1024 * 1024;
/// Offsets that are read over rather than skipped: beginning to read anew takes as long as reading these.
const GAP_OFFSETS: i64 = 20_000;

/// One letter of a partition. 24 bytes: there may be a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chosen {
    received: i64,
    generation: u32,
    bytes: u32,
    offset: i64,
}

/// The letters, and what a plan says about them.
#[derive(Debug, Default)]
pub struct Choice {
    /// Per partition, in the order of their receipt.
    pub partitions: BTreeMap<i32, Vec<Chosen>>,
    /// How many of each reason and source.
    pub counts: Counts,
    /// How many have an edited body.
    pub edited: u64,
    /// First failure of the oldest.
    pub oldest_ms: Option<i64>,
    /// Ids that no letter has.
    pub unknown: Vec<DeadId>,
    /// Ids whose letters are resolved.
    pub resolved: Vec<(DeadId, State)>,
}

/// What was asked for.
#[derive(Debug)]
pub enum Wanted<'a> {
    /// These, whatever else.
    Ids(HashSet<DeadId>),
    /// All that fit and are dead.
    Fitting(Box<Filter<'a>>),
}

impl<'a> Wanted<'a> {
    /// Of a command line: ids, or filters, or `--all`.
    pub fn of(options: &'a ActArgs, now_ms: i64) -> Result<Self, Failure> {
        let usage = |text: &str| Err(Failure::usage(anyhow!("{text}")));
        match (options.ids.is_empty(), options.filter.is_empty(), options.all) {
            (true, true, false) => usage("which? give dead ids, filters, or --all"),
            (false, true, false) => Ok(Self::Ids(options.ids.iter().copied().collect())),
            (true, false, false) | (true, true, true) => {
                if options.filter.state.is_some_and(|state| state != State::Dead) {
                    return usage("--state: only letters that are dead can be redriven or discarded");
                }
                Ok(Self::Fitting(Box::new(Filter::of(&options.filter, now_ms)?)))
            }
            (false, _, _) | (true, false, true) => usage("give either dead ids, or filters, or --all"),
        }
    }

    fn ranges(&self, all: Vec<Range>) -> Vec<Range> {
        match self {
            Self::Fitting(_) => all,
            Self::Ids(ids) => {
                let partitions: HashSet<i32> = ids.iter().map(|id| id.partition).collect();
                all.into_iter().filter(|range| partitions.contains(&range.partition)).collect()
            }
        }
    }
}

impl Choice {
    /// The first pass.
    pub fn make(letters: &Letters, wanted: &Wanted<'_>, drafts: Option<&Drafts>) -> Result<Self, Failure> {
        let ranges = wanted.ranges(letters.ranges()?);
        let states = letters.states()?;
        let mut choice = Self::default();
        let mut found = HashSet::new();
        letters.each(&ranges, letters::reading(&ranges), &mut |letter| {
            if let Wanted::Ids(ids) = wanted
                && ids.contains(&letter.id)
            {
                found.insert(letter.id);
            }
            choice.take(letter, wanted, &states, drafts);
            Ok(ControlFlow::Continue(()))
        })?;
        if let Wanted::Ids(ids) = wanted {
            choice.unknown = ids.difference(&found).copied().collect();
        }
        choice.finish();
        Ok(choice)
    }

    fn take(&mut self, letter: &Letter<'_>, wanted: &Wanted<'_>, states: &States, drafts: Option<&Drafts>) {
        let state = states.of(letter.id);
        let is_wanted = match wanted {
            Wanted::Ids(ids) => ids.contains(&letter.id),
            Wanted::Fitting(filter) => state == State::Dead && filter.fits(&letter.event, state),
        };
        if !is_wanted {
            return;
        }
        if state != State::Dead {
            self.resolved.push((letter.id, state));
            return;
        }
        self.counts.add(&letter.event);
        self.edited += u64::from(drafts.is_some_and(|drafts| drafts.has(letter.id, &letter.event)));
        let failed_ms = letter.event.first_failed_ms;
        self.oldest_ms = Some(self.oldest_ms.map_or(failed_ms, |oldest| oldest.min(failed_ms)));
        self.partitions.entry(letter.id.partition).or_default().push(Chosen {
            received: letter.id.offset,
            generation: u32::try_from(letter.id.generation).unwrap_or(u32::MAX),
            bytes: u32::try_from(letter.value.len()).unwrap_or(u32::MAX),
            offset: letter.offset,
        });
    }

    fn finish(&mut self) {
        for chosen in self.partitions.values_mut() {
            chosen.sort_unstable();
            chosen.dedup_by_key(|chosen| (chosen.received, chosen.generation));
        }
        self.unknown.sort_unstable();
        self.resolved.sort_unstable_by_key(|(id, _)| *id);
        self.resolved.dedup();
    }

    /// How many letters there are.
    pub fn len(&self) -> u64 {
        self.partitions.values().map(|chosen| u64::try_from(chosen.len()).unwrap_or(u64::MAX)).sum()
    }
}

/// How many of these, at least one, make the next batch.
pub fn batch(chosen: &[Chosen]) -> usize {
    let mut bytes: u64 = 0;
    let fitting = chosen.iter().take(BATCH_LETTERS).take_while(|chosen| {
        bytes += u64::from(chosen.bytes);
        bytes <= BATCH_BYTES
    });
    fitting.count().max(1).min(chosen.len())
}

/// The pieces of a partition that hold a batch, and the offsets of its letters.
pub fn pieces(partition: i32, batch: &[Chosen]) -> (Vec<Range>, HashSet<i64>) {
    let mut offsets: Vec<i64> = batch.iter().map(|chosen| chosen.offset).collect();
    offsets.sort_unstable();
    let mut ranges: Vec<Range> = Vec::new();
    for offset in &offsets {
        match ranges.last_mut() {
            Some(last) if offset - last.until <= GAP_OFFSETS => last.until = offset + 1,
            Some(_) | None => ranges.push(Range { partition, from: *offset, until: offset + 1 }),
        }
    }
    (ranges, offsets.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use runtime::report::Exit;

    use super::*;
    use crate::args::dead::DeadCommand;
    use crate::args::{Cli, Command};
    use crate::samples;

    fn options(line: &str) -> ActArgs {
        let line = format!("weir dead discard {line} --note n");
        let command = Cli::try_parse_from(line.split_whitespace()).unwrap().command;
        let Command::Dead(DeadCommand::Discard(options)) = command else { panic!("{line}") };
        options.act
    }

    fn take(choice: &mut Choice, id: &str, offset: i64, wanted: &Wanted<'_>, states: &States) {
        let value = samples::dead(id, b"{}");
        choice.take(&Letter::read(offset, &value).unwrap(), wanted, states, None);
    }

    #[test]
    fn letters_are_named_by_ids_or_filters_or_all() {
        for line in ["", "3-1-0 --all", "3-1-0 --source gh", "--all --source gh", "--state discarded"] {
            assert_eq!(Wanted::of(&options(line), 0).unwrap_err().exit, Exit::Usage, "{line:?}");
        }
        for line in ["3-1-0 3-2-0", "--source gh", "--all", "--state dead", "--since 2h"] {
            assert!(Wanted::of(&options(line), 0).is_ok(), "{line}");
        }
    }

    #[test]
    fn only_the_dead_are_chosen_and_resolved_ids_are_named() {
        let mut states = States::default();
        states.take(b"3-2-0", Some(b"{}"));
        for (line, resolved) in [("3-1-0 3-2-0", 1), ("--all", 0)] {
            let options = options(line);
            let wanted = Wanted::of(&options, 0).unwrap();
            let mut choice = Choice::default();
            for (offset, id) in ["3-1-0", "3-2-0"].into_iter().enumerate() {
                take(&mut choice, id, i64::try_from(offset).unwrap(), &wanted, &states);
            }
            assert_eq!((choice.len(), choice.resolved.len(), choice.oldest_ms), (1, resolved, Some(1000)), "{line}");
        }
    }

    #[test]
    fn letters_go_in_the_order_of_their_receipt_and_each_once() {
        let options = options("--all");
        let wanted = Wanted::of(&options, 0).unwrap();
        let mut choice = Choice::default();
        for (offset, id) in ["3-9-0", "3-10-1", "3-10-0", "3-9-0", "0-50-0"].into_iter().enumerate() {
            take(&mut choice, id, i64::try_from(offset).unwrap(), &wanted, &States::default());
        }
        choice.finish();
        let order: Vec<(i32, i64, u32)> = choice
            .partitions
            .iter()
            .flat_map(|(partition, all)| all.iter().map(|one| (*partition, one.received, one.generation)))
            .collect();
        assert_eq!(order, [(0, 50, 0), (3, 9, 0), (3, 10, 0), (3, 10, 1)]);
    }

    fn chosen(offset: i64, bytes: u32) -> Chosen {
        Chosen { received: offset, generation: 0, bytes, offset }
    }

    #[test]
    fn a_million_letters_are_24_mb() {
        assert_eq!(std::mem::size_of::<Chosen>(), 24);
    }

    #[test]
    fn a_batch_is_bounded_in_letters_and_bytes_and_never_empty() {
        assert_eq!(batch(&[chosen(1, 10); 5]), 5);
        assert_eq!(batch(&vec![chosen(1, 10); BATCH_LETTERS + 5]), BATCH_LETTERS);
        assert_eq!(batch(&[chosen(1, 16 * 1024 * 1024); 5]), 2);
        assert_eq!(batch(&[chosen(1, u32::MAX); 2]), 1);
        assert_eq!(batch(&[]), 0);
    }

    #[test]
    fn what_lies_far_apart_is_not_read_over() {
        let batch = [chosen(100_000, 1), chosen(5, 1), chosen(9, 1)];
        let (ranges, offsets) = pieces(2, &batch);
        let expected =
            [Range { partition: 2, from: 5, until: 10 }, Range { partition: 2, from: 100_000, until: 100_001 }];
        assert_eq!((ranges.as_slice(), offsets.len()), (expected.as_slice(), 3));
    }
}
