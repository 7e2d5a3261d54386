//! The grammar of a signature header: which parts of its text are signatures, which is the timestamp.
//!
//! Parsed from a scheme's `format` once, at start. Reading a header allocates nothing and never trusts a length.

use super::SchemeError;

/// Most signatures a header may carry: rotation needs two, an attacker would like thousands.
pub const SIGNATURES_MAX: usize = 16;
/// Most items of a list, known or not.
const ITEMS_MAX: usize = 64;

const SIGNATURE: &str = "{signature}";
const TIMESTAMP: &str = "{timestamp}";

/// How a signature header is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grammar {
    /// Literal text around one signature: `sha256={signature}`, `{signature}`, `{timestamp}:{signature}`.
    Plain(Plain),
    /// A list separated by spaces; items with another tag are skipped: `v1,{signature}`.
    Tagged {
        /// The tag, without its comma.
        tag: String,
    },
    /// A list of `key=value` in any order; unknown keys are skipped: `t={timestamp},v1={signature}`.
    Pairs {
        /// What stands between two pairs.
        separator: char,
        /// Key of the timestamp, when it stands here.
        timestamp: Option<String>,
        /// Key of the signatures.
        signature: String,
    },
}

/// Literal text around one signature and, when the header carries it, one timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    head: String,
    /// What stands between the two, and whether the timestamp is the first of them.
    middle: Option<(String, bool)>,
    tail: String,
}

/// What a signature header says.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a> {
    /// The timestamp's text.
    pub timestamp: Option<&'a str>,
    signatures: [&'a str; SIGNATURES_MAX],
    count: usize,
}

/// The header does not follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Items<'a> {
    fn new() -> Self {
        Self { timestamp: None, signatures: [""; SIGNATURES_MAX], count: 0 }
    }

    fn push(&mut self, signature: &'a str) -> Result<(), Malformed> {
        let place = self.signatures.get_mut(self.count).ok_or(Malformed)?;
        *place = signature;
        self.count += 1;
        Ok(())
    }

    /// The texts of the signatures, at least one.
    pub fn signatures(&self) -> &[&'a str] {
        self.signatures.get(..self.count).unwrap_or_default()
    }
}

impl Grammar {
    /// Parses a scheme's `format`.
    pub fn parse(format: &str) -> Result<Self, SchemeError> {
        let error = || SchemeError::Format(format.to_owned());
        if format.matches(SIGNATURE).count() != 1 {
            return Err(error());
        }
        let pairs = || format.contains(TIMESTAMP).then(|| Self::parse_pairs(format)).flatten();
        let tagged = || {
            let tag = format.strip_suffix(SIGNATURE)?.strip_suffix(',')?;
            let is_tag = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_tag.then(|| Self::Tagged { tag: tag.to_owned() })
        };
        pairs().or_else(tagged).or_else(|| Plain::parse(format).map(Self::Plain)).ok_or_else(error)
    }

    fn parse_pairs(format: &str) -> Option<Self> {
        let separator = if format.contains(';') { ';' } else { ',' };
        let (mut timestamp, mut signature) = (None, None);
        for pair in format.split(separator) {
            let (key, value) = pair.trim_matches(' ').split_once('=')?;
            let place = match value {
                TIMESTAMP => &mut timestamp,
                SIGNATURE => &mut signature,
                _ => return None,
            };
            if key.is_empty() || key.contains(['{', '}', '=', ' ']) || place.replace(key.to_owned()).is_some() {
                return None;
            }
        }
        let signature = signature?;
        (timestamp.as_ref() != Some(&signature)).then_some(Self::Pairs { separator, timestamp, signature })
    }

    /// Whether the timestamp stands in the signature's own header.
    pub fn has_timestamp(&self) -> bool {
        match self {
            Self::Pairs { timestamp, .. } => timestamp.is_some(),
            Self::Plain(plain) => plain.middle.is_some(),
            Self::Tagged { .. } => false,
        }
    }

