//! From a decision to what it changes: records, entries, tallies, and who waits.
//!
//! The same for an event that is read for the first time, one whose turn has come, and one that a person redrives:
//! a [`Case`] says which of them it is.

use schemas::command::{Command, Failed, RecordHeaders, decode_history, encode_history};
use schemas::resolution::{Outcome as Resolved, Resolution};
use schemas::{DeadId, time};

use super::{Count, Means, TakeError, Task};
use crate::books::{Place, UNKNOWN_SOURCE};
use crate::call::Call;
use crate::emit::{Failures, Out, Pass, Stamp};
use crate::log::{Fault, Loose};
use crate::state::wait::{Detail, RecordAt, WaitChange, Waits};
use crate::state::{DeadRef, Status, Store};
use crate::step::order::short_hash;
use crate::step::{Decision, Input, Outcome, Retry};
use crate::waiting::Spot;

/// A call to make once the transaction is committed.
#[derive(Debug)]
pub struct CallWanted {
    /// For whom.
    pub spot: Spot,
    /// How often it was redriven.
    pub generation: u64,
    /// Which handler wants it.
    pub handler: usize,
    /// The call.
    pub call: Call,
}

/// Which event a decision is about, and where it stood.
pub(super) struct Case<'a> {
    /// Its record, at its place in `verified-events`.
    pub(super) input: &'a Input<'a>,
    /// Headers of the original record.
    pub(super) originals: &'a dyn Fn() -> RecordHeaders<'a>,
    /// Where it was in the books. `None`: nowhere yet.
    pub(super) from: Option<Place>,
    /// In whose books it was, if not in those of its source: what could not be read had none.
    pub(super) books: Option<&'a str>,
    /// What was known of it while it waited.
    pub(super) detail: Option<&'a Detail>,
    /// Whether it stands among those that wait.
    pub(super) is_waiting: bool,
    /// The command that redrove it, and where it lies.
    pub(super) command: Option<(&'a Command<'a>, RecordAt)>,
    /// Where a torn transaction left its effect.
    pub(super) visible: Option<Place>,
    /// Its source and spot, if its record is gone.
    pub(super) gone: Option<(&'a str, Spot)>,
}

impl<'a> Case<'a> {
    /// One that is read for the first time.
    pub(super) fn first(input: &'a Input<'a>) -> Self {
        let originals: &dyn Fn() -> RecordHeaders<'a> = &Vec::new;
        Self {
            input,
            originals,
            from: None,
            books: None,
            detail: None,
            is_waiting: false,
            command: None,
            visible: None,
            gone: None,
        }
    }

    fn generation(&self) -> u64 {
        match &self.command {
            Some((command, _)) => command.dead_id.generation.saturating_add(1),
            None => self.detail.map_or(0, |detail| detail.generation),
        }
    }

    fn spot(&self) -> Spot {
        self.gone.map_or_else(|| (short_hash(self.input.key), self.input.offset), |(_, spot)| spot)
    }

    fn source<'d>(&'d self, decision: &'d Decision<'_>) -> &'d str {
        let of_event = decision.event.as_ref().map(|event| event.source);
        of_event.or(self.gone.map(|(source, _)| source)).unwrap_or(UNKNOWN_SOURCE)
    }

    /// How often it was handled before.
    fn handled(&self) -> u32 {
        let before = self.command.as_ref().map_or(0, |(command, _)| command.attempts);
        self.detail.map_or(before, |detail| detail.handled.max(before))
    }

    fn record_at(&self) -> RecordAt {
        self.command.as_ref().map_or(RecordAt::Input, |(_, record_at)| record_at.clone())
    }

    fn first_failed_ms(&self, now_ms: i64) -> i64 {
        let of_detail = self.detail.map(|detail| detail.first_failed_ms).filter(|at| *at > 0);
        of_detail.or(self.command.as_ref().map(|(command, _)| command.first_failed_ms)).unwrap_or(now_ms)
    }
}

