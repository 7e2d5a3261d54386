//! JSON, read strictly and once: RFC 8259, at most 64 levels deep, in one pass over the body.
//!
//! No tree is built. What a source's pointers ask for is picked up on the way, as the text stands there: numbers
//! keep their spelling, and a member that stands twice is known to stand twice.

use std::borrow::Cow;

use schemas::ReasonCode;

use super::pointer::{Node, Pointers};

/// Deepest nesting of arrays and objects.
pub const DEPTH_MAX: usize = 64;

/// What stands at a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing.
    Absent,
    /// `null`.
    Null,
    /// A string.
    Text(Cow<'a, str>),
    /// A number, as it is written.
    Number(&'a str),
    /// Something that is neither: a boolean, an array, an object, a string with half a character in it.
    Other,
    /// The pointer leads to more than one place, because a member stands twice.
    Twice,
}

/// Why a text is not taken for JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It does not follow the grammar.
    Invalid,
    /// It nests deeper than [`DEPTH_MAX`].
    TooDeep,
}

impl From<Flaw> for ReasonCode {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Invalid => ReasonCode::InvalidJson,
            Flaw::TooDeep => ReasonCode::TooDeep,
        }
    }
}

/// Checks a whole text and picks up what stands at the pointers, by slot.
pub fn look_up<'a>(text: &'a str, pointers: &Pointers) -> Result<Vec<Found<'a>>, Flaw> {
    let mut walk = Walk { reader: Reader::new(text), found: vec![Found::Absent; pointers.len()] };
    walk.value(Some(pointers.root()), 0)?;
    walk.reader.end()?;
    Ok(walk.found)
}

struct Walk<'a> {
    reader: Reader<'a>,
    found: Vec<Found<'a>>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, node: Option<&Node>, depth: usize) -> Result<(), Flaw> {
        let found = match self.reader.peek()? {
            b'{' => {
                self.object(node, nested(depth)?)?;
                Found::Other
            }
            b'[' => {
                self.array(node, nested(depth)?)?;
                Found::Other
            }
            b'"' => {
                let string = self.reader.string()?;
                match node.and_then(|node| node.slot) {
                    Some(_) => string.text().map_or(Found::Other, Found::Text),
                    None => return Ok(()),
                }
            }
            b't' => self.reader.word("true").map(|()| Found::Other)?,
            b'f' => self.reader.word("false").map(|()| Found::Other)?,
            b'n' => self.reader.word("null").map(|()| Found::Null)?,
            _ => Found::Number(self.reader.number()?),
        };
        if let Some(place) = node.and_then(|node| node.slot).and_then(|slot| self.found.get_mut(slot)) {
            *place = found;
        }
        Ok(())
    }

    fn object(&mut self, node: Option<&Node>, depth: usize) -> Result<(), Flaw> {
        self.reader.open();
        let mut seen = 0_u64;
        let mut is_first = true;
        while self.reader.next_in(b'}', &mut is_first)? {
            let name = self.reader.string()?;
            self.reader.colon()?;
            let member = node.and_then(|node| {
                let number = node.member(&name.text()?)?;
                node.below.get(number).map(|(_, below)| (1_u64 << (number % 64), below))
            });
            match member {
                Some((bit, below)) if seen & bit != 0 => {
                    self.value(None, depth)?;
                    let found = &mut self.found;
                    below.slots(&mut |slot| {
                        if let Some(place) = found.get_mut(slot) {
                            *place = Found::Twice;
                        }
                    });
                }
                Some((bit, below)) => {
                    seen |= bit;
                    self.value(Some(below), depth)?;
                }
                None => self.value(None, depth)?,
            }
        }
        Ok(())
    }

    fn array(&mut self, node: Option<&Node>, depth: usize) -> Result<(), Flaw> {
        self.reader.open();
        let node = node.filter(|node| !node.below.is_empty());
        let mut is_first = true;
        let mut index = 0;
        while self.reader.next_in(b']', &mut is_first)? {
            self.value(node.and_then(|node| node.element(index)), depth)?;
            index += 1;
        }
        Ok(())
    }
}

/// The depth inside one more array or object.
pub(super) fn nested(depth: usize) -> Result<usize, Flaw> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(Flaw::TooDeep) }
}

/// A string as it stands between its quotation marks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    raw: &'a str,
    is_escaped: bool,
}

