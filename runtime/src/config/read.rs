//! Reads a TOML document along the table of keys: what is unknown, of the wrong type or out of range is
//! reported with its line and left out, so that everything else can still be looked at.

use serde_json::{Map, Value};
use toml_edit::{Item, TableLike};

use super::form::Form;
use super::keys::{Default, Key, Kind, ROOT};
use super::nearest;
use super::report::Report;

/// What could be used of a document; `None` when it is not TOML at all.
pub(super) fn file(text: &str, report: &mut Report) -> Option<Map<String, Value>> {
    match toml_edit::Document::parse(text) {
        Ok(document) => Some(Reader { text, report }.table(document.as_table(), ROOT, "")),
        Err(error) => {
            if let Some(span) = error.span() {
                report.stands_on("", line_at(text, span.start));
            }
            report.error("", format!("is not TOML: {}", error.message().trim()));
            None
        }
    }
}

/// The value of one key from elsewhere than the file.
pub(super) fn single(key: &Key, item: &Item, path: &str, report: &mut Report) -> Option<Value> {
    Reader { text: "", report }.value(key, item, path)
}

/// Puts the defaults where nothing stands, and reports what is required and missing.
pub(super) fn fill(keys: &[Key], tree: &mut Map<String, Value>, path: &str, report: &mut Report) {
    for key in keys.iter().filter(|key| key.is_built) {
        let here = join(path, key.name);
        if !tree.contains_key(key.name) {
            match key.default {
                Default::Is(text) => tree.extend(default_of(key, text).map(|value| (key.name.to_owned(), value))),
                Default::Section => tree.extend([(key.name.to_owned(), Value::Object(Map::new()))]),
                Default::Required => report.error(&here, "is missing"),
                Default::Else(_) => {}
            }
        }
        match tree.get_mut(key.name) {
            Some(Value::Object(inner)) => fill(key.inner(), inner, &here, report),
            Some(Value::Array(items)) => {
                for (position, item) in items.iter_mut().enumerate() {
                    if let Value::Object(inner) = item {
                        fill(key.inner(), inner, &format!("{here}[{position}]"), report);
                    }
                }
            }
            Some(_) | None => {}
        }
    }
}

