//! `WEIR__SECTION__KEY` variables over the file. They are typed like the file; lists and sources are the
//! file's alone. A variable that sets nothing is an error: it is more likely misspelt than meant.

use serde_json::{Map, Value};
use toml_edit::Item;

use super::keys::{Default, Key, Kind, ROOT};
use super::nearest;
use super::read::{join, single};
use super::report::Report;

const PREFIX: &str = "WEIR__";

/// Puts the variables' values into the tree.
pub(super) fn overlay(variables: &[(String, String)], tree: &mut Map<String, Value>, report: &mut Report) {
    let mut ours: Vec<(&str, &str)> = Vec::new();
    for (name, value) in variables {
        if name.starts_with(PREFIX) {
            ours.push((name, value));
        }
    }
    ours.sort_unstable();
    for (name, value) in ours {
        set(name, value, tree, report);
    }
}

fn set(variable: &str, value: &str, tree: &mut Map<String, Value>, report: &mut Report) {
    let name = variable.strip_prefix(PREFIX).unwrap_or(variable);
    let words: Vec<String> = name.split("__").map(str::to_ascii_lowercase).collect();
    let (mut keys, mut tree, mut path) = (ROOT, tree, String::new());
    for (position, word) in words.iter().enumerate() {
        let Some(key) = keys.iter().find(|key| key.name == *word) else {
            report.comes_from(variable, variable);
            report
                .error(variable, nearest::hint("sets no key".to_owned(), variable, names().iter().map(String::as_str)));
            return;
        };
        path = join(&path, key.name);
        let rest = words.get(position + 1..).unwrap_or_default();
        if matches!(key.default, Default::Section) && !rest.is_empty() {
            let inner = tree.entry(key.name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = inner else { return };
            tree = inner;
            keys = key.inner();
            if matches!(key.kind, Kind::Properties) {
                // No property of librdkafka has an underscore in its name.
                let property = rest.join("_").replace('_', ".");
                report.comes_from(&join(&path, &property), variable);
                tree.insert(property, value.into());
                return;
            }
            continue;
        }
        report.comes_from(&path, variable);
        scalar(key, value, &path, tree, report);
        return;
    }
}

fn scalar(key: &Key, text: &str, path: &str, tree: &mut Map<String, Value>, report: &mut Report) {
    let item = match &key.kind {
        // A list of its own is the file's alone; a name is a text like any other.
        Kind::Text(_) | Kind::TextOrTexts(..) => Some(toml_edit::value(text)),
        Kind::Integer(..) | Kind::PowerOfTwo(..) => text.parse::<i64>().ok().map(toml_edit::value),
        Kind::Flag => text.parse::<bool>().ok().map(toml_edit::value),
        Kind::Texts(..) | Kind::Tables(..) | Kind::Several(..) => {
            report.error(path, "lists are not settable by environment: use the file");
            return;
        }
        Kind::Table(_) | Kind::TextOr(..) | Kind::Properties | Kind::Entries(..) => {
            report.error(path, "tables are not settable by environment: use the file");
            return;
        }
    };
    let item = item.unwrap_or_else(|| Item::from(toml_edit::Value::from(text)));
    // What the file says is overridden either way: a value that cannot be used is reported, not ignored.
    tree.remove(key.name);
    tree.extend(single(key, &item, path, report).map(|value| (key.name.to_owned(), value)));
}

/// Every variable that sets something, `[kafka.client]` aside.
fn names() -> Vec<String> {
    let mut names = Vec::new();
    for key in ROOT {
        let name = format!("{PREFIX}{}", key.name.to_ascii_uppercase());
        if matches!(key.default, Default::Section) {
            names.extend(key.inner().iter().map(|inner| format!("{name}__{}", inner.name.to_ascii_uppercase())));
        } else {
            names.push(name);
        }
    }
    names
}
