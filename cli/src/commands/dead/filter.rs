//! Which dead letters are meant. All that is given has to fit.
//!
//! Pure: the time is passed in.

use anyhow::anyhow;
use ingest::envelope::glob::Glob;
use runtime::report::Failure;
use schemas::{DeadEvent, ReasonCode, VerifiedEvent};

use super::list::resource;
use crate::args::dead::{FilterArgs, State};

/// A filter, parsed.
#[derive(Debug, Clone)]
pub struct Filter<'a> {
    source: Option<&'a str>,
    event_type: Option<Glob>,
    resource: Option<&'a str>,
    reason: Option<&'a str>,
    state: Option<State>,
    since_ms: i64,
    until_ms: i64,
}

impl<'a> Filter<'a> {
    /// The filter of a command line.
    pub fn of(options: &'a FilterArgs, now_ms: i64) -> Result<Self, Failure> {
        if let Some(reason) = options.reason.as_deref().filter(|reason| ReasonCode::parse(reason).is_none()) {
            return Err(Failure::usage(anyhow!("--reason: {reason:?} is no reason code; see docs/reasons.md")));
        }
        Ok(Self {
            source: options.source.as_deref(),
            event_type: options.event_type.as_deref().map(Glob::new),
            resource: options.resource.as_deref(),
            reason: options.reason.as_deref(),
            state: options.state,
            since_ms: options.since.map_or(i64::MIN, |moment| moment.at_ms(now_ms)),
            until_ms: options.until.map_or(i64::MAX, |moment| moment.at_ms(now_ms)),
        })
    }

    /// Whether a letter is meant. One whose field is unknown fits no filter on it.
    pub fn fits(&self, dead: &DeadEvent<'_>, state: State) -> bool {
        self.state.is_none_or(|wanted| wanted == state)
            && self.reason.is_none_or(|wanted| wanted == dead.reason)
            && (self.source.is_none() || self.source == dead.source)
            && (self.since_ms..self.until_ms).contains(&dead.last_failed_ms)
            && self.resource.is_none_or(|wanted| resource_fits(wanted, dead))
            && self.event_type.as_ref().is_none_or(|wanted| type_fits(wanted, dead))
    }
}

/// With or without the source before it.
fn resource_fits(wanted: &str, dead: &DeadEvent<'_>) -> bool {
    dead.original_key == Some(wanted.as_bytes()) || resource(dead).as_deref() == Some(wanted)
}

/// `issues.*` as the provider says it, or `github.issues.*` as `ce_type` does.
fn type_fits(wanted: &Glob, dead: &DeadEvent<'_>) -> bool {
    let Some(own) = dead.event_type else {
        return false;
    };
    if wanted.matches(own) {
        return true;
    }
    let event = VerifiedEvent::decode(dead.original_value.unwrap_or_default());
    event.is_ok_and(|event| wanted.matches(&format!("{}.{own}", event.preset)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runtime::report::Exit;

    use super::*;
    use crate::args::Moment;
    use crate::samples;

    fn fits(change: impl FnOnce(&mut FilterArgs)) -> bool {
        let original = samples::encoded(&samples::verified(b"{}"));
        let mut options = FilterArgs::default();
        change(&mut options);
        Filter::of(&options, 10_000).unwrap().fits(&samples::around("3-17-0", &original), State::Dead)
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn every_given_filter_has_to_fit() {
        assert!(fits(|_| {}));
        let all = |options: &mut FilterArgs| {
            options.source = text("gh");
            options.reason = text("schema_violation");
            options.resource = text("repository|1");
            options.event_type = text("issues.*");
            options.state = Some(State::Dead);
        };
        assert!(fits(all));
        assert!(!fits(|options| {
            all(options);
            options.source = text("g");
        }));
        assert!(!fits(|options| options.reason = text("poison")));
        assert!(!fits(|options| options.state = Some(State::Discarded)));
    }

    #[test]
    fn types_and_resources_are_known_with_and_without_what_stands_before_them() {
        for wanted in ["issues.opened", "github.issues.opened", "*.opened", "github.*"] {
            assert!(fits(|options| options.event_type = text(wanted)), "{wanted}");
        }
        for wanted in ["opened", "issues", "stripe.*"] {
            assert!(!fits(|options| options.event_type = text(wanted)), "{wanted}");
        }
        for (wanted, expected) in [("repository|1", true), ("gh|repository|1", true), ("repository|2", false)] {
            assert_eq!(fits(|options| options.resource = text(wanted)), expected, "{wanted}");
        }
    }

    #[test]
    fn since_is_inclusive_and_until_is_not() {
        // It failed last at 2000, which is 8 s before now.
        for (since, expected) in [(Moment::At(2000), true), (Moment::At(2001), false)] {
            assert_eq!(fits(|options| options.since = Some(since)), expected, "{since:?}");
        }
        for (until, expected) in [(Moment::At(2000), false), (Moment::At(2001), true)] {
            assert_eq!(fits(|options| options.until = Some(until)), expected, "{until:?}");
        }
        assert!(fits(|options| options.since = Some(Moment::Ago(Duration::from_secs(8)))));
        assert!(!fits(|options| options.since = Some(Moment::Ago(Duration::from_secs(7)))));
        assert!(fits(|options| options.since = Some(Moment::Ago(Duration::MAX))));
    }

    #[test]
    fn a_letter_that_could_not_be_decoded_fits_no_filter_on_what_it_lacks() {
        let mut dead = samples::around("3-17-0", b"garbage");
        (dead.source, dead.event_type, dead.original_key) = (None, None, None);
        let fits = |options: &FilterArgs| Filter::of(options, 0).unwrap().fits(&dead, State::Dead);
        assert!(fits(&FilterArgs::default()));
        assert!(!fits(&FilterArgs { source: text("gh"), ..FilterArgs::default() }));
        assert!(!fits(&FilterArgs { event_type: text("*"), ..FilterArgs::default() }));
        assert!(!fits(&FilterArgs { resource: text("repository|1"), ..FilterArgs::default() }));
    }

    #[test]
    fn a_misspelt_reason_is_not_a_filter_that_fits_nothing() {
        let options = FilterArgs { reason: text("schema_violatoin"), ..FilterArgs::default() };
        assert_eq!(Filter::of(&options, 0).unwrap_err().exit, Exit::Usage);
    }
}
