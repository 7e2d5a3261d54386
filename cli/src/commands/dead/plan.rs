//! What a redrive or a discard is going to do, said before it does it.
//!
//! Pure. How many events would be stale is not said: only the owners of the partitions know.

use runtime::report::Failure;
use schemas::command::Verb;
use schemas::time;
use serde::Serialize;

use super::choice::Choice;
use super::list::Counted;
use crate::output::{Form, Output, Row, harmless};

/// Reasons and sources that a person gets to see.
const GROUPS: usize = 20;
/// Ids that a person gets to see.
const IDS: usize = 20;

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    command: &'static str,
    letters: u64,
    edited: u64,
    oldest: Option<String>,
    seconds: Option<u64>,
    counts: Vec<Counted>,
    unknown: Vec<String>,
    resolved: Vec<String>,
}

impl Row for Plan {
    const COLUMNS: &'static [&'static str] =
        &["command", "letters", "edited", "oldest", "seconds", "counts", "unknown", "resolved"];
}

impl Plan {
    /// Of chosen letters.
    pub fn of(verb: Verb, choice: &Choice, rate: Option<f64>) -> Self {
        let letters = choice.len();
        Self {
            command: verb.as_str(),
            letters,
            edited: choice.edited,
            oldest: choice.oldest_ms.map(time::rfc3339),
            seconds: rate.map(|rate| (letters as f64 / rate).ceil() as u64),
            counts: choice.counts.rows(),
            unknown: choice.unknown.iter().map(ToString::to_string).collect(),
            resolved: choice.resolved.iter().map(|(id, _)| id.to_string()).collect(),
        }
    }

    /// Prints it as the answer.
    pub fn print(&self, out: &mut Output<'_>) -> Result<(), Failure> {
        if out.form() == Form::Table { out.text(&self.text()) } else { out.one(self) }
    }

    /// The question before it.
    pub fn question(&self) -> String {
        format!("{} {}?", self.command, letters(self.letters))
    }

    /// For a person.
    pub fn text(&self) -> String {
        let mut text = format!("{} {}", self.command, letters(self.letters));
        if self.edited > 0 {
            text.push_str(&format!(", {} of them edited", self.edited));
        }
        if let Some(oldest) = &self.oldest {
            text.push_str(&format!("; the oldest failed first at {oldest}"));
        }
        if let Some(seconds) = self.seconds {
            text.push_str(&format!("; at this rate {seconds} s"));
        }
        text.push('\n');
        for row in self.counts.iter().take(GROUPS) {
            let source = row.source.as_deref().unwrap_or("-");
            text.push_str(&format!("  {:>8}  {}  {}\n", row.count, harmless(&row.reason), harmless(source)));
        }
        if let Some(more) = self.counts.len().checked_sub(GROUPS).filter(|more| *more > 0) {
            text.push_str(&format!("            and {more} more reasons and sources\n"));
        }
        text.push_str(&named("no such dead letter", &self.unknown));
        text.push_str(&named("resolved already", &self.resolved));
        text
    }
}

/// So many dead letters, in words.
fn letters(count: u64) -> String {
    format!("{count} dead letter{}", if count == 1 { "" } else { "s" })
}

/// Some ids under a title; nothing where there are none.
pub fn named(title: &str, ids: &[String]) -> String {
    if ids.is_empty() {
        return String::new();
    }
    let shown: Vec<&str> = ids.iter().take(IDS).map(String::as_str).collect();
    let more = match ids.len().saturating_sub(IDS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{title}: {}{more}\n", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use schemas::DeadId;

    use super::*;
    use crate::args::dead::State;
    use crate::samples;

    fn plan(rate: Option<f64>) -> Plan {
        let id = |offset| DeadId { partition: 3, offset, generation: 0 };
        let mut choice = Choice { edited: 1, oldest_ms: Some(1000), ..Choice::default() };
        choice.counts.add(&samples::around("3-17-0", b""));
        choice.unknown.push(id(1));
        choice.resolved.push((id(2), State::Discarded));
        let mut plan = Plan::of(Verb::Redrive, &choice, rate);
        plan.letters = 250;
        plan
    }

    #[test]
    fn a_plan_says_what_how_many_and_what_not() {
        let text = plan(None).text();
        let expected = "redrive 250 dead letters, 1 of them edited; the oldest failed first at \
                        1970-01-01T00:00:01.000Z\n         1  schema_violation  gh\n\
                        no such dead letter: 3-1-0\nresolved already: 3-2-0\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn one_letter_is_not_letters() {
        let one = Plan { letters: 1, counts: Vec::new(), ..plan(None) };
        assert_eq!(one.question(), "redrive 1 dead letter?");
        assert!(one.text().starts_with("redrive 1 dead letter, "), "{}", one.text());
        assert_eq!(plan(None).question(), "redrive 250 dead letters?");
    }

    #[test]
    fn the_time_follows_from_the_rate() {
        let choice = Choice { oldest_ms: None, ..Choice::default() };
        assert_eq!(Plan::of(Verb::Discard, &choice, Some(0.5)).seconds, Some(0));
        assert_eq!(Plan::of(Verb::Discard, &choice, None).seconds, None);
        let timed = Plan { seconds: Some(500), ..plan(None) };
        assert!(timed.text().contains("; at this rate 500 s\n"), "{}", timed.text());
    }

    #[test]
    fn a_program_gets_the_same_as_an_object() {
        let value = serde_json::to_value(plan(Some(1.0))).unwrap();
        for column in Plan::COLUMNS {
            assert!(value.get(column).is_some(), "{column}");
        }
        assert_eq!(value.pointer("/counts/0/reason").and_then(|reason| reason.as_str()), Some("schema_violation"));
    }

    #[test]
    fn many_ids_are_not_all_named() {
        let ids: Vec<String> = (0..25).map(|number| number.to_string()).collect();
        assert!(named("unknown", &ids).ends_with(", 19 and 5 more\n"));
        assert_eq!(named("unknown", &[]), "");
    }
}
