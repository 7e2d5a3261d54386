//! Puts a value into a JSON text, and leaves every byte around it as the provider wrote it: numbers keep their digits,
//! fields their order.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Deepest place that a value is put at.
const DEPTH_MAX: usize = 64;

/// The text with the value at a JSON pointer. Objects on the way are made; what stands there is replaced.
pub(super) fn put(text: &[u8], pointer: &str, value: &RawValue) -> Result<String, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the body is not JSON".to_owned())?;
    let names: Vec<String> =
        pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect();
    if names.len() > DEPTH_MAX {
        return Err(format!("into: more than {DEPTH_MAX} levels deep"));
    }
    at(text, &names, value)
}

fn at(text: &str, names: &[String], value: &RawValue) -> Result<String, String> {
    let Some((name, rest)) = names.split_first() else { return Ok(value.get().to_owned()) };
    match text.trim_start().bytes().next() {
        Some(b'[') => in_list(text, name, rest, value),
        _ => in_object(text, name, rest, value),
    }
}

fn in_object(text: &str, name: &str, rest: &[String], value: &RawValue) -> Result<String, String> {
    let Ok(Fields(fields)) = serde_json::from_str(text) else {
        return Err(format!("into: there is no object for `{name}` to stand in"));
    };
    let mut out = String::with_capacity(text.len() + value.get().len());
    let mut is_put = false;
    for (field, old) in &fields {
        let new = if field == name { Some(at(old.get(), rest, value)?) } else { None };
        is_put |= new.is_some();
        push_field(&mut out, field, new.as_deref().unwrap_or(old.get()))?;
    }
    if !is_put {
        // An object that is not there yet is made on the way.
        push_field(&mut out, name, &at("{}", rest, value)?)?;
    }
    out.push('}');
    Ok(out)
}

fn push_field(out: &mut String, name: &str, value: &str) -> Result<(), String> {
    out.push(if out.is_empty() { '{' } else { ',' });
    out.push_str(&serde_json::to_string(name).map_err(|error| error.to_string())?);
    out.push(':');
    out.push_str(value);
    Ok(())
}

fn in_list(text: &str, name: &str, rest: &[String], value: &RawValue) -> Result<String, String> {
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| "the body is not JSON".to_owned())?;
    let place = name.parse::<usize>().ok().filter(|place| *place < items.len());
    let place = place.ok_or_else(|| format!("into: the list has no position `{name}`"))?;
    let mut parts = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        parts.push(if position == place { at(item.get(), rest, value)? } else { item.get().to_owned() });
    }
    Ok(format!("[{}]", parts.join(",")))
}

/// An object's fields in their order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, pointer: &str, expected: Result<&str, &str>) {
        let value = RawValue::from_string("{\"a\": 1.10}".to_owned()).expect("JSON");
        match (put(text.as_bytes(), pointer, &value), expected) {
            (Ok(made), Ok(expected)) => assert_eq!(made, expected, "{text} {pointer}"),
            (Err(message), Err(expected)) => assert!(message.contains(expected), "{text} {pointer}: {message}"),
            (made, _) => panic!("{text} {pointer}: {made:?}"),
        }
    }

    #[test]
    fn the_value_is_put_and_the_rest_keeps_its_digits_and_order() {
        check(
            r#"{"z": 1.10, "b": 12345678901234567890123, "a":[ 1 ]}"#,
            "/customer",
            Ok(r#"{"z":1.10,"b":12345678901234567890123,"a":[ 1 ],"customer":{"a": 1.10}}"#),
        );
        check(r#"{"x":1,"y":{"k":2}}"#, "/y/k", Ok(r#"{"x":1,"y":{"k":{"a": 1.10}}}"#));
        check(r#"{"x":1}"#, "/y/z", Ok(r#"{"x":1,"y":{"z":{"a": 1.10}}}"#));
        check("{}", "/a~1b/~0", Ok(r#"{"a/b":{"~":{"a": 1.10}}}"#));
        check(r#"[0,[1,2]]"#, "/1/0", Ok(r#"[0,[{"a": 1.10},2]]"#));
        check("anything", "", Ok(r#"{"a": 1.10}"#));
    }

    #[test]
    fn a_place_that_cannot_be_is_said() {
        check("not json", "/a", Err("no object for `a`"));
        check(r#"{"x":5}"#, "/x/y", Err("no object for `y`"));
        check(r#"{"x":null}"#, "/x/y", Err("no object for `y`"));
        check("[1]", "/1", Err("no position `1`"));
        check("[1]", "/-", Err("no position `-`"));
        check("{}", &"/a".repeat(65), Err("more than 64 levels"));
    }
}
