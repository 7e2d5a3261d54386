//! What became of a run: a row a letter, a sentence, and the exit code.

use comfy_table::Color;
use runtime::report::Exit;
use schemas::resolution::Outcome;
use schemas::{DeadId, Resolution};
use serde::Serialize;

use crate::output::Row;

/// What became of one letter. Without a result: nobody has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// Dead id.
    pub id: String,
    /// The provider's event id.
    pub event_id: Option<String>,
    /// The result.
    pub result: Option<Outcome>,
    /// The dead letter that came of it, when it died again.
    pub new_dead_id: Option<String>,
}

impl Row for Resolved {
    const COLUMNS: &'static [&'static str] = &["id", "event_id", "result", "new_dead_id"];

    fn color(&self, column: &str) -> Option<Color> {
        let color = match self.result {
            Some(Outcome::Redriven | Outcome::Discarded) => Color::Green,
            Some(Outcome::Superseded | Outcome::Stale) => Color::Yellow,
            Some(Outcome::Dead) | None => Color::Red,
        };
        (column == "result").then_some(color)
    }
}

impl Resolved {
    /// Of an answer, or of none.
    pub fn of(id: DeadId, event_id: Option<String>, answer: Option<&Resolution>) -> Self {
        Self {
            id: id.to_string(),
            event_id,
            result: answer.map(|answer| answer.result),
            new_dead_id: answer.and_then(|answer| answer.new_dead_id.clone()),
        }
    }

    /// Whether this is not what was wanted.
    pub fn is_failure(&self) -> bool {
        matches!(self.result, Some(Outcome::Dead) | None)
    }
}

/// A run in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commands that were sent.
    pub sent: u64,
    /// It reached `clean-events`.
    pub redriven: u64,
    /// It was given up.
    pub discarded: u64,
    /// Something was faster.
    pub superseded: u64,
    /// It was stale.
    pub stale: u64,
    /// It died again.
    pub died: u64,
    /// Nobody answered in time.
    pub unanswered: u64,
    /// The broker did not take the command.
    pub undelivered: u64,
    /// The command can never be sent as it is.
    pub refused: u64,
    /// Not sent, because the run was stopped.
    pub cancelled: u64,
    /// Ids that no letter has, or whose letters were resolved before.
    pub skipped: u64,
}

impl Tally {
    /// One letter more.
    pub fn add(&mut self, result: Outcome) {
        match result {
            Outcome::Redriven => self.redriven += 1,
            Outcome::Discarded => self.discarded += 1,
            Outcome::Superseded => self.superseded += 1,
            Outcome::Stale => self.stale += 1,
            Outcome::Dead => self.died += 1,
        }
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        if self.unanswered + self.undelivered > 0 {
            return Exit::Unavailable;
        }
        let is_all_done = self.died + self.refused + self.cancelled + self.skipped == 0;
        if is_all_done { Exit::Done } else { Exit::No }
    }

    /// For a person.
    pub fn sentence(&self) -> String {
        let mut text = format!("{} sent", self.sent);
        for (count, what) in [
            (self.redriven, "redriven"),
            (self.discarded, "discarded"),
            (self.superseded, "superseded"),
            (self.stale, "stale"),
            (self.died, "dead again"),
            (self.unanswered, "without an answer"),
            (self.undelivered, "not taken by Kafka"),
            (self.refused, "refused by Kafka"),
            (self.cancelled, "not sent"),
            (self.skipped, "unknown or resolved before"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_exits_by_the_worst_that_happened() {
        let exit = |change: &dyn Fn(&mut Tally)| {
            let mut tally = Tally { sent: 9, redriven: 1, discarded: 1, superseded: 1, stale: 1, ..Tally::default() };
            change(&mut tally);
            tally.exit()
        };
        assert_eq!(exit(&|_| {}), Exit::Done);
        assert_eq!(exit(&|tally| tally.add(Outcome::Dead)), Exit::No);
        assert_eq!(exit(&|tally| tally.skipped = 1), Exit::No);
        assert_eq!(exit(&|tally| tally.cancelled = 1), Exit::No);
        assert_eq!(exit(&|tally| tally.refused = 1), Exit::No);
        assert_eq!(exit(&|tally| tally.unanswered = 1), Exit::Unavailable);
        assert_eq!(exit(&|tally| (tally.undelivered, tally.died) = (1, 1)), Exit::Unavailable);
    }

    #[test]
    fn every_result_is_counted_and_said() {
        let mut tally = Tally { sent: 5, cancelled: 2, ..Tally::default() };
        for result in [Outcome::Redriven, Outcome::Discarded, Outcome::Superseded, Outcome::Stale, Outcome::Dead] {
            tally.add(result);
        }
        let expected = "5 sent, 1 redriven, 1 discarded, 1 superseded, 1 stale, 1 dead again, 2 not sent";
        assert_eq!(tally.sentence(), expected);
    }

    #[test]
    fn a_row_has_the_keys_of_the_contract() {
        let id = DeadId { partition: 3, offset: 17, generation: 0 };
        let row = Resolved::of(id, Some("e1".to_owned()), None);
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(text, r#"{"id":"3-17-0","event_id":"e1","result":null,"new_dead_id":null}"#);
        assert!(row.is_failure());
        assert!(!Resolved { result: Some(Outcome::Stale), ..row }.is_failure());
    }
}
