//! The final table, and a few clean events as a person would like to see them.

use std::collections::BTreeMap;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use crate::check::Trouble;
use crate::observed::Emitted;
use crate::run::Books;
use crate::screen::number;
use crate::sources::Source;
use crate::tallies::Row;

const COLUMNS: [&str; 10] =
    ["source", "sent", "accepted", "refused", "clean", "duplicate", "stale", "dead", "out of order", "lost"];
/// How much of a body is shown.
const BODY_CHARACTERS: usize = 110;

/// The books, one row a source.
pub fn ledger(books: &Books) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(COLUMNS);
    let mut total = [0; COLUMNS.len() - 1];
    for (source, row) in &books.tallies.rows {
        let numbers = numbers(books, *source, row);
        for (sum, number) in total.iter_mut().zip(numbers) {
            *sum += number;
        }
        add(&mut table, source.name(), numbers);
    }
    let astray = books.tallies.astray;
    if astray > 0 {
        add(&mut table, "(unknown)", [astray, 0, astray, 0, 0, 0, 0, 0, 0]);
        total[0] += astray;
        total[2] += astray;
    }
    add(&mut table, "total", total);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn numbers(books: &Books, source: Source, row: &Row) -> [u64; COLUMNS.len() - 1] {
    let count = |trouble: Trouble| {
        let of_it = books.findings.iter().filter(|found| found.trouble == trouble && found.source == Some(source));
        of_it.count() as u64
    };
    let address = format!("/hooks/{}", source.name());
    let found = books.observed.clean.iter().filter(|record| record.header("ce_source") == Some(&address));
    let dead = books.observed.dead.iter().filter(|letter| letter.source == source.name());
    [
        row.sent,
        row.accepted,
        row.refused,
        found.count() as u64,
        row.duplicate,
        row.stale,
        dead.count() as u64,
        count(Trouble::Reordered),
        count(Trouble::Lost),
    ]
}

fn add(table: &mut Table, name: &str, numbers: [u64; COLUMNS.len() - 1]) {
    table.add_row(std::iter::once(name.to_owned()).chain(numbers.map(number)));
}

/// Why requests were refused, as the callers were told, and dead letters by reason.
pub fn reasons(books: &Books) -> String {
    let line = |title: &str, reasons: &BTreeMap<String, u64>| {
        let parts = reasons.iter().map(|(reason, times)| format!("{} {reason}", number(*times)));
        format!("{title}: {}\n", parts.collect::<Vec<_>>().join(", "))
    };
    let mut dead = BTreeMap::new();
    for letter in &books.observed.dead {
        *dead.entry(letter.reason.clone()).or_default() += 1;
    }
    let mut out = line("refused at the door", &books.tallies.refused) + &line("dead letters", &dead);
    if books.tallies.handshakes > 0 {
        out.push_str(&format!("handshakes answered: {}\n", number(books.tallies.handshakes)));
    }
    out
}

/// One clean event of each source.
pub fn examples(books: &Books) -> String {
    let mut out = String::new();
    for source in Source::ALL {
        let address = format!("/hooks/{}", source.name());
        let mut records = books.observed.clean.iter().rev();
        if let Some(record) = records.find(|record| record.header("ce_source") == Some(&address)) {
            out.push_str(&example(record));
        }
    }
    out
}

fn example(record: &Emitted) -> String {
    let header = |name: &str| record.header(name).unwrap_or("-").to_owned();
    let body: String = record.beginning.split_whitespace().collect::<Vec<_>>().join(" ");
    let body: String = body.chars().take(BODY_CHARACTERS).collect();
    format!(
        "  {}  {}\n    id {}  at {}  from {}  number {}\n    {body}…\n",
        header("ce_type"),
        header("ce_subject"),
        header("ce_id").chars().take(40).collect::<String>(),
        header("ce_time"),
        header("weir-src"),
        header("weir-seq"),
    )
}
