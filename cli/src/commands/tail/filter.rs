//! Which events `weir tail` shows.

use ingest::envelope::glob::Glob;

use crate::args::TailArgs;
use crate::record::Seen;

/// All that is given has to fit.
#[derive(Debug, Clone, Default)]
pub struct Filter<'a> {
    source: Option<&'a str>,
    event_type: Option<Glob>,
    key: Option<&'a str>,
}

impl<'a> Filter<'a> {
    /// The filter of a command line.
    pub fn of(options: &'a TailArgs) -> Self {
        Self {
            source: options.source.as_deref(),
            event_type: options.event_type.as_deref().map(Glob::new),
            key: options.key.as_deref(),
        }
    }

    /// Whether an event is shown. One whose field is unknown fits no filter on it.
    pub fn fits(&self, seen: &Seen) -> bool {
        let equal = |wanted: Option<&str>, found: &Option<String>| wanted.is_none() || wanted == found.as_deref();
        equal(self.source, &seen.source)
            && equal(self.key, &seen.key)
            && self.event_type.as_ref().is_none_or(|wanted| type_fits(wanted, seen.event_type.as_deref()))
    }
}

/// `issues.*` as the provider says it, or `github.issues.*` as `ce_type` does.
fn type_fits(wanted: &Glob, found: Option<&str>) -> bool {
    let Some(found) = found else {
        return false;
    };
    let own = found.split_once('.').map_or("", |(_, own)| own);
    wanted.matches(found) || wanted.matches(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            source: Some("gh".to_owned()),
            event_type: Some("github.issues.opened".to_owned()),
            key: Some("gh|repository|1".to_owned()),
            ..Seen::default()
        }
    }

    #[test]
    fn every_given_filter_has_to_fit() {
        let filter = |source, event_type: Option<&str>, key| {
            Filter { source, event_type: event_type.map(Glob::new), key }.fits(&seen())
        };
        assert!(filter(None, None, None));
        assert!(filter(Some("gh"), Some("issues.*"), Some("gh|repository|1")));
        assert!(!filter(Some("gh"), Some("issues.*"), Some("gh|repository|2")));
        assert!(!filter(Some("g"), None, None));
    }

    #[test]
    fn a_type_is_known_with_and_without_its_provider() {
        for wanted in ["github.issues.opened", "issues.opened", "issues.*", "*.opened", "github.*"] {
            assert!(type_fits(&Glob::new(wanted), Some("github.issues.opened")), "{wanted}");
        }
        for wanted in ["opened", "issues", "stripe.*"] {
            assert!(!type_fits(&Glob::new(wanted), Some("github.issues.opened")), "{wanted}");
        }
    }

    #[test]
    fn a_record_that_could_not_be_decoded_fits_no_filter_on_what_it_lacks() {
        let filter = Filter { source: Some("gh"), ..Filter::default() };
        assert!(!filter.fits(&Seen::default()));
    }
}