impl<S: Store> Task<S> {
    /// Brings a decision about: sends what it emits, stages what it changes.
    pub(super) fn conclude(
        &mut self,
        decision: Decision<'_>,
        case: &Case<'_>,
        means: &mut Means<'_>,
    ) -> Result<(), TakeError> {
        let generation = case.generation();
        let attempt = case.handled().saturating_add(u32::from(decision.outcome != Outcome::Parked));
        let mut stamp = Stamp { txn: self.committed.txn + 1, seq: None, generation, attempt };
        if case.visible.is_none() {
            self.send_effect(&decision, case, &mut stamp, means)?;
        }
        // Nobody looks whether this one is visible already: the topic keeps the last of each dead letter.
        if let Some(dead) = decision.supersedes {
            (means.send)(&means.emitter.superseded(self.partition, dead, case.input, stamp))?;
            self.settle_place(dead.offset, Status::Done)?;
        }
        if case.command.is_some() {
            self.send_resolution(&decision, case, stamp, means)?;
        }
        self.keep_waiting(&decision, case, attempt, means)?;
        self.stage(decision, case, attempt);
        Ok(())
    }

    fn send_effect(
        &mut self,
        decision: &Decision<'_>,
        case: &Case<'_>,
        stamp: &mut Stamp,
        means: &mut Means<'_>,
    ) -> Result<(), TakeError> {
        let partitions = means.shared.clean_partitions;
        match (&decision.outcome, decision.event.as_ref()) {
            (Outcome::Clean { is_stale, is_future }, Some(event)) => {
                stamp.seq = Some(self.next_seq());
                let body = decision.body.as_deref();
                let pass = Pass { is_stale: *is_stale, is_future: *is_future, body };
                (means.send)(&means.emitter.event(Out::Clean, partitions, event, case.input, *stamp, pass))?;
            }
            (Outcome::StaleRouted, Some(event)) => {
                let pass = Pass { is_stale: false, is_future: false, body: None };
                let record = means.emitter.event(Out::Stale, partitions, event, case.input, *stamp, pass);
                (means.send)(&record)?;
            }
            (Outcome::Dead(death), event) => {
                let history = history(case);
                let failures = failures(case, &history, means.now_ms, &means.shared.input_topic);
                let source = case.gone.map(|(source, _)| source);
                (means.send)(&means.emitter.dead(event, source, case.input, &failures, death, *stamp))?;
            }
            // Never: only what could be read passes. In the books it would stand as emitted.
            (Outcome::Clean { .. } | Outcome::StaleRouted, None) => {
                let detail = format!("that of offset {} is decided and not there", case.input.offset);
                return Err(TakeError::Fault(Fault::Unsure { doing: "emit an event", detail }));
            }
            (
                Outcome::StaleDropped
                | Outcome::Duplicate { .. }
                | Outcome::Discarded
                | Outcome::Parked
                | Outcome::Retry(_)
                | Outcome::Call(..),
                _,
            ) => {}
        }
        Ok(())
    }

    /// Says what became of the dead letter that was redriven, once it is known.
    fn send_resolution(
        &mut self,
        decision: &Decision<'_>,
        case: &Case<'_>,
        stamp: Stamp,
        means: &mut Means<'_>,
    ) -> Result<(), TakeError> {
        let Some((command, _)) = &case.command else { return Ok(()) };
        let result = match &decision.outcome {
            Outcome::Clean { .. } => Resolved::Redriven,
            Outcome::StaleRouted | Outcome::StaleDropped => Resolved::Stale,
            Outcome::Dead(_) => Resolved::Dead,
            Outcome::Discarded => Resolved::Discarded,
            Outcome::Duplicate { .. } => Resolved::Superseded,
            Outcome::Parked | Outcome::Retry(_) | Outcome::Call(..) => return Ok(()),
        };
        let new_dead_id = (result == Resolved::Dead).then(|| {
            DeadId { partition: self.partition, offset: case.input.offset, generation: case.generation() }.to_string()
        });
        let resolution = Resolution { new_dead_id, ..resolution(command, result, means.now_ms) };
        self.counts.push(Count::Redriven(result));
        (means.send)(&means.emitter.resolution(&resolution, false, Some(case.input), stamp))?;
        Ok(())
    }