impl<'a> Written<'a> {
    /// The text between the quotation marks, escapes and all.
    pub(super) fn raw(self) -> &'a str {
        self.raw
    }

    /// What it means; `None` when it holds half of a surrogate pair, which no text can.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        if self.is_escaped { unescape(self.raw).map(Cow::Owned) } else { Some(Cow::Borrowed(self.raw)) }
    }
}

/// Reads tokens. Every method leaves the position behind what it read.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// The first byte of the next token, which stays where it is.
    pub(super) fn peek(&mut self) -> Result<u8, Flaw> {
        self.skip_space();
        self.byte().ok_or(Flaw::Invalid)
    }

    /// Whether nothing but space is left.
    pub(super) fn end(&mut self) -> Result<(), Flaw> {
        self.skip_space();
        if self.byte().is_none() { Ok(()) } else { Err(Flaw::Invalid) }
    }

    /// Steps behind the bracket that was peeked at.
    pub(super) fn open(&mut self) {
        self.at += 1;
    }

    /// Moves to the next item of an array or object; false: it was closed.
    pub(super) fn next_in(&mut self, close: u8, is_first: &mut bool) -> Result<bool, Flaw> {
        let next = self.peek()?;
        if next == close {
            // An item has to follow a comma, and `value` fails on a bracket that closes.
            self.at += 1;
            return Ok(false);
        }
        if std::mem::replace(is_first, false) {
            return Ok(true);
        }
        if next != b',' {
            return Err(Flaw::Invalid);
        }
        self.at += 1;
        if self.peek()? == close { Err(Flaw::Invalid) } else { Ok(true) }
    }

    pub(super) fn colon(&mut self) -> Result<(), Flaw> {
        if self.peek()? == b':' {
            self.at += 1;
            Ok(())
        } else {
            Err(Flaw::Invalid)
        }
    }

    pub(super) fn word(&mut self, word: &str) -> Result<(), Flaw> {
        let rest = self.text.get(self.at..).ok_or(Flaw::Invalid)?;
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Flaw::Invalid)
        }
    }

    pub(super) fn string(&mut self) -> Result<Written<'a>, Flaw> {
        if self.peek()? != b'"' {
            return Err(Flaw::Invalid);
        }
        let start = self.at + 1;
        self.at = start;
        let mut is_escaped = false;
        loop {
            match self.byte().ok_or(Flaw::Invalid)? {
                b'"' => break,
                b'\\' => {
                    is_escaped = true;
                    self.escape()?;
                }
                0..=0x1f => return Err(Flaw::Invalid),
                _ => self.at += 1,
            }
        }
        let raw = self.text.get(start..self.at).ok_or(Flaw::Invalid)?;
        self.at += 1;
        Ok(Written { raw, is_escaped })
    }

    fn escape(&mut self) -> Result<(), Flaw> {
        self.at += 1;
        match self.byte().ok_or(Flaw::Invalid)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.byte().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(Flaw::Invalid);
                    }
                    self.at += 1;
                }
            }
            _ => return Err(Flaw::Invalid),
        }
        Ok(())
    }

    pub(super) fn number(&mut self) -> Result<&'a str, Flaw> {
        let start = self.at;
        self.step_over(b"-");
        if !self.step_over(b"0") {
            self.digits()?;
        }
        if self.step_over(b".") {
            self.digits()?;
        }
        if self.step_over(b"eE") {
            self.step_over(b"+-");
            self.digits()?;
        }
        self.text.get(start..self.at).ok_or(Flaw::Invalid)
    }

    fn step_over(&mut self, any: &[u8]) -> bool {
        let found = self.byte().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Flaw::Invalid) } else { Ok(()) }
    }
}

fn unescape(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut characters = escaped.chars();
        match characters.next()? {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let first = unit(characters.as_str())?;
                characters = characters.as_str().get(4..)?.chars();
                let mut units = vec![first];
                if (0xd800..0xdc00).contains(&first) {
                    let second = characters.as_str().strip_prefix("\\u")?;
                    units.push(unit(second)?);
                    characters = second.get(4..)?.chars();
                }
                for character in char::decode_utf16(units) {
                    out.push(character.ok()?);
                }
            }
            other => out.push(other),
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    Some(out)
}

fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests;
