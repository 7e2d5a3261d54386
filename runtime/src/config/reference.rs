//! The reference of every key, from the table of keys: Markdown for people, JSON Schema for editors.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::OWNED;
use super::keys::{Default, Key, Kind, ROOT};

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from the table of keys in runtime/src/config. Do not edit: change the table and run
     `WEIR_BLESS=1 cargo test --release --workspace --lib reference`. -->

All three programs read one file: `--config PATH`, or `WEIR_CONFIG`, or `weir.toml` in the working directory.
`weir config check` reports everything that is wrong with it at once, each with its line; `weir config show` prints \
what is in force, defaults included; `weir config schema` prints a JSON Schema for editors.

- **Unknown keys are errors.** So are keys whose feature does not exist yet, unless they hold their default: \
they are marked *not available in this version*.
- **Times** are a whole number and `ms`, `s`, `m`, `h` or `d`: `\"100ms\"`, `\"4d\"`. \
**Sizes** are a whole number and `B`, `KiB`, `MiB` or `GiB`: `\"1MiB\"`.
- **Environment**: `WEIR__SECTION__KEY` overrides a key of the file, for example `WEIR__KAFKA__BROKERS` or \
`WEIR__SHUTDOWN_TIMEOUT`. In `[kafka.client]` a `_` stands for the dot: `WEIR__KAFKA__CLIENT__SASL_PASSWORD` sets \
`sasl.password`. Lists and `[[source]]` are not settable by environment. An unknown `WEIR__` variable is an error.
- **Secrets** never print: they appear as `***`.
- **Relative paths** of secrets and schemas start from the configuration file's folder, `state_dir` from the \
working directory.

Logging is set by two variables: `WEIR_LOG` filters (default `info`, librdkafka `warn`; for example \
`info,weir_processor=debug`), `WEIR_LOG_FORMAT` is `text` or `json` (default: text on a terminal, otherwise JSON).
";

const SECRETS: &str = "\
A secret that is missing, empty, blank, all zeros, a mere `whsec_` or not decodable is an error; one of fewer than 16 \
bytes, or a word such as `changeme`, is a warning. What the bytes mean follows from the preset, or from `secret_encoding` in `[source.scheme]`: taken as they are, or decoded from base64 (after an optional `whsec_`) or \
hexadecimal.
";

/// The reference of every key, as Markdown: `docs/config.md`.
pub fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    let scalars: Vec<&Key> = ROOT.iter().filter(|key| !key.is_section()).collect();
    section(&mut out, "Top level", "", &scalars);
    for key in ROOT.iter().filter(|key| key.is_section()) {
        let heading = if key.name == "source" { "`[[source]]`".to_owned() } else { format!("`[{}]`", key.name) };
        let scalars: Vec<&Key> = key.inner().iter().filter(|key| !key.is_section()).collect();
        section(&mut out, &heading, key.meaning, &scalars);
        if key.name == "source" {
            line(&mut out, format_args!("\n{SECRETS}"));
            out.pop();
        }
        for inner in key.inner().iter().filter(|key| key.is_section()) {
            let keys: Vec<&Key> = inner.inner().iter().collect();
            let heading = format!("[{}.{}]", key.name, inner.name);
            let heading =
                if matches!(inner.kind, Kind::Tables(..)) { format!("`[{heading}]`") } else { format!("`{heading}`") };
            section(&mut out, &heading, inner.meaning, &keys);
            if matches!(inner.kind, Kind::Properties) {
                owned(&mut out);
            }
        }
    }
    out
}

fn section(out: &mut String, heading: &str, about: &str, keys: &[&Key]) {
    line(out, format_args!("\n## {heading}"));
    if !about.is_empty() {
        line(out, format_args!("\n{about}"));
    }
    if keys.is_empty() {
        return;
    }
    line(out, format_args!("\n| Key | Type | Default | Range | Meaning |\n|---|---|---|---|---|"));
    for key in keys {
        row(out, "", key);
        for inner in key.inner() {
            let of = if matches!(key.kind, Kind::Entries(..)) { ".<name>" } else { "" };
            row(out, &format!("{}{of}.", key.name), inner);
        }
    }
}

fn row(out: &mut String, prefix: &str, key: &Key) {
    let (kind, range) = describe(&key.kind);
    let default = match key.default {
        Default::Is(text) => format!("`{text}`"),
        Default::Else(text) => text.to_owned(),
        Default::Section => String::new(),
        Default::Required => "required".to_owned(),
    };
    let later = if key.is_built { "" } else { " *Not available in this version.*" };
    line(out, format_args!("| `{prefix}{}` | {kind} | {default} | {range} | {}{later} |", key.name, key.meaning));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a String takes any text");
}

