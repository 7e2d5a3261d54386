//! Ways to break the guarantee on purpose. Each must be caught, or the simulator proves nothing.
//!
//! They are built into the doubles of Kafka and the disk, never into the processor: no release binary can contain
//! one. `docs/controls.md` publishes the seed that catches each; a test runs every one of them.

use std::path::Path;

use crate::oracle::Violation;
use crate::simulate::{self, ALL_FAULTS};

/// What is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// Nothing: the real thing.
    None,
    OffsetsOutside,
    StateBeforeCommit,
    MembershipAtCommit,
    NoMembership,
    RestoreToStable,
    RestoreWithoutBarrier,
    NoRecycling,
    DedupInMemory,
    BlindToTears,
    TearsUncommitted,
    TearsToStable,
    TearsWithoutKeys,
    UnstableOffsets,
    CursorBeforeData,
    TrustAnyDisk,
    NoDeltas,
    CarelessBrokers,
    NoLookingBack,
}

/// Everything there is to say about a control.
struct Row {
    control: Control,
    name: &'static str,
    /// What is broken.
    breaks: &'static str,
    /// The test that breaks the same with real brokers.
    broker: Option<&'static str>,
    /// The first seed to try: those before it are known to survive.
    from: u64,
}

const fn row(control: Control, name: &'static str, breaks: &'static str) -> Row {
    Row { control, name, breaks, broker: None, from: 1 }
}

const fn broker(control: Control, name: &'static str, breaks: &'static str, broker: &'static str) -> Row {
    Row { broker: Some(broker), ..row(control, name, breaks) }
}

const ROWS: [Row; 18] = [
    broker(
        Control::OffsetsOutside,
        "offsets outside",
        "offsets are committed at once, outside of the transaction",
        "control_offsets_outside_the_transaction_lose_events",
    ),
    broker(
        Control::StateBeforeCommit,
        "state before commit",
        "what a transaction decides is on disk before it commits",
        "control_state_on_disk_before_its_commit_loses_events",
    ),
    broker(
        Control::DedupInMemory,
        "dedup in memory",
        "seen ids live in memory only",
        "control_ids_in_memory_only_come_out_twice",
    ),
    broker(
        Control::NoRecycling,
        "no recycling",
        "the producer keeps its epoch for ever and aborts under it, while an EndTxn is on the wire",
        "control_an_epoch_that_is_kept_lets_a_late_commit_double_events",
    ),
    row(
        Control::MembershipAtCommit,
        "membership at commit",
        "group metadata is taken when offsets are sent, not when the transaction begins",
    ),
    row(Control::NoMembership, "no membership", "offsets are sent without group metadata"),
    row(
        Control::RestoreToStable,
        "restore to the LSO",
        "restore ends at the changelog's last stable offset, not at its own barrier",
    ),
    row(
        Control::RestoreWithoutBarrier,
        "restore without a barrier",
        "no barrier is written; restore waits until the changelog is decided and ends there",
    ),
    row(Control::BlindToTears, "blind to tears", "nobody looks for what a torn transaction left visible"),
    row(
        Control::TearsUncommitted,
        "tears read uncommitted",
        "who looks for torn transactions takes aborted and open records for visible",
    ),
    row(
        Control::TearsToStable,
        "tears to the LSO",
        "who looks for torn transactions does not wait for what is undecided",
    ),
    Row {
        from: 397_828,
        ..row(
            Control::TearsWithoutKeys,
            "tears without keys",
            "who looks for torn transactions does not see which resources had come how far",
        )
    },
    row(Control::UnstableOffsets, "unstable offsets", "committed offsets are read without waiting for pending ones"),
    row(Control::CursorBeforeData, "cursor before data", "the cursor reaches the disk before the data it speaks of"),
    row(Control::TrustAnyDisk, "trust any disk", "a store is used whatever its lineage"),
    row(Control::NoDeltas, "no DELTAs", "state changes are not written to the changelog"),
    row(
        Control::CarelessBrokers,
        "careless brokers",
        "`transaction.partition.verification.enable=false`: brokers take records of transactions that nobody began",
    ),
    row(
        Control::NoLookingBack,
        "no looking back",
        "at rest, nobody compares what was confirmed with what is committed, while a TxnOffsetCommit is on the wire",
    ),
];

/// Seeds a control may survive.
const SEEDS: u64 = 100_000;
/// Among this many seeds, one whose harm a consumer can see is preferred.
const SEEDS_PREFERRED: u64 = 4_000;

const BEGIN: &str = "<!-- controls: generated -->\n";
const END: &str = "<!-- controls: end -->\n";

fn caught(control: Control, seed: u64) -> Option<Violation> {
    simulate::run(seed, control, ALL_FAULTS, false).result.err()
}

fn find(row: &Row) -> (u64, Violation) {
    let mut first = None;
    for seed in row.from..row.from + SEEDS {
        let Some(violation) = caught(row.control, seed) else { continue };
        if violation.harm.is_visible() {
            return (seed, violation);
        }
        first.get_or_insert((seed, violation));
        if seed + 1 >= row.from + SEEDS_PREFERRED {
            break;
        }
    }
    first.unwrap_or_else(|| panic!("{} was not caught by {SEEDS} seeds from {}", row.name, row.from))
}

fn line(row: &Row, seed: u64, violation: &Violation) -> String {
    let Row { name, breaks, broker, .. } = row;
    let broker = broker.map_or("simulator only".to_owned(), |test| format!("`{test}`"));
    format!("| {name} | {breaks} | {} | {seed} | {broker} |\n", violation.harm.as_str())
}

fn document() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/controls.md")
}

#[test]
fn every_control_is_caught_at_its_published_seed() {
    let text = std::fs::read_to_string(document()).expect("docs/controls.md");
    let (before, rest) = text.split_once(BEGIN).expect("the beginning of the table");
    let (table, after) = rest.split_once(END).expect("the end of the table");
    if std::env::var("WRITE").is_ok() {
        let head =
            "| Control | What is broken | What comes of it | Seed | With real brokers |\n|---|---|---|---|---|\n";
        let found = |row| {
            let (seed, violation) = find(row);
            line(row, seed, &violation)
        };
        let rows: String = ROWS.iter().map(found).collect();
        std::fs::write(document(), format!("{before}{BEGIN}{head}{rows}{END}{after}")).expect("writable");
        return;
    }
    let mut stale = Vec::new();
    for row in &ROWS {
        let published = table.lines().find(|line| line.starts_with(&format!("| {} |", row.name))).unwrap_or_default();
        let seed = published.split(" | ").nth(3).and_then(|seed| seed.parse().ok()).unwrap_or_default();
        let is_right = caught(row.control, seed).is_some_and(|found| line(row, seed, &found).trim_end() == published);
        if !is_right {
            stale.push(row.name);
        }
    }
    assert!(stale.is_empty(), "docs/controls.md is out of date for {stale:?}: run `make controls`");
}

#[test]
fn the_tests_with_real_brokers_that_the_table_names_exist() {
    let tests = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("broker/main.rs"));
    let tests = tests.expect("tests/broker/main.rs");
    for row in &ROWS {
        assert!(row.broker.is_none_or(|test| tests.contains(&format!("fn {test}()"))), "{} is gone", row.name);
    }
}
