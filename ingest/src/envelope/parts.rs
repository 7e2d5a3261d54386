//! Identity by chosen parts of the body: `include` and `exclude`, written down in one canonical form.
//!
//! Canonical: no space between tokens, members sorted by name, strings unescaped and length-prefixed, numbers as
//! written. So the same content written another way is the same event, and different content never is.

use super::json::{Flaw, Reader, nested};
use super::pointer::{Node, PointerError, Pointers};

/// Which parts of a body make its identity.
#[derive(Debug, Clone)]
pub enum Parts {
    /// Only what stands at these pointers.
    Include(Pointers),
    /// Everything but what stands at these pointers.
    Exclude(Pointers),
}

impl Parts {
    /// Only these.
    pub fn include(pointers: &[String]) -> Result<Self, PointerError> {
        collect(pointers).map(Self::Include)
    }

    /// Everything but these.
    pub fn exclude(pointers: &[String]) -> Result<Self, PointerError> {
        collect(pointers).map(Self::Exclude)
    }

    /// The chosen parts of a body in canonical form; `None` when nothing that was chosen stands in it.
    pub fn canonical(&self, text: &str) -> Result<Option<Vec<u8>>, Flaw> {
        let mut writer = Writer { reader: Reader::new(text), scratch: Vec::new() };
        match self {
            Self::Exclude(pointers) => {
                let mut out = Vec::with_capacity(text.len());
                let is_kept = writer.without(&mut out, Some(pointers.root()), 0)?;
                Ok(is_kept.then_some(out))
            }
            Self::Include(pointers) => {
                let mut parts = vec![None; pointers.len()];
                writer.pick(&mut parts, Some(pointers.root()), 0)?;
                Ok(parts.iter().any(Option::is_some).then(|| joined(&parts)))
            }
        }
    }
}

fn collect(pointers: &[String]) -> Result<Pointers, PointerError> {
    let mut tree = Pointers::default();
    for pointer in pointers {
        tree.add(pointer)?;
    }
    Ok(tree)
}

/// Each part behind its length, or a mark that it is absent: no part can borrow bytes from its neighbour.
fn joined(parts: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        match part {
            Some(part) => push_bytes(&mut out, b'+', part),
            None => out.push(b'-'),
        }
    }
    out
}

fn push_bytes(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A member's name and its value in canonical form.
type Member = (Vec<u8>, Vec<u8>);

struct Writer<'a> {
    reader: Reader<'a>,
    /// Takes what nobody chose.
    scratch: Vec<u8>,
}

impl Writer<'_> {
    /// Writes a value without what is excluded; false: it is excluded itself.
    fn without(&mut self, out: &mut Vec<u8>, node: Option<&Node>, depth: usize) -> Result<bool, Flaw> {
        let is_kept = node.is_none_or(|node| node.slot.is_none());
        match self.reader.peek()? {
            b'{' => {
                let depth = nested(depth)?;
                let members = self.members(|writer, name, value| {
                    let below = node.and_then(|node| node.below.get(node.member(name)?)).map(|(_, below)| below);
                    writer.without(value, below, depth)
                })?;
                write_members(out, members);
            }
            b'[' => {
                let depth = nested(depth)?;
                out.push(b'[');
                self.elements(|writer, index| {
                    let start = out.len();
                    let below = node.and_then(|node| node.element(index));
                    if !writer.without(out, below, depth)? {
                        out.truncate(start);
                    }
                    Ok(())
                })?;
                out.push(b']');
            }
            _ => self.scalar(out)?,
        }
        Ok(is_kept)
    }

    /// Walks through a value and writes the parts that are included.
    fn pick(&mut self, parts: &mut [Option<Vec<u8>>], node: Option<&Node>, depth: usize) -> Result<(), Flaw> {
        if let Some(slot) = node.and_then(|node| node.slot) {
            // What is included is included whole, also where another pointer goes on below.
            let mut part = Vec::new();
            self.without(&mut part, None, depth)?;
            if let Some(place) = parts.get_mut(slot) {
                // A member that stands twice counts as both.
                place.get_or_insert_default().extend_from_slice(&part);
            }
            return Ok(());
        }
        match self.reader.peek()? {
            b'{' => {
                let depth = nested(depth)?;
                self.members(|writer, name, _| {
                    let below = node.and_then(|node| node.below.get(node.member(name)?)).map(|(_, below)| below);
                    writer.pick(parts, below, depth).map(|()| false)
                })
                .map(drop)
            }
            b'[' => {
                let depth = nested(depth)?;
                self.elements(|writer, index| writer.pick(parts, node.and_then(|node| node.element(index)), depth))
            }
            _ => {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                let skipped = self.scalar(&mut scratch);
                self.scratch = scratch;
                skipped
            }
        }
    }

    /// The members of an object that `visit` keeps, with what it wrote of them.
    fn members(
        &mut self,
        mut visit: impl FnMut(&mut Self, &str, &mut Vec<u8>) -> Result<bool, Flaw>,
    ) -> Result<Vec<Member>, Flaw> {
        self.reader.open();
        let mut members = Vec::new();
        let mut is_first = true;
        while self.reader.next_in(b'}', &mut is_first)? {
            let written = self.reader.string()?;
            self.reader.colon()?;
            let name = written.text().unwrap_or_else(|| written.raw().into());
            let mut value = Vec::new();
            if visit(self, &name, &mut value)? {
                members.push((name.as_bytes().to_vec(), value));
            }
        }
        Ok(members)
    }

    fn elements(&mut self, mut visit: impl FnMut(&mut Self, usize) -> Result<(), Flaw>) -> Result<(), Flaw> {
        self.reader.open();
        let mut is_first = true;
        let mut index = 0;
        while self.reader.next_in(b']', &mut is_first)? {
            visit(self, index)?;
            index += 1;
        }
        Ok(())
    }

    fn scalar(&mut self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        match self.reader.peek()? {
            b'"' => {
                let written = self.reader.string()?;
                match written.text() {
                    Some(text) => push_bytes(out, b'"', text.as_bytes()),
                    None => push_bytes(out, b'\\', written.raw().as_bytes()),
                }
            }
            b't' => self.reader.word("true").map(|()| out.push(b't'))?,
            b'f' => self.reader.word("false").map(|()| out.push(b'f'))?,
            b'n' => self.reader.word("null").map(|()| out.push(b'n'))?,
            _ => push_bytes(out, b'#', self.reader.number()?.as_bytes()),
        }
        Ok(())
    }
}

