//! Patterns for event types: `*` stands for anything, also for nothing; everything else for itself.

/// A pattern, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    first: String,
    /// What follows each star, in order; without one there was no star.
    rest: Vec<String>,
}

impl Glob {
    /// Every text is a pattern.
    pub fn new(pattern: &str) -> Self {
        let mut parts = pattern.split('*').map(str::to_owned);
        Self { first: parts.next().unwrap_or_default(), rest: parts.collect() }
    }

    /// Whether a text fits.
    pub fn matches(&self, text: &str) -> bool {
        let Some(mut text) = text.strip_prefix(self.first.as_str()) else { return false };
        let Some((last, between)) = self.rest.split_last() else { return text.is_empty() };
        for part in between {
            // The earliest place leaves most for what follows.
            let Some((_, tail)) = text.split_once(part.as_str()) else { return false };
            text = tail;
        }
        text.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_the_rest_for_itself() {
        let cases: [(&str, &[&str], &[&str]); 6] = [
            ("repository.*", &["repository.edited", "repository."], &["repository", "xrepository.edited"]),
            ("*.updated", &["a.updated", "a.b.updated", ".updated"], &["a.updated.x", "updated"]),
            ("*/update", &["orders/update"], &["orders/updated"]),
            ("a*b*c", &["abc", "axbyc", "abbcc"], &["ab", "acb", "abcd"]),
            ("push", &["push"], &["pushed", "a.push", ""]),
            ("*", &["", "anything"], &[]),
        ];
        for (pattern, fitting, others) in cases {
            let glob = Glob::new(pattern);
            for text in fitting {
                assert!(glob.matches(text), "{pattern} {text}");
            }
            for text in others {
                assert!(!glob.matches(text), "{pattern} {text}");
            }
        }
    }
}
