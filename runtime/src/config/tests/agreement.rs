//! The table of keys against everything that follows it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use super::super::keys::{Default, Key, Kind, ROOT};
use schemas::presets::Preset;

use super::super::{read, written};
use super::*;

/// A deserializer that only notes which fields a struct asks for.
struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(serde::de::Error::custom("noted"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("not a struct"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn fields<'de, T: Deserialize<'de>>() -> BTreeSet<&'static str> {
    let mut fields: &'static [&'static str] = &[];
    assert!(T::deserialize(Fields(&mut fields)).is_err());
    fields.iter().copied().collect()
}

fn built(keys: &[Key]) -> BTreeSet<&'static str> {
    keys.iter().filter(|key| key.is_built).map(|key| key.name).collect()
}

fn keys_of(path: &[&str]) -> &'static [Key] {
    path.iter().fold(ROOT, |keys, name| keys.iter().find(|key| key.name == *name).unwrap().inner())
}

/// Every key, with its path.
fn all(keys: &'static [Key], path: &str, found: &mut Vec<(String, &'static Key)>) {
    for key in keys {
        let here = read::join(path, key.name);
        found.push((here.clone(), key));
        all(key.inner(), &here, found);
    }
}

fn every_key() -> Vec<(String, &'static Key)> {
    let mut found = Vec::new();
    all(ROOT, "", &mut found);
    found
}

#[test]
fn the_table_and_the_structs_have_the_same_keys() {
    assert_eq!(fields::<written::Root>(), built(ROOT));
    assert_eq!(fields::<written::Kafka>(), built(keys_of(&["kafka"])));
    assert_eq!(fields::<written::Topics>(), built(keys_of(&["topics"])));
    assert_eq!(fields::<written::Ingest>(), built(keys_of(&["ingest"])));
    assert_eq!(fields::<written::Processor>(), built(keys_of(&["processor"])));
    assert_eq!(fields::<written::Retry>(), built(keys_of(&["retry"])));
    assert_eq!(fields::<written::Source>(), built(keys_of(&["source"])));
    assert_eq!(fields::<written::Secret>(), built(keys_of(&["source", "secrets"])));
    assert_eq!(fields::<written::Dedup>(), built(keys_of(&["source", "dedup"])));
    for place in ["event_id", "event_type", "resource", "resource_type"] {
        assert_eq!(fields::<written::Place>(), built(keys_of(&["source", place])));
    }
    assert_eq!(fields::<written::Time>(), built(keys_of(&["source", "occurred_at"])));
    assert_eq!(fields::<written::Handler>(), built(keys_of(&["source", "handlers"])));
    assert_eq!(fields::<written::Secret>(), built(keys_of(&["source", "handlers", "headers"])));
    assert_eq!(fields::<written::Scheme>(), built(keys_of(&["source", "scheme"])));
}

#[test]
fn every_default_is_a_value_its_key_takes() {
    for (path, key) in every_key() {
        if let Default::Is(text) = key.default {
            assert!(read::default_of(key, text).is_some(), "{path} = {text}");
        }
        assert!(key.meaning.ends_with('.') || key.meaning.ends_with("below."), "{path}: {}", key.meaning);
    }
}

#[test]
fn every_key_that_can_have_a_value_is_shown() {
    let shown = show(&example().config);
    for (path, key) in every_key() {
        let is_optional = matches!(path.as_str(), "ingest.tls" | "source.scheme.timestamp_header");
        let depth = path.matches('.').count();
        let is_line = depth == 0 || depth == 1 || path.starts_with("source.scheme.");
        if !key.is_section() && is_line && !is_optional && !matches!(key.kind, Kind::Properties) {
            let line = format!("{} = ", key.name);
            assert!(shown.lines().any(|shown| shown.starts_with(&line)), "{path} is not in\n{shown}");
        }
    }
}

#[test]
fn what_is_shown_reads_back_as_the_same_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("github-push.json"), "{}").unwrap();
    let shown = show(&example().config);
    // The secrets are not there any more; the base64 one has to be something that decodes.
    let readable = shown.replace("***", "c2VjcmV0");
    let again = super::read(&readable, folder.path(), &[]).unwrap_or_else(|problems| panic!("{problems}\n{shown}"));
    assert_eq!(show(&again.config), shown);
    let presets = Preset::all().iter().filter(|preset| preset.scheme.is_some());
    for preset in presets {
        let name = preset.name;
        let text = format!("[[source]]\nname = \"s\"\nprovider = \"{name}\"\nsecrets = [{{ value = \"c2VjcmV0\" }}]\n");
        let first = super::read(&text, folder.path(), &[]).unwrap_or_else(|problems| panic!("{problems}")).config;
        let readable = show(&first).replace("***", "c2VjcmV0");
        let again = super::read(&readable, folder.path(), &[]).unwrap_or_else(|problems| panic!("{problems}")).config;
        assert_eq!(format!("{first:?}"), format!("{again:?}"), "{name}");
    }
}

#[test]
fn the_reference_is_the_document() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let document = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(document, reference(), "write it anew: WEIR_BLESS=1 cargo test --release --workspace --lib reference");
}

#[test]
fn the_reference_names_every_key_and_every_owned_property() {
    let document = reference();
    for (path, key) in every_key() {
        let short = path.rsplit_once('.').map_or(path.as_str(), |(_, name)| name);
        let named = [format!("`{short}`"), format!(".{short}`"), format!("[{path}]"), format!("[[{path}]]")];
        assert!(named.iter().any(|name| document.contains(name)), "{path}");
        assert!(document.contains(key.meaning), "{path}");
    }
    for (property, _) in OWNED {
        assert!(document.contains(&format!("`{property}`")), "{property}");
    }
}

/// The part of a JSON Schema this project writes, enough to check an instance.
fn fits(schema: &Value, instance: &Value) -> bool {
    let all = |name: &str| schema.get(name).and_then(Value::as_array);
    let kind = match instance {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "integer",
        Value::Bool(_) => "boolean",
        Value::Null => "null",
    };
    let typed = schema.get("type").is_none_or(|wanted| wanted == kind);
    let any = all("anyOf").is_none_or(|options| options.iter().any(|option| fits(option, instance)));
    let listed = all("enum").is_none_or(|choices| choices.contains(instance));
    let inside = match instance {
        Value::Object(object) => object.iter().all(|(name, value)| {
            match schema.get("properties").and_then(|properties| properties.get(name)) {
                Some(property) => fits(property, value),
                None => schema.get("additionalProperties") != Some(&Value::Bool(false)),
            }
        }),
        Value::Array(items) => schema.get("items").is_none_or(|of| items.iter().all(|item| fits(of, item))),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => true,
    };
    typed && any && listed && inside
}

#[test]
fn the_json_schema_takes_the_example_and_refuses_what_the_parser_refuses() {
    let schema = schema();
    let mut report = Report::new(Path::new("weir.toml"));
    let mut tree = read::file(EXAMPLE, &mut report).unwrap();
    assert!(fits(&schema, &Value::Object(tree.clone())));
    tree.insert("colour".to_owned(), "red".into());
    assert!(!fits(&schema, &Value::Object(tree.clone())));
    tree.remove("colour");
    tree.insert("topics".to_owned(), serde_json::json!({ "partitions": 3 }));
    assert!(!fits(&schema, &Value::Object(tree)));
    assert_eq!(
        schema.pointer("/properties/source/items/required"),
        Some(&serde_json::json!(["name", "provider", "secrets"]))
    );
    assert_eq!(schema.pointer("/properties/retry/properties/delays/default/3"), Some(&serde_json::json!("1h")));
}