    /// Whether a comma in the header can only come from two headers joined into one.
    pub fn has_no_comma(&self) -> bool {
        match self {
            Self::Plain(plain) => !plain.texts().any(|text| text.contains(',')),
            Self::Pairs { .. } | Self::Tagged { .. } => false,
        }
    }

    /// Takes a header apart.
    pub fn read<'a>(&self, text: &'a str) -> Result<Items<'a>, Malformed> {
        let mut items = Items::new();
        match self {
            Self::Plain(plain) => {
                let (timestamp, signature) = plain.read(text).ok_or(Malformed)?;
                items.timestamp = timestamp;
                items.push(signature)?;
            }
            Self::Tagged { tag } => {
                for item in bounded(text.split(' ')) {
                    if let Some((_, signature)) = item?.split_once(',').filter(|(version, _)| version == tag) {
                        items.push(signature)?;
                    }
                }
            }
            Self::Pairs { separator, timestamp, signature } => {
                for item in bounded(text.split(*separator)) {
                    let (key, value) = item?.trim_matches(' ').split_once('=').ok_or(Malformed)?;
                    if key == signature {
                        items.push(value)?;
                    } else if Some(key) == timestamp.as_deref() && items.timestamp.replace(value).is_some() {
                        return Err(Malformed);
                    }
                }
            }
        }
        if items.count == 0 { Err(Malformed) } else { Ok(items) }
    }

    /// Writes a header, as the provider would.
    pub fn write(&self, timestamp: &str, signature: &str) -> String {
        match self {
            Self::Plain(plain) => plain.write(timestamp, signature),
            Self::Tagged { tag } => format!("{tag},{signature}"),
            Self::Pairs { separator, timestamp: Some(key), signature: name } => {
                format!("{key}={timestamp}{separator}{name}={signature}")
            }
            Self::Pairs { timestamp: None, signature: name, .. } => format!("{name}={signature}"),
        }
    }
}

impl Plain {
    fn parse(format: &str) -> Option<Self> {
        let mut texts = Vec::new();
        let mut names = Vec::new();
        let mut rest = format;
        while let Some((text, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}')?;
            texts.push(text.to_owned());
            names.push(name);
            rest = behind;
        }
        let mut texts = texts.into_iter();
        let (head, second) = (texts.next()?, texts.next());
        let middle = match (names.as_slice(), second) {
            (["signature"], None) => None,
            (["timestamp", "signature"], Some(text)) if !text.is_empty() => Some((text, true)),
            (["signature", "timestamp"], Some(text)) if !text.is_empty() => Some((text, false)),
            _ => return None,
        };
        let plain = Self { head, middle, tail: rest.to_owned() };
        let is_text = !plain.texts().any(|text| text.contains(['{', '}']));
        is_text.then_some(plain)
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let middle = self.middle.as_ref().map(|(text, _)| text.as_str());
        [self.head.as_str(), self.tail.as_str()].into_iter().chain(middle)
    }

    fn read<'a>(&self, text: &'a str) -> Option<(Option<&'a str>, &'a str)> {
        let inner = text.strip_prefix(self.head.as_str())?.strip_suffix(self.tail.as_str())?;
        match &self.middle {
            None => Some((None, inner)),
            Some((middle, is_timestamp_first)) => {
                let (first, second) = inner.split_once(middle.as_str())?;
                Some(if *is_timestamp_first { (Some(first), second) } else { (Some(second), first) })
            }
        }
    }

    fn write(&self, timestamp: &str, signature: &str) -> String {
        let Self { head, middle, tail } = self;
        match middle {
            None => format!("{head}{signature}{tail}"),
            Some((middle, true)) => format!("{head}{timestamp}{middle}{signature}{tail}"),
            Some((middle, false)) => format!("{head}{signature}{middle}{timestamp}{tail}"),
        }
    }
}

