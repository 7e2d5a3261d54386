//! `weir dead redrive` and `weir dead discard`: plan, question, commands, answers.
//!
//! Nothing is sent before the question is answered. What was sent is waited for, also after Ctrl-C; whatever happens,
//! repeating the command is safe, because the owner of a partition executes each letter at most once.

mod wire;
mod delivery;

use std::ops::ControlFlow;

use runtime::config::Config;
use runtime::report::{Exit, Failure};
use runtime::shutdown::Shutdown;
use schemas::command::Verb;
use schemas::resolution::Outcome;

use self::delivery::{Delivery, Listener};
use self::wire::KafkaWire;
use super::choice::{self, Choice, Chosen, Wanted};
use super::compose::{self, Edited, Order};
use super::drafts::Drafts;
use super::letters::{Letter, Letters};
use super::outcome::{Resolved, Tally};
use super::plan::{self, Plan};
use super::window::Waiting;
use crate::args::dead::ActArgs;
use crate::ask::{self, Consent};
use crate::commands::tokio_runtime;
use crate::output::rows::{READABLE, Rows};
use crate::output::{Form, Output};
use crate::progress::Progress;

/// A table of more than is read shows only what failed, and no more than these.
const FAILURES_SHOWN: u64 = 100;

/// What is wanted.
pub struct Wish<'a> {
    /// What to do.
    pub verb: Verb,
    /// Which, why, how fast.
    pub options: &'a ActArgs,
    /// Let stale events through.
    pub is_as_is: bool,
    /// Leave edits aside.
    pub is_original: bool,
}

/// Runs the command. `can_ask`: somebody sits at a terminal.
pub fn run(config: &Config, wish: &Wish<'_>, can_ask: bool, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let options = wish.options;
    let consent = Consent { yes: options.yes, dry_run: options.dry_run, can_ask };
    consent.check(&format!("weir dead {}", wish.verb.as_str()))?;
    let wanted = Wanted::of(options, runtime::clock::now_ms())?;
    let drafts = Drafts::existing(&options.drafts)?;
    let letters = Letters::open(config)?;
    let choice = Choice::make(&letters, &wanted, (!wish.is_original).then_some(&drafts))?;
    let plan = Plan::of(wish.verb, &choice, options.rate);
    let skipped = u64::try_from(choice.unknown.len() + choice.resolved.len()).unwrap_or(u64::MAX);
    let tally = Tally { skipped, ..Tally::default() };
    if options.dry_run {
        plan.print(out)?;
        return Ok(if choice.len() == 0 { Exit::No } else { tally.exit() });
    }
    ask::say(&plan.text())?;
    if choice.len() == 0 || (!options.yes && !ask::agreed(&plan.question())?) {
        out.nothing()?;
        return Ok(Exit::No);
    }
    let order = Order {
        verb: wish.verb,
        operator: options.operator.clone().unwrap_or_else(operator),
        note: options.note.clone(),
        is_as_is: wish.is_as_is,
    };
    let run = Run { config, letters: &letters, drafts: &drafts, is_original: wish.is_original, order };
    let tally = run.all(&choice, options, tally, out)?;
    ask::say(&format!("{}\n", tally.sentence()))?;
    Ok(tally.exit())
}

/// `user@host`, as far as it is known.
fn operator() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name(std::env::var("USER").ok().as_deref(), host.trim())
}

fn name(user: Option<&str>, host: &str) -> String {
    match (user.filter(|user| !user.is_empty()), host) {
        (None, _) => "unknown".to_owned(),
        (Some(user), "") => user.to_owned(),
        (Some(user), host) => format!("{user}@{host}"),
    }
}

struct Run<'a> {
    config: &'a Config,
    letters: &'a Letters,
    drafts: &'a Drafts,
    is_original: bool,
    order: Order,
}

