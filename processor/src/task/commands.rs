//! What people want done with dead letters, carried out by the owner of the partition.
//!
//! A command is accepted when the letter it names is dead, so one that is sent twice, or by two people, is carried out
//! once. An accepted event goes its way at once, or to its place among those of its resource that wait.

use schemas::command::{Command, Verb};
use schemas::resolution::Outcome as Resolved;
use schemas::{DeadId, VerifiedEvent, partition};

use super::case::{self, Case};
use super::suspicion::May;
use super::{Count, Means, TakeError, Task};
use crate::books::{Place, UNKNOWN_SOURCE};
use crate::emit::Stamp;
use crate::log::Loose;
use crate::position::Alone;
use crate::state::wait::{Detail, RecordAt, WaitChange, Waits};
use crate::state::{DeadRef, Entry, Seen, StateError, Status, Store, keys};
use crate::step::dedup::check_of;
use crate::step::order::short_hash;
use crate::step::{self, About, Input, Past, Turn, View};

/// How things stand with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is dead, and may be run again or given up.
    Dead,
    /// It is dead, but its event got through, or is on its way, in another delivery: it may be given up, and must not
    /// run.
    Passed,
    /// It was resolved before, or never was.
    Gone,
}

impl<S: Store> Task<S> {
    /// Carries out commands that were read, at most so many.
    pub fn take_commands(&mut self, left: &mut usize, tier: &str, means: &mut Means<'_>) -> Result<(), TakeError> {
        let may = self.may(means.shared.suspicion);
        let may_run = |record: &Loose| may == May::All || may == May::Only(Alone::Command(record.offset));
        while *left > 0
            && !self.has_torn_input()
            && self.errands.commands.front().is_some_and(may_run)
            && let Some(record) = self.errands.commands.pop_front()
        {
            let all = record.headers();
            let command = Command::read(&all).filter(|command| command.dead_id.partition == self.partition);
            let record_at = RecordAt::Command { tier: tier.to_owned(), offset: record.offset };
            let taken = match &command {
                Some(command) => self.take_command(command, &record, record_at, means),
                None => Ok(()),
            };
            // One that has to wait stays the next, and whatever it waits for may come.
            if let Err(error) = taken {
                self.errands.commands.push_front(record);
                return Err(error);
            }
            self.position.commands = Some((tier.to_owned(), record.offset + 1));
            if command.is_some() {
                *left -= 1;
                (self.is_dirty, self.has_errand) = (true, true);
            }
        }
        Ok(())
    }

    fn take_command(
        &mut self,
        command: &Command<'_>,
        record: &Loose,
        record_at: RecordAt,
        means: &mut Means<'_>,
    ) -> Result<(), TakeError> {
        let event = VerifiedEvent::decode(&record.value).ok();
        let now = self.position.stream_time;
        let about = event.as_ref().map(|event| step::about(event, &record.key, now));
        let books = books(command, event.as_ref());
        let standing = self.standing(command, about.as_ref(), books)?;
        if standing != Standing::Gone {
            let status = if command.verb == Verb::Discard { Status::Discarded } else { Status::Done };
            self.settle_place(command.dead_id.offset, status)?;
        }
        match (standing, command.verb, event, about) {
            (Standing::Gone, ..) => {
                self.touch(books, None);
                self.resolve(command, Resolved::Superseded, true, means)
            }
            (Standing::Passed, Verb::Redrive, ..) => {
                self.tallies.shift(books, Place::Dead, Place::Duplicate);
                self.touch(books, None);
                self.resolve(command, Resolved::Superseded, false, means)
            }
            (standing, Verb::Discard, event, about) => {
                if let (Standing::Dead, Some(event), Some(about)) = (standing, event, about) {
                    self.note(&event, &about, Status::Discarded);
                }
                self.tallies.shift(books, Place::Dead, Place::Discarded);
                self.touch(books, None);
                self.resolve(command, Resolved::Discarded, false, means)
            }
            (Standing::Dead, Verb::Redrive, Some(event), Some(about))
                if self.waiting.holds_back(short_hash(&record.key)) =>
            {
                self.queue(command, (&event, &about), record, record_at, books);
                Ok(())
            }
            (Standing::Dead, Verb::Redrive, event, _) => {
                self.redrive(command, record, record_at, (event.as_ref(), books), means)
            }
        }
    }

