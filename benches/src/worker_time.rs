//! Where a worker's time goes, by the processor's own histogram of its actions.
//!
//! A worker does one thing at a time, so the parts add up to the run: what is not CPU is waiting for Kafka.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use weir_tests::wire::{Client, Request};

use crate::series::{Figure, Series, figure};

/// Shares of the time from the first transaction to the last, and what a transaction holds.
pub const WORKER_TIME: [Figure; 10] = [
    figure("collect_percent", "collect %", 1),
    figure("begin_percent", "begin %", 1),
    figure("produce_percent", "decide, produce, settle %", 1),
    figure("send_offsets_percent", "send offsets %", 1),
    figure("commit_percent", "commit %", 1),
    figure("apply_percent", "apply %", 1),
    figure("recycle_percent", "recycle %", 1),
    figure("recycles", "recycles", 0),
    figure("transactions", "transactions", 0),
    figure("events_per_transaction", "events each", 0),
];

const PARTS: [(&str, &str); 7] = [
    ("begin", "begin_percent"),
    ("collect", "collect_percent"),
    ("produce", "produce_percent"),
    ("send_offsets", "send_offsets_percent"),
    ("commit", "commit_percent"),
    ("apply", "apply_percent"),
    ("recycle", "recycle_percent"),
];

/// Adds what the processor of that name says of itself after `events` events.
pub async fn add(series: &mut Series, name: &str, admin: SocketAddr, events: u64) -> Result<()> {
    let answer = Client::new(admin).send(&Request::get("/metrics")).await?;
    ensure!(answer.status == 200, "/metrics answered {}", answer.status);
    let page = answer.text();
    let sum: f64 = PARTS.iter().filter_map(|(action, _)| value(&page, "sum", action)).sum();
    for (action, figure) in PARTS {
        series.add(name, figure, value(&page, "sum", action).unwrap_or_default() * 100.0 / sum.max(1e-9));
    }
    let transactions = value(&page, "count", "apply").context("the processor applied no transaction")?;
    series.add(name, "transactions", transactions);
    series.add(name, "recycles", value(&page, "count", "recycle").unwrap_or_default());
    series.add(name, "events_per_transaction", events as f64 / transactions.max(1.0));
    Ok(())
}

fn value(page: &str, of: &str, action: &str) -> Option<f64> {
    let start = format!("weir_processor_action_seconds_{of}{{action=\"{action}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&start))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_counts_are_found_by_action() {
        let page = "weir_processor_action_seconds_sum{action=\"commit\"} 1.5\n\
                    weir_processor_action_seconds_count{action=\"commit\"} 3\n";
        assert_eq!((value(page, "sum", "commit"), value(page, "count", "commit")), (Some(1.5), Some(3.0)));
        assert_eq!(value(page, "sum", "collect"), None);
    }
}
