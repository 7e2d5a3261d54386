//! Setting one value in a JSON text without touching any other byte.
//!
//! A body is signed and deduplicated by its bytes, so it may not be parsed and written again: key order, spaces
//! and long numbers stay as they are.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::value::RawValue;

/// Why a value cannot be set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EditError {
    /// Not JSON.
    #[error("the body is not JSON, so {0} cannot be set in it")]
    NotJson(String),
    /// The way to the value leads through something that has no parts.
    #[error("the body has no place for {0}: on the way stands a value that is no object")]
    NoPlace(String),
}

/// `text` with `value`, which is JSON, at `pointer`. Missing objects on the way are added.
pub fn set(text: &str, pointer: &str, value: &str) -> Result<String, EditError> {
    let mut out = text.to_owned();
    match walk(text, pointer)? {
        Spot::Value(range) => out.replace_range(range, value),
        Spot::Missing { at, is_empty, names } => {
            let comma = if is_empty { "" } else { "," };
            out.insert_str(at, &format!("{}{comma}", member(&names, value)));
        }
    }
    Ok(out)
}

/// The JSON at `pointer`.
pub fn get<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
    match walk(text, pointer).ok()? {
        Spot::Value(range) => text.get(range),
        Spot::Missing { .. } => None,
    }
}

/// A text as JSON.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

enum Spot {
    /// The value's bytes.
    Value(Range<usize>),
    /// Where an object begins that lacks the first of these names.
    Missing { at: usize, is_empty: bool, names: Vec<String> },
}

fn walk(text: &str, pointer: &str) -> Result<Spot, EditError> {
    let not_json = |_| EditError::NotJson(pointer.to_owned());
    let no_place = || EditError::NoPlace(pointer.to_owned());
    let mut value: &RawValue = serde_json::from_str(text).map_err(not_json)?;
    let mut names = pointer.split('/').skip(1).map(unescape);
    while let Some(name) = names.next() {
        let next = if value.get().starts_with('{') {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(value.get()).map_err(not_json)?;
            if !members.contains_key(&name) {
                let at = offset(text, value) + 1;
                let names = std::iter::once(name).chain(names).collect();
                return Ok(Spot::Missing { at, is_empty: members.is_empty(), names });
            }
            members.get(&name).copied()
        } else if value.get().starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(not_json)?;
            name.parse::<usize>().ok().and_then(|index| items.get(index).copied())
        } else {
            None
        };
        value = next.ok_or_else(no_place)?;
    }
    let start = offset(text, value);
    Ok(Spot::Value(start..start + value.get().len()))
}

/// Where a value that borrows from `text` begins in it.
fn offset(text: &str, value: &RawValue) -> usize {
    value.get().as_ptr().addr() - text.as_ptr().addr()
}

fn unescape(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

/// `"a":{"b":value}`.
fn member(names: &[String], value: &str) -> String {
    let opened: Vec<String> = names.iter().map(|name| format!("{}:", quoted(name))).collect();
    format!("{}{value}{}", opened.join("{"), "}".repeat(names.len().saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_changes_and_every_other_byte_stays() {
        let body = "{ \"b\" : 1.50,\n \"a\":{\"id\": \"x\" , \"big\":12345678901234567890123} }";
        let expected = "{ \"b\" : 1.50,\n \"a\":{\"id\": \"y\" , \"big\":12345678901234567890123} }";
        assert_eq!(set(body, "/a/id", "\"y\"").unwrap(), expected);
    }

    #[test]
    fn a_missing_value_is_added_with_the_objects_on_its_way() {
        let cases = [
            ("{}", "/id", "{\"id\":1}"),
            ("{\"a\":0}", "/id", "{\"id\":1,\"a\":0}"),
            ("{ \"a\":{} }", "/a/b/c", "{ \"a\":{\"b\":{\"c\":1}} }"),
            ("{\"a\":[{}]}", "/a/0/id", "{\"a\":[{\"id\":1}]}"),
            ("{}", "/a~1b", "{\"a/b\":1}"),
            ("{\"a\\u0062\":2}", "/ab", "{\"a\\u0062\":1}"),
            (" 7 ", "", " 1 "),
        ];
        for (body, pointer, expected) in cases {
            assert_eq!(set(body, pointer, "1").unwrap(), expected, "{pointer} in {body}");
        }
    }

    #[test]
    fn a_body_without_a_place_is_refused() {
        assert_eq!(set("a=1&b=2", "/id", "1"), Err(EditError::NotJson("/id".to_owned())));
        assert_eq!(set("[]", "/id", "1"), Err(EditError::NoPlace("/id".to_owned())));
        assert_eq!(set("{\"a\":1}", "/a/b", "1"), Err(EditError::NoPlace("/a/b".to_owned())));
    }

    #[test]
    fn a_value_is_read_where_it_stands() {
        assert_eq!(get("{\"a\":[1,{\"b\":\"x\"}]}", "/a/1/b"), Some("\"x\""));
        assert_eq!(get("{}", "/a"), None);
    }
}