impl Run<'_> {
    fn all(&self, choice: &Choice, options: &ActArgs, tally: Tally, out: &mut Output<'_>) -> Result<Tally, Failure> {
        let wire = KafkaWire::open(self.config, self.letters, options.timeout)?;
        let tokio = tokio_runtime()?;
        let shutdown = Shutdown::new();
        tokio.block_on(async { shutdown.listen() });
        let total = choice.len();
        let mut teller = Teller::new(out, total);
        let is_stopped = || shutdown.is_triggered();
        let mut delivery = Delivery::new(wire, options.rate, options.timeout, &is_stopped, &mut teller);
        delivery.tally = tally;
        'run: for (partition, chosen) in &choice.partitions {
            let mut rest = chosen.as_slice();
            while let Some((batch, after)) =
                rest.split_at_checked(choice::batch(rest)).filter(|(batch, _)| !batch.is_empty())
            {
                rest = after;
                if self.batch(*partition, batch, &mut delivery)?.is_break() {
                    break 'run;
                }
            }
        }
        let tally = delivery.finish(total)?;
        teller.end()?;
        Ok(tally)
    }

    /// Reads a batch and sends it.
    fn batch<L: Listener>(
        &self,
        partition: i32,
        batch: &[Chosen],
        delivery: &mut Delivery<'_, KafkaWire, L>,
    ) -> Result<ControlFlow<()>, Failure> {
        let (ranges, offsets) = choice::pieces(partition, batch);
        let mut read: Vec<(schemas::DeadId, i64, Vec<u8>)> = Vec::with_capacity(batch.len());
        // One piece at a time: the reader takes one range a partition.
        for range in ranges {
            self.letters.scan(&[range], &mut |letter| {
                if let Some(letter) = letter.filter(|letter| offsets.contains(&letter.offset)) {
                    read.push((letter.id, letter.offset, letter.value.to_vec()));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        read.sort_unstable_by_key(|(id, _, _)| *id);
        for (_, offset, value) in &read {
            let Some(letter) = Letter::read(*offset, value) else {
                continue;
            };
            let edited = self.edited(&letter)?;
            let composed = compose::compose(&self.order, &letter, rand::random(), edited);
            if delivery.send(composed)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn edited(&self, letter: &Letter<'_>) -> Result<Option<Edited>, Failure> {
        let draft = || self.drafts.path(letter.id, &letter.event);
        if self.is_original {
            let is_edited = self.drafts.has(letter.id, &letter.event);
            return Ok(is_edited.then(|| Edited { draft: draft(), body: None }));
        }
        let body = self.drafts.read(letter.id, &letter.event)?;
        Ok(body.map(|body| Edited { draft: draft(), body: Some(body) }))
    }
}

/// Prints what becomes of each letter, and cleans up after those that came through.
struct Teller<'o, 'a> {
    rows: Rows<'o, 'a, Resolved>,
    progress: Progress,
    is_everything_shown: bool,
    is_table: bool,
    failures: u64,
    unanswered: Vec<String>,
}

impl<'o, 'a> Teller<'o, 'a> {
    fn new(out: &'o mut Output<'a>, total: u64) -> Self {
        let is_table = out.form() == Form::Table;
        Self {
            rows: out.rows(),
            progress: Progress::of(total, "answered"),
            is_everything_shown: !is_table || total <= READABLE,
            is_table,
            failures: 0,
            unanswered: Vec::new(),
        }
    }

    fn end(self) -> Result<(), Failure> {
        drop(self.progress);
        if !self.is_table || self.is_everything_shown || self.failures > 0 {
            self.rows.end()?;
        }
        let named = plan::named("without an answer", &self.unanswered);
        if !named.is_empty() {
            ask::say(&format!("{named}does weir-processor run? Repeating this is safe: each is done at most once\n"))?;
        }
        Ok(())
    }
}

impl Listener for Teller<'_, '_> {
    fn resolved(&mut self, row: Resolved, waiting: &Waiting) -> Result<(), Failure> {
        self.progress.advance(1);
        if let (true, Some(draft)) = (is_final(row.result), &waiting.draft)
            && let Err(failure) = Drafts::remove(draft)
        {
            // The letter is through, and others are under way.
            self.remark(&format!("{}: {failure}", row.id))?;
        }
        if row.result.is_none() {
            self.unanswered.push(row.id.clone());
        }
        self.failures += u64::from(row.is_failure());
        if self.is_everything_shown || (row.is_failure() && self.failures <= FAILURES_SHOWN) {
            return self.rows.show(row, &self.progress);
        }
        Ok(())
    }

    fn remark(&mut self, text: &str) -> Result<(), Failure> {
        self.progress.aside(|| ask::say(&format!("{text}\n")))
    }
}

/// Whether nothing more comes of a letter. One that died again is edited again, perhaps.
fn is_final(result: Option<Outcome>) -> bool {
    match result {
        Some(Outcome::Redriven | Outcome::Stale | Outcome::Discarded | Outcome::Superseded) => true,
        Some(Outcome::Dead) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_named_as_far_as_it_is_known() {
        assert_eq!(name(Some("ann"), "host"), "ann@host");
        assert_eq!(name(Some("ann"), ""), "ann");
        assert_eq!(name(Some(""), "host"), "unknown");
        assert_eq!(name(None, "host"), "unknown");
    }

    fn told(form: Form, total: u64, results: &[Option<Outcome>]) -> String {
        let mut bytes = Vec::new();
        let mut out = Output::new(Box::new(&mut bytes), Some(form), false, false);
        let mut teller = Teller::new(&mut out, total);
        for result in results {
            let id = schemas::DeadId { partition: 0, offset: 1, generation: 0 };
            let row = Resolved { id: id.to_string(), event_id: None, result: *result, new_dead_id: None };
            teller.resolved(row, &Waiting { id, event_id: None, draft: None }).unwrap();
        }
        teller.end().unwrap();
        drop(out);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_program_gets_a_row_a_letter_and_a_person_what_can_be_read() {
        let results = [Some(Outcome::Redriven), Some(Outcome::Dead)];
        assert_eq!(told(Form::Jsonl, 1000, &results).lines().count(), 2);
        assert_eq!(told(Form::Table, 2, &results).lines().count(), 3);
        let many = told(Form::Table, 1000, &results);
        assert!(many.lines().count() == 2 && many.contains("dead"), "{many}");
        assert_eq!(told(Form::Table, 1000, &[Some(Outcome::Redriven)]), "");
    }

    /// What a run says of one letter with a draft: `Err`, and whether the draft is still there.
    fn with_draft(draft: &std::path::Path, result: Option<Outcome>) -> (Result<(), Failure>, bool) {
        let id = schemas::DeadId { partition: 0, offset: 1, generation: 0 };
        let mut out = Output::new(Box::new(Vec::new()), Some(Form::Jsonl), false, false);
        let mut teller = Teller::new(&mut out, 1);
        let row = Resolved { id: id.to_string(), event_id: None, result, new_dead_id: None };
        let told = teller.resolved(row, &Waiting { id, event_id: None, draft: Some(draft.to_owned()) });
        (told, draft.exists())
    }

    #[test]
    fn a_draft_goes_when_its_letter_is_through_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let draft = folder.path().join("draft");
        for (result, is_kept) in [
            (None, true),
            (Some(Outcome::Dead), true),
            (Some(Outcome::Superseded), false),
            (Some(Outcome::Stale), false),
            (Some(Outcome::Discarded), false),
            (Some(Outcome::Redriven), false),
        ] {
            std::fs::write(&draft, "edited").unwrap();
            let (told, is_there) = with_draft(&draft, result);
            assert_eq!((told.is_ok(), is_there), (true, is_kept), "{result:?}");
        }
    }

    #[test]
    fn a_draft_that_cannot_be_removed_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        // A folder is no file: `remove_file` refuses, whoever runs this.
        let (told, is_there) = with_draft(folder.path(), Some(Outcome::Redriven));
        assert_eq!((told.is_ok(), is_there), (true, true));
    }
}
