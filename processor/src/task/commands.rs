//! What people want done with dead letters, carried out by the owner of the partition.
//!
//! A command is accepted when the letter it names is dead, so one that is sent twice, or by two people, is carried out
//! once. An accepted event goes its way at once, or to its place among those of its resource that wait.

use schemas::command::{Command, Verb};
use schemas::identity::{self, Hash128};
use schemas::resolution::Outcome as Resolved;
use schemas::{VerifiedEvent, partition};

use super::case::{self, Case};
use super::{Count, Means, TakeError, Task};
use crate::books::{Place, UNKNOWN_SOURCE};
use crate::emit::Stamp;
use crate::log::Loose;
use crate::state::wait::{Detail, Lies, WaitChange, Waits};
use crate::state::{Entry, Known, Seen, StateError, Status, Store, keys};
use crate::step::dedup::check_of;
use crate::step::order::short_hash;
use crate::step::{self, About, Input, Past, Turn, View};

impl<S: Store> Task<S> {
    /// Carries out commands that were read, at most so many.
    pub fn take_commands(&mut self, left: &mut usize, tier: &str, means: &mut Means<'_>) -> Result<(), TakeError> {
        while *left > 0
            && !self.has_torn_input()
            && let Some(record) = self.errands.commands.pop_front()
        {
            let all = record.headers();
            let command = Command::read(&all).filter(|command| command.dead_id.partition == self.partition);
            let lies = Lies::Command { tier: tier.to_owned(), offset: record.offset };
            let taken = match &command {
                Some(command) => self.take_command(command, &record, lies, means),
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
                self.is_dirty = true;
            }
        }
        Ok(())
    }

    fn take_command(
        &mut self,
        command: &Command<'_>,
        record: &Loose,
        lies: Lies,
        means: &mut Means<'_>,
    ) -> Result<(), TakeError> {
        let event = VerifiedEvent::decode(&record.value).ok();
        let now = self.position.stream_time;
        let about = event.as_ref().map(|event| step::about(event, &record.key, now));
        let books = books(command, event.as_ref());
        let has_mark = about.is_some() && books != UNKNOWN_SOURCE;
        if !self.is_dead(command, about.as_ref(), books, has_mark)? {
            self.touch(books, None);
            return self.resolve(command, Resolved::Superseded, true, means);
        }
        if !has_mark {
            self.push(UNKNOWN_SOURCE, without_identity(command, now));
        }
        let known = (event, about);
        match (command.verb, known) {
            (Verb::Discard, known) => self.discard(command, known, books, means),
            (Verb::Redrive, (Some(event), Some(about))) if self.waiting.holds_back(short_hash(&record.key)) => {
                self.queue(command, (&event, &about), record, lies, books);
                Ok(())
            }
            (Verb::Redrive, (event, _)) => self.redrive(command, record, lies, (event.as_ref(), books), means),
        }
    }

    /// Whether the dead letter that is meant is still dead. `has_mark`: when it died, the state took note of its event.
    fn is_dead(
        &self,
        command: &Command<'_>,
        about: Option<&About<'_>>,
        books: &str,
        has_mark: bool,
    ) -> Result<bool, StateError> {
        // Nothing is dead here: whoever sent this made it up.
        if command.dead_id.offset >= self.position.next || self.tallies.get(books, Place::Dead) == 0 {
            return Ok(false);
        }
        if !has_mark {
            let now = self.position.stream_time;
            let Entry { class, slot, hash, .. } = without_identity(command, now);
            if View::seen(&self.view(), &About { source: UNKNOWN_SOURCE, class, slot, hash, now })?.is_some() {
                return Ok(false);
            }
        }
        let Some(about) = about else { return Ok(true) };
        match View::seen(&self.view(), about)? {
            Some(Known { seen, .. }) if seen.status == Status::Dead(case::dead_ref(command)) => Ok(true),
            // Another delivery of an event that could not be read was: this one may be given up, and must not run.
            Some(_) => Ok(!has_mark && command.verb == Verb::Discard),
            // Its mark is over, and so is, nearly, the time that dead letters are kept.
            None => Ok(true),
        }
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

    fn discard(
        &mut self,
        command: &Command<'_>,
        (event, about): (Option<VerifiedEvent<'_>>, Option<About<'_>>),
        books: &str,
        means: &mut Means<'_>,
    ) -> Result<(), TakeError> {
        self.tallies.shift(books, Place::Dead, Place::Discarded);
        self.touch(books, None);
        let dead = Status::Dead(case::dead_ref(command));
        if let (Some(event), Some(about)) = (event, about)
            && View::seen(&self.view(), &about)?.is_none_or(|known| known.seen.status == dead)
        {
            self.note(&event, &about, Status::Discarded);
        }
        self.resolve(command, Resolved::Discarded, false, means)
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
        lies: Lies,
        books: &str,
    ) {
        self.note(event, about, Status::Parked);
        self.shift((books, Place::Dead), (about.source, Place::Parked));
        let detail = Detail {
            lies,
            generation: command.dead_id.generation + 1,
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
        lies: Lies,
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
        let generation = command.dead_id.generation + 1;
        let past = Past { generation, is_as_is: command.is_as_is, ..Past::default() };
        let visible = self.visible(input.offset, generation);
        let now = self.position.stream_time;
        let decision = self.decide(&input, Turn::Redrive(past), now, &means.shared.handlers, visible)?;
        let is_nameless = event.is_none() && books != UNKNOWN_SOURCE;
        let case = Case {
            from: Some(Place::Dead),
            books: Some(books),
            gone: is_nameless.then(|| (books, (short_hash(&record.key), input.offset))),
            command: Some((command, lies)),
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

/// What the state knows of a resolved dead letter that has no identity: that it was resolved.
fn without_identity(command: &Command<'_>, now: i64) -> Entry {
    let id = command.dead_id.to_string();
    let seen = Seen { first_seen: now, check: 0, status: Status::Done };
    // No source has an empty name.
    let hash: Hash128 = identity::event_hash("", id.as_bytes());
    Entry { class: keys::MARKS, window_class: keys::MARKS, slot: 0, hash, seen, last: None }
}
