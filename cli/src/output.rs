//! The only place that prints: tables for people, JSON for programs, from the same rows.
//!
//! A row's JSON keys are its table's columns. What comes out of a topic is made harmless before it reaches a
//! terminal, in every form: an event must not move the cursor of whoever looks at it.

pub mod rows;

use std::io::{ErrorKind, Write};

use comfy_table::{Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets};
pub use runtime::report::harmless;
use runtime::report::{Failure, harmless_lines, is_harmful};
use serde::Serialize;
use serde_json::Value;

/// Spaces around a cell.
const CELL_PADDING: u16 = 2;
/// A narrower last column is not worth folding: the terminal does it better.
const LAST_COLUMN_MIN: u16 = 24;

/// Form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people.
    Table,
    /// One array.
    Json,
    /// One object a line.
    Jsonl,
}

/// A line of a list.
pub trait Row: Serialize {
    /// Its keys, in order; the table's columns.
    const COLUMNS: &'static [&'static str];

    /// Colour of a cell on a terminal that wants colours.
    fn color(&self, _column: &str) -> Option<Color> {
        None
    }
}

/// Something that is shown one at a time, as it comes.
pub trait Line: Serialize {
    /// One line for a person. It may hold anything: it is made harmless when it is printed.
    fn pretty(&self) -> String;
}

/// Where a command prints to.
pub struct Output<'a> {
    out: Box<dyn Write + 'a>,
    asked: Option<Form>,
    is_terminal: bool,
    is_colored: bool,
    is_array_open: bool,
    /// What happens when nobody reads any more.
    deafness: Deafness,
}

/// What becomes of a command whose reader has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deafness {
    /// It ends: nothing is left to do.
    Ends,
    /// It goes on: what it changes matters more than what it says.
    IsBorne,
    /// It goes on, and nobody hears it.
    IsThere,
}

impl<'a> Output<'a> {
    /// An output; `asked` wins over what `is_terminal` suggests.
    pub fn new(out: Box<dyn Write + 'a>, asked: Option<Form>, is_terminal: bool, is_colored: bool) -> Self {
        Self { out, asked, is_terminal, is_colored, is_array_open: false, deafness: Deafness::Ends }
    }

    /// From now on a reader who leaves stops nothing: the command goes on to its own end and exit code.
    pub fn bear_deafness(&mut self) {
        self.deafness = Deafness::IsBorne;
    }

    /// The form of lists.
    pub fn form(&self) -> Form {
        self.asked.unwrap_or(if self.is_terminal { Form::Table } else { Form::Jsonl })
    }

    /// The form, if one was asked for.
    pub fn asked(&self) -> Option<Form> {
        self.asked
    }

    /// Whether what is printed appears on a terminal.
    pub fn is_on_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Prints a list of nothing for whoever reads an array; a person is told in words.
    pub fn nothing(&mut self) -> Result<(), Failure> {
        match self.form() {
            Form::Json => self.text("[]\n"),
            Form::Table | Form::Jsonl => Ok(()),
        }
    }

    /// Prints a whole list.
    pub fn list<R: Row>(&mut self, rows: &[R]) -> Result<(), Failure> {
        match self.form() {
            Form::Table => {
                let table = self.table(rows)?;
                self.text(&table)
            }
            Form::Json => self.document(&rows),
            Form::Jsonl => {
                for row in rows {
                    self.object(row)?;
                }
                self.flush()
            }
        }
    }

    /// Prints one thing: an object in JSON, keys and values below each other in a table.
    pub fn one<R: Row>(&mut self, row: &R) -> Result<(), Failure> {
        match self.form() {
            Form::Table => {
                let value = serde_json::to_value(row).map_err(Failure::internal)?;
                let mut table = self.bare_table();
                for column in R::COLUMNS {
                    let cell = Cell::new(cell_text(value.get(column), harmless_lines));
                    table.add_row(vec![Cell::new(column), cell]);
                }
                fold_last_column(&mut table);
                self.text(&format!("{}\n", table.trim_fmt()))
            }
            Form::Json => self.document(row),
            Form::Jsonl => self.object(row),
        }
    }

    /// Prints the next of things that come one at a time; [`finish`](Self::finish) closes them.
    pub fn next(&mut self, line: &impl Line) -> Result<(), Failure> {
        match self.form() {
            Form::Table => self.text(&format!("{}\n", harmless(&line.pretty()))),
            Form::Json | Form::Jsonl => self.item(line),
        }
    }