/// Type and range.
fn describe(kind: &Kind) -> (String, String) {
    let count = |least: &usize, most: &usize| format!("{least} to {most} entries");
    match kind {
        Kind::Text(form) => form.describe(),
        Kind::Integer(from, to) => ("number".to_owned(), format!("{from} to {to}")),
        Kind::PowerOfTwo(from, to) => ("number".to_owned(), format!("a power of two, {from} to {to}")),
        Kind::Flag => ("flag".to_owned(), "`true`, `false`".to_owned()),
        Kind::Texts(form, least, most) => {
            let (kind, range) = form.describe();
            (format!("list of {kind}s"), format!("{}, each {range}", count(least, most)))
        }
        Kind::Table(_) => ("table".to_owned(), String::new()),
        Kind::Tables(_, least, most) => ("list of tables".to_owned(), count(least, most)),
        Kind::TextOr(form, _) => {
            let (kind, range) = form.describe();
            (format!("{kind} or table"), range)
        }
        Kind::Several(form, keys, most) => {
            let (kind, range) = form.describe();
            let table = if keys.is_empty() { "" } else { ", table" };
            (format!("{kind}{table} or list"), format!("up to {most} entries; {range}"))
        }
        Kind::TextOrTexts(form, each, least, most) => {
            let ((kind, range), (of, bounds)) = (form.describe(), each.describe());
            (format!("{kind} or list of {of}s"), format!("{range}; or {}, each {bounds}", count(least, most)))
        }
        Kind::Properties => ("table".to_owned(), String::new()),
        Kind::Entries(_, form, keys, most) => {
            let (kind, range) = form.describe();
            let table = if keys.is_empty() { "" } else { " or tables" };
            (format!("table of {kind}s{table}"), format!("1 to {most} entries, each {range}"))
        }
    }
}

fn owned(out: &mut String) {
    line(out, format_args!("\nThese properties are set by Weir and refused here:"));
    line(out, format_args!("\n| Property | Why |\n|---|---|"));
    for (property, reason) in OWNED {
        line(out, format_args!("| `{property}` | {reason} |"));
    }
}

/// JSON Schema of `weir.toml`.
pub fn schema() -> Value {
    let mut schema = object(ROOT);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("weir.toml"));
    Value::Object(schema)
}

fn object(keys: &[Key]) -> Map<String, Value> {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required = keys.iter().filter(|key| matches!(key.default, Default::Required)).map(|key| key.name);
    let required: Vec<&str> = required.collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = of_kind(&key.kind);
    let later = if key.is_built { "" } else { " Not available in this version." };
    schema["description"] = json!(format!("{}{later}", key.meaning));
    if let Default::Is(text) = key.default
        && let Some(default) = super::read::default_of(key, text)
    {
        schema["default"] = default;
    }
    schema
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text(form) => form.schema(),
        Kind::Integer(from, to) => json!({ "type": "integer", "minimum": from, "maximum": to }),
        Kind::PowerOfTwo(from, to) => {
            let powers: Vec<i64> = (0..62).map(|power| 1 << power).filter(|n| (from..=to).contains(&n)).collect();
            json!({ "enum": powers })
        }
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Texts(form, least, most) => {
            json!({ "type": "array", "items": form.schema(), "minItems": least, "maxItems": most })
        }
        Kind::Table(keys) => Value::Object(object(keys)),
        Kind::Tables(keys, least, most) => {
            json!({ "type": "array", "items": object(keys), "minItems": least, "maxItems": most })
        }
        Kind::TextOr(form, keys) => json!({ "anyOf": [form.schema(), object(keys)] }),
        Kind::Several(form, keys, most) => {
            let mut one = vec![form.schema()];
            if !keys.is_empty() {
                one.push(Value::Object(object(keys)));
            }
            let all = json!({ "type": "array", "items": { "anyOf": one }, "maxItems": most });
            let mut any = one;
            any.push(all);
            json!({ "anyOf": any })
        }
        Kind::TextOrTexts(form, each, least, most) => {
            let list = json!({ "type": "array", "items": each.schema(), "minItems": least, "maxItems": most });
            json!({ "anyOf": [form.schema(), list] })
        }
        Kind::Properties => json!({ "type": "object" }),
        Kind::Entries(_, form, keys, most) => {
            let mut one = vec![form.schema()];
            if !keys.is_empty() {
                one.push(Value::Object(object(keys)));
            }
            json!({
                "type": "object", "additionalProperties": { "anyOf": one }, "minProperties": 1, "maxProperties": most,
            })
        }
    }
}
