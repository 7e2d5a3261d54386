//! The turns of events that waited: each is decided about anew, and whoever stood behind it comes next.

use schemas::command::{Command, RecordHeaders};
use schemas::{ReasonCode, headers};

use super::case::Case;
use super::suspicion::May;
use super::{Means, TakeError, Task};
use crate::log::Loose;
use crate::position::Alone;
use crate::state::wait::RecordAt;
use crate::state::{DeadRef, Store};
use crate::step::route::{self, Death};
use crate::step::{self, Input, Past, Turn};
use crate::waiting::{Item, Spot};

impl<S: Store> Task<S> {
    /// Gives their turn to events that are due and fetched, at most so many.
    pub fn take_turns(&mut self, left: &mut usize, means: &mut Means<'_>) -> Result<(), TakeError> {
        let may = self.may(means.shared.suspicion);
        let most = match may {
            May::All => *left,
            May::Only(Alone::Turn(..)) => 1,
            May::Only(Alone::Next | Alone::Command(_)) => 0,
        };
        let ready = &self.errands.ready;
        let is_meant = |spot: &Spot| match may {
            May::Only(Alone::Turn(src, _)) => spot.1 == src,
            May::All | May::Only(Alone::Next | Alone::Command(_)) => true,
        };
        let due = self.waiting.due(means.now_ms).filter(|spot| ready.contains_key(spot) && is_meant(spot));
        let due: Vec<Spot> = due.take(most).collect();
        for first in due {
            let mut next = Some(first);
            while let Some(spot) = next.filter(|_| *left > 0) {
                if !self.take_turn(spot, means)? {
                    break;
                }
                *left -= 1;
                next = self.waiting.next_of(spot.0, means.now_ms).filter(|_| may == May::All);
            }
        }
        Ok(())
    }

    /// Gives one event its turn. `false`: it has none now.
    fn take_turn(&mut self, spot: Spot, means: &mut Means<'_>) -> Result<bool, TakeError> {
        if self.waiting.is_busy(spot) {
            return Ok(false);
        }
        let Some(item) = self.waiting.get(spot).cloned() else { return Ok(false) };
        let Some(record) = self.errands.take(spot) else { return Ok(false) };
        match &record {
            Some(record) => self.turn(spot, record, &item, means)?,
            None => self.lost(spot, &item, means)?,
        }
        self.has_errand = true;
        let detail = self.waiting.get(spot).and_then(|item| item.detail.as_deref());
        let is_soon = detail.is_some_and(|detail| self.errands.keeps(detail.due_ms.saturating_sub(means.now_ms)));
        if self.waiting.is_busy(spot) || is_soon {
            self.errands.keep(spot, record);
        }
        Ok(true)
    }

    fn turn(&mut self, spot: Spot, record: &Loose, item: &Item, means: &mut Means<'_>) -> Result<(), TakeError> {
        let all = record.headers();
        let command = match item.record_at() {
            record_at @ RecordAt::Command { .. } => Command::read(&all).map(|command| (command, record_at)),
            RecordAt::Input => None,
        };
        let timestamp = command.as_ref().map_or(record.timestamp, |(command, _)| command.received_at_ms);
        let input =
            Input { partition: self.partition, offset: spot.1, timestamp, key: &record.key, value: &record.value };
        let visible = self.visible(spot.1, item.generation());
        let replies = self.errands.replies.get(&spot).map(Vec::as_slice).unwrap_or_default();
        let (failures, pause_ms) = item.detail.as_ref().map_or((0, 0), |detail| (detail.failures, detail.pause_ms));
        let past = Past {
            generation: item.generation(),
            failures,
            pause_ms,
            is_as_is: command.as_ref().is_some_and(|(command, _)| command.is_as_is),
            replies,
            died: self.died_of(Alone::Turn(spot.1, item.generation()), means.shared.suspicion),
        };
        let now = self.position.stream_time;
        let decision = self.decide(&input, Turn::Again(past), now, &means.shared.handlers, visible)?;
        let originals: RecordHeaders<'_> =
            command.as_ref().map_or_else(|| all.clone(), |(command, _)| command.originals.clone());
        let case = Case {
            from: Some(item.place()),
            detail: item.detail.as_deref(),
            is_waiting: true,
            command: command.as_ref().map(|(command, record_at)| (command, record_at.clone())),
            visible,
            originals: &|| originals.clone(),
            ..Case::first(&input)
        };
        self.conclude(decision, &case, means)
    }

    /// The record of an event that waited is not there any more: what is known of it becomes a dead letter.
    fn lost(&mut self, spot: Spot, item: &Item, means: &mut Means<'_>) -> Result<(), TakeError> {
        let source = self.waiting.source(spot.0);
        let message =
            format!("its record is not in its topic any more; header {} says where it was", headers::WEIR_SRC);
        let death = Death { reason: ReasonCode::RecordLost, message, stage: "park" };
        let input = Input {
            partition: self.partition,
            offset: spot.1,
            timestamp: self.position.stream_time,
            key: b"",
            value: b"",
        };
        let visible = self.visible(spot.1, item.generation());
        let dead = DeadRef { offset: spot.1, generation: item.generation() };
        let place = step::about_place(self.partition, spot.1, self.position.stream_time);
        let decision = route::undecodable(death, &place, dead);
        let case = Case {
            from: Some(item.place()),
            detail: item.detail.as_deref(),
            is_waiting: true,
            visible,
            gone: source.as_deref().map(|source| (source, spot)),
            ..Case::first(&input)
        };
        self.conclude(decision, &case, means)
    }
}