fn write_members(out: &mut Vec<u8>, mut members: Vec<Member>) {
    // Stable, so that members of one name keep their order.
    members.sort_by(|a, b| a.0.cmp(&b.0));
    out.push(b'{');
    for (name, value) in members {
        push_bytes(out, b':', &name);
        out.extend_from_slice(&value);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::super::json::DEPTH_MAX;
    use super::*;

    fn include(pointers: &[&str], body: &str) -> Option<Vec<u8>> {
        let pointers: Vec<String> = pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
        Parts::include(&pointers).expect("pointers").canonical(body).expect("JSON")
    }

    fn exclude(pointers: &[&str], body: &str) -> Option<Vec<u8>> {
        let pointers: Vec<String> = pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
        Parts::exclude(&pointers).expect("pointers").canonical(body).expect("JSON")
    }

    #[test]
    fn another_way_to_write_the_same_is_the_same() {
        let one = r#"{"a":{"x":1,"y":["é",null]},"t":1}"#;
        let other = "{ \"t\" : 2,\n \"a\" : { \"y\" : [ \"\\u00e9\" , null ], \"x\" : 1 } }";
        assert_eq!(include(&["/a"], one), include(&["/a"], other));
        assert_eq!(exclude(&["/t"], one), exclude(&["/t"], other));
        assert_ne!(exclude(&[], one), exclude(&[], other));
    }

    #[test]
    fn different_content_is_never_the_same() {
        let bodies = [
            r#"{"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":"1"}"#,
            r#"{"a":null}"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[[1]]}"#,
            r#"{"a":["1"]}"#,
            r#"{"a":[1,1]}"#,
            r#"{"a":[11]}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\\ud800"}"#,
            r#"{"a":true}"#,
            r#"{"a":false}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"b":1}"#,
        ];
        for (number, one) in bodies.iter().enumerate() {
            for other in bodies.iter().skip(number + 1) {
                assert_ne!(exclude(&["/x"], one), exclude(&["/x"], other), "{one} {other}");
                let (one_part, other_part) = (include(&["/a"], one), include(&["/a"], other));
                assert_ne!(one_part, other_part, "{one} {other}");
            }
        }
        assert_ne!(include(&["/a", "/b"], r#"{"a":1}"#), include(&["/a", "/b"], r#"{"b":1}"#));
        assert_ne!(include(&["/a", "/b"], r#"{"a":1}"#), include(&["/a", "/b"], r#"{"a":1,"b":null}"#));
    }

    #[test]
    fn nothing_chosen_is_no_identity() {
        assert_eq!(include(&["/id"], r#"{"a":1}"#), None);
        assert_eq!(include(&["/id"], "7"), None);
        assert!(include(&["/id"], r#"{"id":null}"#).is_some());
        assert_eq!(exclude(&[""], r#"{"a":1}"#), None);
    }

    #[test]
    fn what_is_excluded_does_not_count_wherever_it_stands() {
        let body = |time: u32, attempt: u32| {
            format!(r#"{{"a":[{{"time":{time},"v":1}},{{"time":5}}],"meta":{{"attempt":{attempt}}}}}"#)
        };
        let pointers = ["/a/0/time", "/meta/attempt"];
        assert_eq!(exclude(&pointers, &body(1, 1)), exclude(&pointers, &body(2, 2)));
        assert_ne!(exclude(&pointers[..1], &body(1, 1)), exclude(&pointers[..1], &body(1, 2)));
    }

    #[test]
    fn the_depth_is_bounded_here_too() {
        let body = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
        let parts = Parts::exclude(&[]).expect("pointers");
        assert_eq!(parts.canonical(&body), Err(Flaw::TooDeep));
    }
}