/// A key's default, shaped as the tree holds it: it goes the way of what is written, so it has the same shape.
pub(super) fn default_of(key: &Key, text: &str) -> Option<Value> {
    let value = text.parse::<toml_edit::Value>().ok()?;
    // The table's own defaults are checked by a test: no problem can come up here.
    let mut unused = Report::new("".as_ref());
    Reader { text, report: &mut unused }.shaped(key, &Item::Value(value), key.name)
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

struct Reader<'a> {
    text: &'a str,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn place(&mut self, path: &str, span: Option<std::ops::Range<usize>>) {
        if let Some(span) = span {
            self.report.stands_on(path, line_at(self.text, span.start));
        }
    }

    fn table(&mut self, table: &dyn TableLike, keys: &[Key], path: &str) -> Map<String, Value> {
        let mut read = Map::new();
        for (name, item) in table.iter() {
            let here = join(path, name);
            self.place(&here, table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span()));
            match keys.iter().find(|key| key.name == name) {
                Some(key) => read.extend(self.value(key, item, &here).map(|value| (name.to_owned(), value))),
                None => self.report.error(&here, unknown(name, keys, path)),
            }
        }
        read
    }

    fn value(&mut self, key: &Key, item: &Item, path: &str) -> Option<Value> {
        let value = self.shaped(key, item, path)?;
        if key.is_built {
            return Some(value);
        }
        let is_default = match key.default {
            Default::Is(text) => default_of(key, text).as_ref() == Some(&value),
            Default::Else(_) | Default::Section | Default::Required => false,
        };
        if !is_default {
            self.report.error(path, "not available in this version: leave it out");
        }
        None
    }

    fn shaped(&mut self, key: &Key, item: &Item, path: &str) -> Option<Value> {
        match &key.kind {
            Kind::Text(form) => self.text(*form, item, path),
            Kind::Integer(from, to) => self.integer(item, *from, *to, path).map(Value::from),
            Kind::PowerOfTwo(from, to) => {
                let number = self.integer(item, *from, *to, path)?;
                if u64::try_from(number).is_ok_and(u64::is_power_of_two) {
                    return Some(number.into());
                }
                self.report.error(
                    path,
                    format!("{number} is not a power of two: use {} or {}", below(number), below(number) * 2),
                );
                None
            }
            Kind::Flag => self.expect(item.as_bool(), "true or false", item, path).map(Value::from),
            Kind::Texts(form, least, most) => {
                let items = self.expect(item.as_array(), "a list of texts", item, path)?;
                self.list(items.iter(), (*least, *most), path, |reader, item, path| reader.text(*form, item, path))
            }
            Kind::Table(keys) => {
                let table = self.expect(item.as_table_like(), "a table", item, path)?;
                Some(Value::Object(self.table(table, keys, path)))
            }
            Kind::Tables(keys, least, most) => self.tables(keys, item, (*least, *most), path),
            Kind::TextOr(form, keys) => self.text_or_table(*form, keys, item, path),
            Kind::Several(form, keys, most) => match item.as_array() {
                Some(items) => self.list(items.iter(), (0, *most), path, |reader, item, path| {
                    reader.text_or_table(*form, keys, item, path)
                }),
                None => self.text_or_table(*form, keys, item, path).map(|one| Value::Array(vec![one])),
            },
            Kind::TextOrTexts(form, each, least, most) => match item.as_array() {
                Some(items) => {
                    self.list(items.iter(), (*least, *most), path, |reader, item, path| reader.text(*each, item, path))
                }
                None if item.is_str() => self.text(*form, item, path),
                None => self.expect(None, "a text or a list of texts", item, path),
            },
            Kind::Properties => {
                let table = self.expect(item.as_table_like(), "a table of properties", item, path)?;
                let mut read = Map::new();
                self.properties(table, path, "", &mut read);
                Some(Value::Object(read))
            }
            Kind::Entries(name, form, keys, most) => self.entries((*name, *form), keys, *most, item, path),
        }
    }

    fn text(&mut self, form: Form, item: &Item, path: &str) -> Option<Value> {
        let expected = if matches!(form, Form::Length(..)) {
            "a text such as \"5s\""
        } else if matches!(form, Form::Size(..)) {
            "a text such as \"1MiB\""
        } else {
            "a text"
        };
        let text = self.expect(item.as_str(), expected, item, path)?;
        match form.check(text) {
            Ok(()) => Some(text.into()),
            Err(message) => {
                self.report.error(path, message);
                None
            }
        }
    }

    fn integer(&mut self, item: &Item, from: i64, to: i64, path: &str) -> Option<i64> {
        let number = self.expect(item.as_integer(), "a whole number", item, path)?;
        if (from..=to).contains(&number) {
            return Some(number);
        }
        self.report.error(path, format!("{number} is out of range: {from} to {to}"));
        None
    }

    fn text_or_table(&mut self, form: Form, keys: &[Key], item: &Item, path: &str) -> Option<Value> {
        match item.as_table_like() {
            Some(table) => Some(Value::Object(self.table(table, keys, path))),
            None if item.is_str() => self.text(form, item, path),
            None => self.expect(None, "a text or a table", item, path),
        }
    }

    fn tables(&mut self, keys: &[Key], item: &Item, bounds: (usize, usize), path: &str) -> Option<Value> {
        if let Some(tables) = item.as_array_of_tables() {
            // Each `[[…]]` is an entry with a line of its own.
            let entries: Vec<Item> = tables.iter().cloned().map(Item::Table).collect();
            return self.items(&entries, bounds, path, |reader, item, path| {
                item.as_table_like().map(|table| Value::Object(reader.table(table, keys, path)))
            });
        }
        let expected = if path == "source" { "a list of tables, each headed [[source]]" } else { "a list of tables" };
        let items = self.expect(item.as_array(), expected, item, path)?;
        self.list(items.iter(), bounds, path, |reader, item, path| {
            let table = reader.expect(item.as_table_like(), "a table", item, path)?;
            Some(Value::Object(reader.table(table, keys, path)))
        })
    }

    fn list<'v>(
        &mut self,
        values: impl Iterator<Item = &'v toml_edit::Value>,
        bounds: (usize, usize),
        path: &str,
        read: impl Fn(&mut Self, &Item, &str) -> Option<Value>,
    ) -> Option<Value> {
        let items: Vec<Item> = values.cloned().map(Item::Value).collect();
        self.items(&items, bounds, path, read)
    }

    fn items(
        &mut self,
        items: &[Item],
        (least, most): (usize, usize),
        path: &str,
        read: impl Fn(&mut Self, &Item, &str) -> Option<Value>,
    ) -> Option<Value> {
        if !(least..=most).contains(&items.len()) {
            self.report.error(path, format!("has {} entries: {least} to {most} are allowed", items.len()));
            return None;
        }
        let mut values = Vec::new();
        for (position, item) in items.iter().enumerate() {
            let here = format!("{path}[{position}]");
            self.place(&here, item.span());
            values.extend(read(self, item, &here));
        }
        if values.len() < items.len() {
            // The problem is reported where it is; without the entry the list would mean something else.
            self.report.spoil(path);
            return None;
        }
        Some(Value::Array(values))
    }

    /// A table whose names are the operator's own.
    fn entries(
        &mut self,
        (name_form, form): (Form, Form),
        keys: &[Key],
        most: usize,
        item: &Item,
        path: &str,
    ) -> Option<Value> {
        let table = self.expect(item.as_table_like(), "a table", item, path)?;
        if !(1..=most).contains(&table.len()) {
            self.report.error(path, format!("has {} entries: 1 to {most} are allowed", table.len()));
            return None;
        }
        let mut read = Map::new();
        for (name, item) in table.iter() {
            let here = join(path, name);
            self.place(&here, table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span()));
            if let Err(message) = name_form.check(name) {
                self.report.error(&here, message);
                continue;
            }
            let value = if keys.is_empty() {
                self.text(form, item, &here)
            } else {
                self.text_or_table(form, keys, item, &here)
            };
            read.extend(value.map(|value| (name.to_owned(), value)));
        }
        if read.len() < table.len() {
            // As in a list: without the entry the table would mean something else.
            self.report.spoil(path);
            return None;
        }
        Some(Value::Object(read))
    }

    /// Properties have dots in their names; unquoted, TOML reads those as tables.
    fn properties(&mut self, table: &dyn TableLike, path: &str, prefix: &str, read: &mut Map<String, Value>) {
        for (name, item) in table.iter() {
            let property = join(prefix, name);
            let here = join(path, &property);
            self.place(&here, table.key(name).and_then(toml_edit::Key::span));
            if let Some(inner) = item.as_table_like() {
                self.properties(inner, path, &property, read);
                continue;
            }
            let text = item.as_str().map(str::to_owned);
            let text = text.or_else(|| item.as_integer().map(|number| number.to_string()));
            let text = text.or_else(|| item.as_bool().map(|flag| flag.to_string()));
            if let Some(text) = self.expect(text, "a text, a number or a flag", item, &here) {
                read.insert(property, text.into());
            }
        }
    }

    fn expect<T>(&mut self, found: Option<T>, expected: &str, item: &Item, path: &str) -> Option<T> {
        if found.is_none() {
            self.report.error(path, format!("takes {expected}, not {}", type_of(item)));
        }
        found
    }
}

fn below(number: i64) -> i64 {
    1 << number.max(1).ilog2()
}

fn type_of(item: &Item) -> &'static str {
    match item.type_name() {
        "string" => "a text",
        "integer" => "a number",
        "float" => "a number with a fraction",
        "boolean" => "true or false",
        "datetime" => "a date",
        "array" | "array of tables" => "a list",
        _ => "a table",
    }
}

fn unknown(name: &str, keys: &[Key], path: &str) -> String {
    let message = "is not a key".to_owned();
    let elsewhere =
        ROOT.iter().find(|section| section.name != path && section.inner().iter().any(|key| key.name == name));
    match elsewhere {
        Some(section) if section.name == "source" => "is not a key here: it belongs in [[source]]".to_owned(),
        Some(section) => format!("is not a key here: it belongs in [{}]", section.name),
        None => nearest::hint(message, name, keys.iter().map(|key| key.name)),
    }
}
