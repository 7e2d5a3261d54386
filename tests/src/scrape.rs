//! The admin pages of a process: is it ready, and what does it count?

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::wire::{Client, Request};

/// A page of metrics.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Whether a process says that it can do its job; if not, why.
pub async fn readiness(admin: SocketAddr) -> Result<(), String> {
    let answer = Client::new(admin).send(&Request::get("/readyz")).await.map_err(|error| format!("{error:#}"))?;
    match answer.status {
        200 => Ok(()),
        503 => {
            let body: Value = serde_json::from_slice(&answer.body).map_err(|_| "readyz is no JSON".to_owned())?;
            let reasons = body["reasons"].as_array().ok_or("readyz gives no reasons")?;
            Err(reasons.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "))
        }
        status => Err(format!("readyz answered {status}")),
    }
}

/// What a process that can do its job wants a person to look at.
pub async fn warnings(admin: SocketAddr) -> Result<Vec<String>, String> {
    let answer = Client::new(admin).send(&Request::get("/readyz")).await.map_err(|error| format!("{error:#}"))?;
    if answer.status != 200 {
        return Err(format!("readyz answered {}", answer.status));
    }
    let body: Value = serde_json::from_slice(&answer.body).map_err(|_| "readyz is no JSON".to_owned())?;
    let warnings = body["warnings"].as_array().cloned().unwrap_or_default();
    Ok(warnings.iter().filter_map(|warning| warning.as_str().map(str::to_owned)).collect())
}

/// Reads a process's metrics.
pub async fn metrics(admin: SocketAddr) -> Result<Metrics> {
    let answer = Client::new(admin).send(&Request::get("/metrics")).await?;
    ensure!(answer.status == 200, "/metrics answered {}", answer.status);
    Metrics::parse(&answer.text())
}

impl Metrics {
    /// Reads Prometheus text.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).with_context(|| format!("not a metric: {line:?}")));
        Ok(Self { samples: samples.collect::<Result<_>>()? })
    }

    /// The sum of all samples of a name with these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let fits = |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|known| known == value);
            sample.name == name && labels.iter().all(has)
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum::<f64>().round() as u64
    }

    /// Every value that a label of a name has.
    pub fn values(&self, name: &str, label: &str) -> Vec<&str> {
        let found = self.samples.iter().filter(|sample| sample.name == name);
        let mut values: Vec<&str> = found.filter_map(|sample| sample.labels.get(label)).map(String::as_str).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// These and those of another process.
    pub fn and(mut self, other: Metrics) -> Self {
        self.samples.extend(other.samples);
        self
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: BTreeMap::new(), value });
    };
    let mut labels = BTreeMap::new();
    let mut rest = rest.strip_suffix('}')?;
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        let end = closing_quote(after)?;
        let text = after[..end].replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\");
        labels.insert(label.to_owned(), text);
        rest = after[end + 1..].trim_start_matches(',');
    }
    Some(Sample { name: name.to_owned(), labels, value })
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_the_labels_that_are_not_asked_for() {
        let text = "# TYPE a counter\na{source=\"x\",reason=\"r\"} 2\na{source=\"x\",reason=\"s,\\\"t\"} 3\n\
                    a{source=\"y\",reason=\"r\"} 4\n\nb 1.5e1\n";
        let metrics = Metrics::parse(text).expect("metrics");
        assert_eq!(metrics.sum("a", &[]), 9);
        assert_eq!(metrics.sum("a", &[("source", "x")]), 5);
        assert_eq!(metrics.sum("a", &[("reason", "s,\"t")]), 3);
        assert_eq!(metrics.sum("b", &[]), 15);
        assert_eq!(metrics.sum("c", &[]), 0);
        assert_eq!(metrics.values("a", "source"), ["x", "y"]);
        assert!(Metrics::parse("a{source=\"x} 1").is_err());
    }
}