    /// How things stand with the dead letter that is meant.
    fn standing(&self, command: &Command<'_>, about: Option<&About<'_>>, books: &str) -> Result<Standing, StateError> {
        let DeadId { offset, .. } = command.dead_id;
        // Nothing is dead here: whoever sent this made it up.
        if offset >= self.position.next || self.tallies.get(books, Place::Dead) == 0 {
            return Ok(Standing::Gone);
        }
        let dead = Status::Dead(case::dead_ref(command));
        let view = self.view();
        let by_place = View::seen(&view, &step::about_place(self.partition, offset, self.position.stream_time))?;
        let by_identity = match about {
            Some(about) => step::known(about, self.partition, &view)?,
            None => None,
        };
        Ok(match (by_place.map(|known| known.seen.status), by_identity.map(|known| known.seen.status)) {
            (_, Some(status)) if status == dead => Standing::Dead,
            // Nobody could tell which event it was, and another delivery of it could be read.
            (Some(status), Some(_)) if status == dead => Standing::Passed,
            (Some(status), None) if status == dead => Standing::Dead,
            (Some(_), _) | (_, Some(_)) => Standing::Gone,
            // Its mark is over, and so is, nearly, the time that dead letters are kept.
            (None, None) => Standing::Dead,
        })
    }

    /// The dead letter of this offset is resolved, also if its event is known by its place.
    pub(super) fn settle_place(&mut self, offset: i64, status: Status) -> Result<(), StateError> {
        let place = step::about_place(self.partition, offset, self.position.stream_time);
        if View::seen(&self.view(), &place)?.is_some() {
            self.push(UNKNOWN_SOURCE, step::route::place_entry(&place, status));
        }
        Ok(())
    }

    fn resolve(
        &mut self,
        command: &Command<'_>,
        result: Resolved,
        is_late: bool,
        means: &mut Means<'_>,
    ) -> Result<(), TakeError> {
        let generation = command.dead_id.generation;
        let stamp = Stamp { txn: self.committed.txn + 1, seq: None, generation, attempt: command.attempts };
        let resolution = case::resolution(command, result, means.now_ms);
        self.counts.push(Count::Redriven(result));
        Ok((means.send)(&means.emitter.resolution(&resolution, is_late, None, stamp))?)
    }

    fn note(&mut self, event: &VerifiedEvent<'_>, about: &About<'_>, status: Status) {
        let class = keys::mark_class_of(about.class);
        let seen = Seen { first_seen: about.now, check: check_of(event.body), status };
        let (window_class, slot, hash) = (about.class, about.slot, about.hash);
        self.push(about.source, Entry { class, window_class, slot, hash, seen, last: None });
    }

    /// Puts an event to its place among those of its resource that wait.
    fn queue(
        &mut self,
        command: &Command<'_>,
        (event, about): (&VerifiedEvent<'_>, &About<'_>),
        record: &Loose,
        record_at: RecordAt,
        books: &str,
    ) {
        let generation = command.dead_id.generation.saturating_add(1);
        self.note(event, about, Status::Parked(DeadRef { offset: command.dead_id.offset, generation }));
        self.shift((books, Place::Dead), (about.source, Place::Parked));
        let detail = Detail {
            record_at,
            generation,
            handled: command.attempts,
            first_failed_ms: command.first_failed_ms,
            ..Detail::default()
        };
        self.wait(WaitChange {
            slot: partition::slot(&record.key),
            resource: short_hash(&record.key),
            src: command.dead_id.offset,
            now: Some(Waits { source: about.source.to_owned(), detail: Some(Box::new(detail)) }),
        });
    }

    /// Runs an event again.
    fn redrive(
        &mut self,
        command: &Command<'_>,
        record: &Loose,
        record_at: RecordAt,
        (event, books): (Option<&VerifiedEvent<'_>>, &str),
        means: &mut Means<'_>,
    ) -> Result<(), TakeError> {
        let input = Input {
            partition: self.partition,
            offset: command.dead_id.offset,
            timestamp: command.received_at_ms,
            key: &record.key,
            value: &record.value,
        };
        let generation = command.dead_id.generation.saturating_add(1);
        let died = self.died_of(Alone::Command(record.offset), means.shared.suspicion);
        let past = Past { generation, is_as_is: command.is_as_is, died, ..Past::default() };
        let visible = self.visible(input.offset, generation);
        let now = self.position.stream_time;
        let decision = self.decide(&input, Turn::Redrive(past), now, &means.shared.handlers, visible)?;
        let is_nameless = event.is_none() && books != UNKNOWN_SOURCE;
        let case = Case {
            from: Some(Place::Dead),
            books: Some(books),
            gone: is_nameless.then(|| (books, (short_hash(&record.key), input.offset))),
            command: Some((command, record_at)),
            visible,
            originals: &|| command.originals.clone(),
            ..Case::first(&input)
        };
        self.conclude(decision, &case, means)
    }
}

/// In whose books the letter stands.
fn books<'a>(command: &Command<'a>, event: Option<&VerifiedEvent<'a>>) -> &'a str {
    match command.source {
        Some("") => UNKNOWN_SOURCE,
        Some(source) => source,
        None => event.map_or(UNKNOWN_SOURCE, |event| event.source),
    }
}
