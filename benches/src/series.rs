//! Figures of contestants over rounds: medians, spreads and ratios; as a table and as JSON.
//!
//! A ratio is taken round by round and then its median, because two contestants of one round met the same machine.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};
use weir_tests::place;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Its key in JSON, with the unit.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Decimals shown.
    pub decimals: usize,
}

/// A shorthand for tables of figures.
pub const fn figure(name: &'static str, title: &'static str, decimals: usize) -> Figure {
    Figure { name, title, decimals }
}

/// What was measured, in order.
#[derive(Debug, Clone)]
pub struct Series {
    title: String,
    is_comparison: bool,
    figures: &'static [Figure],
    contestants: Vec<String>,
    values: BTreeMap<(String, &'static str), Vec<f64>>,
}

impl Series {
    /// Nothing measured yet.
    pub fn new(title: impl Into<String>, figures: &'static [Figure]) -> Self {
        let (contestants, values) = (Vec::new(), BTreeMap::new());
        Self { title: title.into(), is_comparison: true, figures, contestants, values }
    }

    /// Of rows that are different situations: a ratio between them would say nothing.
    pub fn of_situations(title: impl Into<String>, figures: &'static [Figure]) -> Self {
        Self { is_comparison: false, ..Self::new(title, figures) }
    }

    /// The contestant that is compared, and those it is compared with.
    fn comparison(&self) -> Option<(&String, &[String])> {
        self.contestants.split_first().filter(|_| self.is_comparison)
    }

    /// Adds one value of this round.
    pub fn add(&mut self, contestant: &str, name: &'static str, value: f64) {
        assert!(self.figures.iter().any(|figure| figure.name == name), "{name} is no figure of {}", self.title);
        if !self.contestants.iter().any(|known| known == contestant) {
            self.contestants.push(contestant.to_owned());
        }
        self.values.entry((contestant.to_owned(), name)).or_default().push(value);
    }

    fn of(&self, contestant: &str, name: &'static str) -> &[f64] {
        self.values.get(&(contestant.to_owned(), name)).map_or(&[], Vec::as_slice)
    }

    fn ratios(&self, of: &str, to: &str, name: &'static str) -> Vec<f64> {
        let pairs = self.of(of, name).iter().zip(self.of(to, name));
        pairs.filter(|(_, to)| **to > 0.0).map(|(of, to)| of / to).collect()
    }

    /// A table: a row for each contestant, then the first one against each of the others.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        let titles = self.figures.iter().map(|figure| figure.title);
        table.set_header(std::iter::once(self.title.as_str()).chain(titles));
        for contestant in &self.contestants {
            let cells = self.figures.iter().map(|figure| spread(self.of(contestant, figure.name), figure.decimals));
            table.add_row(std::iter::once(contestant.clone()).chain(cells));
        }
        if let Some((first, others)) = self.comparison() {
            for other in others {
                let ratio = |figure: &Figure| match median(&self.ratios(first, other, figure.name)) {
                    Some(ratio) => format!("{ratio:.2} x"),
                    None => "-".to_owned(),
                };
                let cells = self.figures.iter().map(ratio);
                table.add_row(std::iter::once(format!("{first} / {other}")).chain(cells));
            }
        }
        for at in 1..=self.figures.len() {
            if let Some(column) = table.column_mut(at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }

    /// Every value of every round.
    pub fn json(&self) -> Value {
        let contestants = self.contestants.iter().map(|contestant| {
            let figures = self.figures.iter().map(|figure| {
                let values = self.of(contestant, figure.name);
                (figure.name.to_owned(), json!({ "median": median(values), "rounds": values }))
            });
            (contestant.clone(), Value::Object(figures.collect()))
        });
        let mut ratios = serde_json::Map::new();
        if let Some((first, others)) = self.comparison() {
            for other in others {
                let figures = self
                    .figures
                    .iter()
                    .map(|figure| (figure.name.to_owned(), json!(median(&self.ratios(first, other, figure.name)))));
                ratios.insert(format!("{first}/{other}"), Value::Object(figures.collect()));
            }
        }
        json!({ "title": self.title, "contestants": Value::Object(contestants.collect()), "ratios": ratios })
    }
}

/// The middle value; of an even number the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Median, and the smallest and greatest of several rounds.
fn spread(values: &[f64], decimals: usize) -> String {
    let Some(median) = median(values) else { return "-".to_owned() };
    let number = |value: f64| grouped(value, decimals);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if number(least) == number(most) {
        return number(median);
    }
    format!("{} ({}-{})", number(median), number(least), number(most))
}

/// `1234567.8` as `1,234,568`.
fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out
}

/// Prints tables and writes them with facts and settings to `target/bench/<name>.json`.
pub fn report(name: &str, facts: &Value, settings: &Value, series: &[Series]) -> Result<()> {
    for one in series {
        println!("{}", one.table());
    }
    let path = place::target("bench")?.join(format!("{name}.json"));
    let tables: Vec<Value> = series.iter().map(Series::json).collect();
    let json = json!({ "bench": name, "machine": facts, "settings": settings, "tables": tables });
    let text = serde_json::to_string_pretty(&json).context("cannot write JSON")?;
    std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}\n", place::shown(&path));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        const FIGURES: [Figure; 1] = [figure("speed", "speed", 0)];
        let mut series = Series::new("t", &FIGURES);
        for (a, b) in [(10.0, 20.0), (30.0, 10.0), (5.0, 10.0)] {
            series.add("a", "speed", a);
            series.add("b", "speed", b);
        }
        assert_eq!(median(&series.ratios("a", "b", "speed")), Some(0.5));
        assert_eq!(series.json()["ratios"]["a/b"]["speed"], 0.5);
        assert!(series.table().contains("10 (5-30)"), "{}", series.table());
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (value, decimals, text) in
            [(1_234_567.8, 0, "1,234,568"), (12.345, 2, "12.35"), (-1234.0, 0, "-1,234"), (999.0, 1, "999.0")]
        {
            assert_eq!(grouped(value, decimals), text);
        }
    }
}