    /// The next element of a list in JSON.
    fn item(&mut self, item: &impl Serialize) -> Result<(), Failure> {
        if self.form() != Form::Json {
            return self.object(item);
        }
        let before = if self.is_array_open { ",\n" } else { "[\n" };
        self.is_array_open = true;
        let text = json(item)?;
        self.write(&format!("{before}{text}"))
    }

    /// A whole document in JSON.
    fn document(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(Failure::internal)?;
        self.text(&format!("{}\n", harmless_json(text)))
    }

    /// Ends what [`next`](Self::next) began. `is_empty_list`: nothing came, which is an empty array in JSON.
    pub fn end_of_list(&mut self) -> Result<(), Failure> {
        if self.form() == Form::Json && !self.is_array_open {
            self.write("[")?;
            self.is_array_open = true;
        }
        self.finish()
    }

    /// Closes what is open and flushes.
    pub fn finish(&mut self) -> Result<(), Failure> {
        if self.is_array_open {
            self.is_array_open = false;
            self.write("\n]\n")?;
        }
        self.flush()
    }

    /// Prints a text as it is: a document, not a list.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.write(text)?;
        self.flush()
    }

    /// Prints bytes as they are, whatever they are: they were asked for.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.put(|out| out.write_all(bytes))?;
        self.flush()
    }

    fn object(&mut self, row: &impl Serialize) -> Result<(), Failure> {
        let text = json(row)?;
        self.write(&format!("{text}\n"))
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.put(|out| out.write_all(text.as_bytes()))
    }

    fn put(&mut self, put: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Failure> {
        if self.deafness == Deafness::IsThere {
            return Ok(());
        }
        match put(&mut *self.out) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe && self.deafness == Deafness::IsBorne => {
                self.deafness = Deafness::IsThere;
                Ok(())
            }
            put => put.map_err(Failure::internal),
        }
    }

    /// Hands over what was printed. Who follows a topic sees each event when it comes.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.put(|out| out.flush())
    }

    fn table<R: Row>(&self, rows: &[R]) -> Result<String, Failure> {
        let mut table = self.bare_table();
        table.set_header(R::COLUMNS);
        for row in rows {
            let value = serde_json::to_value(row).map_err(Failure::internal)?;
            table.add_row(R::COLUMNS.iter().map(|column| {
                let cell = cell_of(value.get(column));
                match row.color(column).filter(|_| self.is_colored) {
                    Some(color) => cell.fg(color),
                    None => cell,
                }
            }));
        }
        fold_last_column(&mut table);
        Ok(format!("{}\n", table.trim_fmt()))
    }

    fn bare_table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if !self.is_terminal {
            table.force_no_tty();
        }
        if self.is_colored {
            table.enforce_styling();
        }
        table
    }
}

/// Lets the last column, which holds the long texts, use what is left of the terminal's width. The others are never
/// folded: an id or a time that goes over two lines cannot be copied.
fn fold_last_column(table: &mut Table) {
    let widths = table.column_max_content_widths();
    let Some((_, others)) = widths.split_last() else {
        return;
    };
    let needed: u16 = others.iter().map(|width| width.saturating_add(CELL_PADDING)).sum();
    if table.width().is_some_and(|width| width >= needed.saturating_add(LAST_COLUMN_MIN)) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_constraints(others.iter().map(|_| ColumnConstraint::ContentWidth));
    }
}

fn cell_of(value: Option<&Value>) -> Cell {
    let cell = Cell::new(cell_text(value, harmless));
    if value.is_some_and(Value::is_number) { cell.set_alignment(CellAlignment::Right) } else { cell }
}

/// How a JSON value reads in a table: nothing is `-`, a list is one item a line. `made_harmless`: what happens to a
/// text, whose line breaks are an event's and would look like rows of their own where several stand below each other.
fn cell_text(value: Option<&Value>, made_harmless: fn(&str) -> String) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => made_harmless(text),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| cell_text(Some(item), made_harmless)).collect();
            items.join("\n")
        }
        Some(value @ (Value::Number(_) | Value::Object(_))) => harmless(&value.to_string()),
    }
}

/// A value on one line.
fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map(harmless_json).map_err(Failure::internal)
}

/// JSON leaves everything above U+001F in a text as it is. Outside of texts there is nothing above U+007E, so escapes
/// can take the place of whatever a terminal would obey.
fn harmless_json(text: String) -> String {
    let must_go = |c: char| c > '~' && is_harmful(c);
    if !text.contains(must_go) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if must_go(c) {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests;
