//! What came back, for people and programs.

use std::io::Write;
use std::time::Duration;

use anyhow::anyhow;
use comfy_table::Color;
use runtime::report::Failure;
use serde::Serialize;
use serde_json::Value;

use super::is_readable;
use crate::http::Answer;
use crate::output::{Output, Row};

/// The answer to one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// Which one it was, from 1.
    pub n: u64,
    /// HTTP status; none when there was no answer.
    pub status: Option<u16>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// The id that ingest read, else the one that was sent.
    pub event_id: Option<String>,
    /// How long the answer took, in milliseconds.
    pub ms: u64,
    /// Why there was no answer.
    pub error: Option<String>,
}

impl Row for Answered {
    const COLUMNS: &'static [&'static str] = &["n", "status", "reason", "event_id", "ms", "error"];

    fn color(&self, column: &str) -> Option<Color> {
        let color = if self.is_accepted() { Color::Green } else { Color::Red };
        (column == "status").then_some(color)
    }
}

impl Answered {
    /// Reads an answer.
    pub fn of(n: u64, sent_id: Option<String>, took: Duration, answer: anyhow::Result<Answer>) -> Self {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut answered = Self { n, status: None, reason: None, event_id: sent_id, ms, error: None };
        match answer {
            Ok(answer) => {
                answered.status = Some(answer.status);
                let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
                answered.reason = text("reason");
                answered.event_id = text("event_id").or(answered.event_id);
            }
            Err(error) => answered.error = Some(format!("{error:#}")),
        }
        answered
    }

    /// Whether the door took it.
    pub fn is_accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// Prints answers; a table of many shows only those that were not accepted.
pub fn show(answers: &[Answered], count: u64, out: &mut Output<'_>) -> Result<(), Failure> {
    if is_readable(out.form(), count) {
        return out.list(answers);
    }
    let refused: Vec<Answered> = answers.iter().filter(|answer| !answer.is_accepted()).cloned().collect();
    if refused.is_empty() { Ok(()) } else { out.list(&refused) }
}

/// A run in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    sent: usize,
    accepted: usize,
    took: Duration,
    p50_ms: u64,
    p99_ms: u64,
    late: Duration,
}

impl Summary {
    /// Of all answers of a run. `late`: how far the sender fell behind its rate.
    pub fn of(answers: &[Answered], took: Duration, late: Duration) -> Self {
        let mut times: Vec<u64> = answers.iter().map(|answer| answer.ms).collect();
        times.sort_unstable();
        let quantile = |percent: usize| {
            let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(index).copied().unwrap_or(0)
        };
        Self {
            sent: answers.len(),
            accepted: answers.iter().filter(|answer| answer.is_accepted()).count(),
            took,
            p50_ms: quantile(50),
            p99_ms: quantile(99),
            late,
        }
    }

    /// Whether the door took them all.
    pub fn is_all_accepted(&self) -> bool {
        self.accepted == self.sent
    }

    fn text(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let rate = self.sent as f64 / seconds.max(0.001);
        let mut text = format!(
            "{} sent, {} accepted, {} not; {seconds:.1} s, {rate:.0}/s; answers p50 {} ms, p99 {} ms",
            self.sent,
            self.accepted,
            self.sent - self.accepted,
            self.p50_ms,
            self.p99_ms
        );
        if self.late > Duration::from_millis(100) {
            text.push_str(&format!("; {:.1} s behind the rate", self.late.as_secs_f64()));
        }
        text
    }

    /// Prints it on standard error: it is about the run, not one of the answers.
    pub fn say(&self) -> Result<(), Failure> {
        writeln!(std::io::stderr(), "{}", self.text())
            .map_err(|error| Failure::internal(anyhow!(error).context("standard error")))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answered(status: u16, body: &'static str) -> Answered {
        let answer = Answer { status, body: Bytes::from_static(body.as_bytes()) };
        Answered::of(1, Some("sent".to_owned()), Duration::from_millis(5), Ok(answer))
    }

    #[test]
    fn an_answer_says_what_the_door_said() {
        let accepted = answered(200, r#"{"status":"accepted","event_id":"evt_1"}"#);
        assert!(accepted.is_accepted());
        assert_eq!((accepted.event_id.as_deref(), accepted.reason), (Some("evt_1"), None));

        let refused = answered(401, r#"{"title":"no","reason":"signature_invalid","retry":false}"#);
        assert!(!refused.is_accepted());
        assert_eq!(refused.reason.as_deref(), Some("signature_invalid"));
        assert_eq!(refused.event_id.as_deref(), Some("sent"));
    }

    #[test]
    fn a_provider_that_wants_another_answer_is_accepted_too() {
        assert!(answered(202, "[accepted]").is_accepted());
        assert_eq!(answered(202, "[accepted]").event_id.as_deref(), Some("sent"));
    }

    #[test]
    fn no_answer_is_not_an_acceptance() {
        let nothing = Answered::of(1, None, Duration::ZERO, Err(anyhow!("refused")));
        assert!(!nothing.is_accepted() && nothing.status.is_none());
        let summary = Summary::of(&[nothing, answered(200, "")], Duration::from_secs(1), Duration::ZERO);
        assert!(!summary.is_all_accepted());
        assert!(summary.text().starts_with("2 sent, 1 accepted, 1 not; 1.0 s, 2/s"), "{}", summary.text());
    }

    #[test]
    fn a_table_of_many_answers_shows_only_what_was_not_accepted() {
        let answers: Vec<Answered> = (0..30).map(|n| answered(if n == 7 { 503 } else { 200 }, "{}")).collect();
        let mut bytes = Vec::new();
        let mut out = Output::new(Box::new(&mut bytes), Some(crate::output::Form::Table), false, false);
        show(&answers, 30, &mut out).unwrap();
        drop(out);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("503"));
    }
}