    /// Lets the event wait, wait on, or wait no more.
    fn keep_waiting(
        &mut self,
        decision: &Decision<'_>,
        case: &Case<'_>,
        attempt: u32,
        means: &mut Means<'_>,
    ) -> Result<(), TakeError> {
        let does_wait = matches!(decision.outcome.place(), Place::Parked | Place::Retrying);
        if !does_wait && !case.is_waiting {
            return Ok(());
        }
        let spot = case.spot();
        let source = case.source(decision).to_owned();
        let detail = match &decision.outcome {
            Outcome::Parked => case.command.as_ref().map(|_| Box::new(self.detail_of(case, attempt))),
            Outcome::Call(handler, call) => {
                let (generation, call) = (case.generation(), call.clone());
                self.errands.calls.push(CallWanted { spot, generation, handler: *handler, call });
                // The attempt is used up when the reply is judged.
                let detail = Detail { is_retrying: true, due_ms: 0, ..self.detail_of(case, case.handled()) };
                Some(Box::new(detail))
            }
            Outcome::Retry(retry) => Some(Box::new(self.retry(retry, case, attempt, means)?)),
            Outcome::Clean { .. }
            | Outcome::StaleRouted
            | Outcome::StaleDropped
            | Outcome::Duplicate { .. }
            | Outcome::Dead(_)
            | Outcome::Discarded => None,
        };
        self.change_wait(case, spot, does_wait.then_some(Waits { source, detail }));
        if matches!(decision.outcome, Outcome::Call(..)) {
            self.waiting.set_busy(spot, true);
            if !case.is_waiting {
                self.errands.keep(spot, loose(case));
            }
            return Ok(());
        }
        self.errands.forget(spot);
        if let Outcome::Retry(retry) = &decision.outcome
            && !case.is_waiting
            && self.errands.keeps(retry.pause_ms)
        {
            self.errands.keep(spot, loose(case));
        }
        Ok(())
    }

    /// Sends an event to a tier. What is known of it then.
    fn retry(
        &mut self,
        retry: &Retry,
        case: &Case<'_>,
        attempt: u32,
        means: &mut Means<'_>,
    ) -> Result<Detail, TakeError> {
        let mut detail = self.detail_of(case, attempt);
        detail.is_retrying = true;
        detail.due_ms = means.now_ms.saturating_add(retry.pause_ms);
        detail.pause_ms = retry.pause_ms;
        detail.first_failed_ms = case.first_failed_ms(means.now_ms);
        if retry.is_counted {
            detail.failures += 1;
            detail.hops += 1;
            let mut own = decode_history(&detail.history);
            own.push(Failed {
                at_ms: means.now_ms,
                attempt: i64::from(attempt),
                reason: retry.reason.as_str().to_owned(),
                message: retry.message.clone(),
            });
            detail.history = encode_history(&own.iter().map(Failed::as_failure).collect::<Vec<_>>());
        } else {
            detail.handled = case.handled();
        }
        let stamp = Stamp { txn: self.committed.txn + 1, seq: None, generation: case.generation(), attempt };
        let tier = means.shared.handlers.retries.tier(retry.pause_ms);
        (means.send)(&means.emitter.retry(tier, case.input, &(case.originals)(), retry, &detail, stamp))?;
        Ok(detail)
    }

    fn detail_of(&self, case: &Case<'_>, handled: u32) -> Detail {
        let known = case.detail.cloned().unwrap_or_default();
        Detail { record_at: case.record_at(), generation: case.generation(), handled, ..known }
    }