fn bounded<'a>(items: impl Iterator<Item = &'a str>) -> impl Iterator<Item = Result<&'a str, Malformed>> {
    items.enumerate().map(|(number, item)| if number < ITEMS_MAX { Ok(item) } else { Err(Malformed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(format: &str, text: &'a str) -> Result<(Option<&'a str>, Vec<&'a str>), Malformed> {
        let items = Grammar::parse(format).expect("a good format").read(text)?;
        Ok((items.timestamp, items.signatures().to_vec()))
    }

    #[test]
    fn a_plain_header_is_its_prefix_and_one_signature() {
        assert_eq!(read("sha256={signature}", "sha256=ab"), Ok((None, vec!["ab"])));
        assert_eq!(read("{signature}", "ab=="), Ok((None, vec!["ab=="])));
        assert_eq!(read("{timestamp},{signature}", "12,ab"), Ok((Some("12"), vec!["ab"])));
        assert_eq!(read("<{signature}|{timestamp}>", "<ab|12>"), Ok((Some("12"), vec!["ab"])));
        for wrong in ["", "ab", "SHA256=ab", " sha256=ab", "sha1=ab"] {
            assert_eq!(read("sha256={signature}", wrong), Err(Malformed), "{wrong}");
        }
    }

    #[test]
    fn a_tagged_list_skips_what_it_does_not_know() {
        let format = "v1,{signature}";
        assert_eq!(read(format, "v1,ab v1a,xx v2,yy v1,cd"), Ok((None, vec!["ab", "cd"])));
        for wrong in ["", "v2,ab", "v1", "ab", "v1a,ab"] {
            assert_eq!(read(format, wrong), Err(Malformed), "{wrong}");
        }
    }

    #[test]
    fn pairs_stand_in_any_order_and_the_timestamp_stands_once() {
        let format = "t={timestamp},v1={signature}";
        let expected = Ok((Some("12"), vec!["ab", "cd"]));
        assert_eq!(read(format, "t=12,v1=ab,v0=xx,v1=cd"), expected);
        assert_eq!(read(format, "v1=ab, v1=cd, t=12"), expected);
        assert_eq!(read(format, "v1=ab"), Ok((None, vec!["ab"])));
        assert_eq!(read("ts={timestamp};h1={signature}", "ts=1;h1=ab"), Ok((Some("1"), vec!["ab"])));
        for wrong in ["", "t=12", "t=12,t=12,v1=ab", "t=12,v0=ab", "t=12,v1", "t=12;v1=ab"] {
            assert_eq!(read(format, wrong), Err(Malformed), "{wrong}");
        }
    }

    #[test]
    fn a_header_carries_at_most_sixteen_signatures() {
        let list = |count: usize| vec!["v1=ab"; count].join(",");
        let format = "t={timestamp},v1={signature}";
        assert!(read(format, &list(SIGNATURES_MAX)).is_ok());
        assert_eq!(read(format, &list(SIGNATURES_MAX + 1)), Err(Malformed));
        assert_eq!(read(format, &format!("v1=ab,{}", vec!["x=1"; 1000].join(","))), Err(Malformed));
    }

    #[test]
    fn formats_that_mean_nothing_are_refused() {
        let wrong = [
            "",
            "sha256=",
            "{signature}{signature}",
            "{sig}",
            "{timestamp}{signature}",
            "{signature",
            "{signature}}",
            "{id},{signature}",
            "{timestamp},{signature},{timestamp}",
        ];
        for format in wrong {
            assert!(Grammar::parse(format).is_err(), "{format}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let formats = [
            "sha256={signature}",
            "{signature}",
            "v1,{signature}",
            "v1={signature};t={timestamp}",
            "{timestamp}:{signature}",
            "<{signature}|{timestamp}>",
        ];
        for format in formats {
            let grammar = Grammar::parse(format).expect("a good format");
            let text = grammar.write("12", "ab");
            let items = grammar.read(&text).expect("well formed");
            assert_eq!(items.signatures(), ["ab"]);
            assert_eq!(items.timestamp, grammar.has_timestamp().then_some("12"));
        }
    }
}
