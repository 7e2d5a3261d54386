//! What came back, for people and programs.

use std::time::{Duration, Instant};

use comfy_table::Color;
use runtime::report::Failure;
use serde::Serialize;
use serde_json::Value;

use crate::ask;
use crate::http::{Answer, PATIENCE};
use crate::output::rows::{READABLE, Rows};
use crate::output::{Form, Output, Row};
use crate::progress::Progress;

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

/// Tells answers as they come: a table of many only those that were not accepted.
pub struct Teller<'o, 'a> {
    rows: Rows<'o, 'a, Answered>,
    progress: Progress,
    is_everything_shown: bool,
    has_shown: bool,
    began: Instant,
    summary: Summary,
}

impl<'o, 'a> Teller<'o, 'a> {
    /// Nothing has come yet, of that many.
    pub fn new(out: &'o mut Output<'a>, count: u64) -> Self {
        Self {
            is_everything_shown: out.form() != Form::Table || count <= READABLE,
            rows: out.rows(),
            progress: Progress::of(count, "sending"),
            has_shown: false,
            began: Instant::now(),
            summary: Summary::of(count),
        }
    }

    /// The next answer.
    pub fn take(&mut self, answered: Answered) -> Result<(), Failure> {
        self.summary.add(&answered);
        self.progress.advance(1);
        if !self.is_everything_shown && answered.is_accepted() {
            return Ok(());
        }
        self.has_shown = true;
        self.rows.show(answered, &self.progress)
    }

    /// Something a person should know.
    pub fn remark(&self, text: &str) -> Result<(), Failure> {
        self.progress.aside(|| ask::say(&format!("{text}\n")))
    }

    /// The sender is so far behind its rate.
    pub fn is_behind(&mut self, late: Duration) {
        self.summary.late = self.summary.late.max(late);
    }

    /// Nothing more comes.
    pub fn end(mut self) -> Result<Summary, Failure> {
        self.summary.took = self.began.elapsed();
        drop(self.progress);
        if self.is_everything_shown || self.has_shown {
            self.rows.end()?;
        }
        Ok(self.summary)
    }
}

/// A run in numbers. Its size does not depend on theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many were to be sent.
    wanted: u64,
    sent: u64,
    accepted: u64,
    took: Duration,
    late: Duration,
    /// How many answers took so many milliseconds; the last place is for all that took longer.
    by_ms: Vec<u64>,
}

impl Summary {
    fn of(wanted: u64) -> Self {
        let places = usize::try_from(PATIENCE.as_millis()).unwrap_or_default() + 1;
        Self { wanted, sent: 0, accepted: 0, took: Duration::ZERO, late: Duration::ZERO, by_ms: vec![0; places] }
    }

    fn add(&mut self, answered: &Answered) {
        self.sent += 1;
        self.accepted += u64::from(answered.is_accepted());
        let last = self.by_ms.len().saturating_sub(1);
        let place = usize::try_from(answered.ms).unwrap_or(last).min(last);
        if let Some(count) = self.by_ms.get_mut(place) {
            *count += 1;
        }
    }

    /// Within how many milliseconds that part of the answers came.
    fn quantile_ms(&self, percent: u64) -> usize {
        let wanted = (self.sent * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= wanted
        };
        self.by_ms.iter().position(reaches).unwrap_or_default()
    }

    /// Whether the door took them all.
    pub fn is_all_accepted(&self) -> bool {
        self.accepted == self.wanted
    }

    /// For a person.
    pub fn text(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let rate = self.sent as f64 / seconds.max(0.001);
        let (p50, p99) = (self.quantile_ms(50), self.quantile_ms(99));
        let not = self.sent.saturating_sub(self.accepted);
        let mut text = format!("{} sent, {} accepted, {not} not", self.sent, self.accepted);
        if self.sent < self.wanted {
            text.push_str(&format!(", {} not sent", self.wanted - self.sent));
        }
        text.push_str(&format!("; {seconds:.1} s, {rate:.0}/s; answers p50 {p50} ms, p99 {p99} ms"));
        if self.late > Duration::from_millis(100) {
            text.push_str(&format!("; {:.1} s behind the rate", self.late.as_secs_f64()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
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
        let mut summary = Summary { took: Duration::from_secs(1), ..Summary::of(2) };
        summary.add(&nothing);
        summary.add(&answered(200, ""));
        assert!(!summary.is_all_accepted());
        assert!(summary.text().starts_with("2 sent, 1 accepted, 1 not; 1.0 s, 2/s"), "{}", summary.text());
    }

    #[test]
    fn what_was_not_sent_is_not_accepted() {
        let mut summary = Summary { took: Duration::from_secs(1), ..Summary::of(3) };
        summary.add(&answered(200, ""));
        assert!(!summary.is_all_accepted());
        assert!(summary.text().starts_with("1 sent, 1 accepted, 0 not, 2 not sent; "), "{}", summary.text());
    }

    #[test]
    fn quantiles_are_those_of_all_answers() {
        let mut summary = Summary::of(200);
        assert_eq!(summary.quantile_ms(50), 0);
        for ms in 1..=100 {
            summary.add(&Answered { ms, ..answered(200, "") });
        }
        assert_eq!((summary.quantile_ms(50), summary.quantile_ms(99)), (50, 99));
        for _ in 0..100 {
            summary.add(&Answered { ms: u64::MAX, ..answered(200, "") });
        }
        assert_eq!((summary.quantile_ms(50), summary.quantile_ms(99)), (100, 30_000));
    }

    #[test]
    fn a_table_of_many_answers_shows_only_what_was_not_accepted() {
        let told = |refused: Option<u64>| {
            let mut bytes = Vec::new();
            let mut out = Output::new(Box::new(&mut bytes), Some(Form::Table), false, false);
            let mut teller = Teller::new(&mut out, 30);
            for n in 0..30 {
                teller.take(answered(if refused == Some(n) { 503 } else { 200 }, "{}")).unwrap();
            }
            teller.end().unwrap();
            drop(out);
            String::from_utf8(bytes).unwrap()
        };
        let text = told(Some(7));
        assert!(text.lines().count() == 2 && text.contains("503"), "{text}");
        assert_eq!(told(None), "");
    }
}