    fn change_wait(&mut self, case: &Case<'_>, (resource, src): Spot, now: Option<Waits>) {
        let slot = self.waiting.slot(resource).unwrap_or_else(|| schemas::partition::slot(case.input.key));
        self.wait(WaitChange { slot, resource, src, now });
    }

    /// An event leaves a place in somebody's books for another, perhaps in somebody else's.
    pub(super) fn shift(&mut self, from: (&str, Place), to: (&str, Place)) {
        if from.0 == to.0 {
            return self.tallies.shift(from.0, from.1, to.1);
        }
        self.tallies.leave(from.0, from.1);
        self.tallies.add(to.0, to.1);
        self.touch(from.0, None);
    }

    fn stage(&mut self, decision: Decision<'_>, case: &Case<'_>, attempt: u32) {
        let source = case.source(&decision);
        let place = decision.outcome.place();
        match case.from {
            None => self.tallies.add(source, place),
            Some(from) => self.shift((case.books.unwrap_or(source), from), (source, place)),
        }
        if decision.supersedes.is_some() {
            self.tallies.shift(source, Place::Dead, Place::Duplicate);
        }
        match &decision.outcome {
            Outcome::Dead(death) => {
                self.counts.push(Count::Dead { source: source.to_owned(), reason: death.reason.as_str() });
            }
            Outcome::Duplicate { is_conflict: true } => {
                self.counts.push(Count::Conflict { source: source.to_owned() });
            }
            Outcome::Retry(retry) => {
                self.counts.push(Count::Retried { source: source.to_owned(), reason: retry.reason.as_str() });
            }
            Outcome::Clean { .. }
            | Outcome::StaleRouted
            | Outcome::StaleDropped
            | Outcome::Duplicate { is_conflict: false }
            | Outcome::Discarded
            | Outcome::Parked
            | Outcome::Call(..) => {}
        }
        if case.is_waiting && !matches!(place, Place::Parked | Place::Retrying) {
            self.counts.push(Count::Attempts { source: source.to_owned(), attempts: attempt });
        }
        match decision.entry {
            Some(entry) if decision.event.is_none() => {
                self.push(UNKNOWN_SOURCE, entry);
                self.touch(source, None);
            }
            Some(entry) => self.push(source, entry),
            None => self.touch(source, None),
        }
        self.is_dirty |= case.from.is_some();
    }
}

/// Its record, to be looked at again when the call is answered, or it is tried again. A command's record is more than
/// what it runs: it is fetched.
fn loose(case: &Case<'_>) -> Option<Loose> {
    case.command.is_none().then(|| Loose::of(case.input, &(case.originals)()))
}

/// The dead letter that a command is about.
pub(super) fn dead_ref(command: &Command<'_>) -> DeadRef {
    DeadRef { offset: command.dead_id.offset, generation: command.dead_id.generation }
}

/// What a command led to.
pub(super) fn resolution(command: &Command<'_>, result: Resolved, now_ms: i64) -> Resolution {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Resolution {
        dead_id: command.dead_id.to_string(),
        result,
        at: time::rfc3339(now_ms),
        by: None,
        command_id: text(command.id),
        operator: text(command.operator),
        note: text(command.note),
        new_dead_id: None,
    }
}

/// Everything that went wrong before, the oldest first.
fn history(case: &Case<'_>) -> Vec<Failed> {
    let mut all = case.command.as_ref().map(|(command, _)| decode_history(command.history)).unwrap_or_default();
    all.extend(case.detail.map(|detail| decode_history(&detail.history)).unwrap_or_default());
    all
}

fn failures<'b, 'a: 'b>(case: &Case<'a>, history: &'b [Failed], now_ms: i64, source_topic: &'b str) -> Failures<'b> {
    Failures {
        source_topic,
        originals: (case.originals)(),
        first_ms: case.first_failed_ms(now_ms),
        last_ms: now_ms,
        history,
    }
}
