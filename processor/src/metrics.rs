//! Every metric of the processor: its name, its labels, and the one function that moves it.
//!
//! The books are shown as gauges although they only grow: a partition that moves to another process takes its
//! tallies with it, and the sum over all processes is what counts. Labels come from closed lists.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use schemas::resolution::Outcome;

use crate::books::Place;
use crate::lifecycle::Stage;
use crate::takeover::Opening;

const EVENTS: &str = "weir_processor_events_total";
const DEAD: &str = "weir_processor_dead";
const PARKED: &str = "weir_processor_parked";
const RETRYING: &str = "weir_processor_retrying";
const DEAD_TOTAL: &str = "weir_processor_dead_total";
const ID_CONFLICTS: &str = "weir_processor_id_conflicts_total";
const RETRIES: &str = "weir_processor_retries_total";
const ATTEMPTS: &str = "weir_processor_attempts";
const REDRIVES: &str = "weir_processor_redrives_total";
const PARKED_RESOURCES: &str = "weir_processor_parked_resources";
const RETRY_LAG: &str = "weir_processor_retry_lag_seconds";
const LAG_RECORDS: &str = "weir_processor_lag_records";
const LAG_SECONDS: &str = "weir_processor_lag_seconds";
const DEAD_DEPTH: &str = "weir_processor_dead_depth";
const DEAD_OLDEST: &str = "weir_processor_dead_oldest_timestamp_seconds";
const TORN: &str = "weir_processor_torn_transactions_total";
const BEHIND: &str = "weir_processor_offsets_behind_total";
const NOT_LOOKED: &str = "weir_processor_offset_checks_failed_total";
const TAKEOVERS: &str = "weir_processor_takeovers_total";
const READ_ERRORS: &str = "weir_processor_read_errors_total";
const FAULTS: &str = "weir_processor_faults_total";
const PARTITIONS: &str = "weir_processor_partitions";
const WAITING: &str = "weir_processor_partition_trouble_total";
const CALLS: &str = "weir_processor_calls_total";
const CALL_SECONDS: &str = "weir_processor_call_seconds";
const CALLS_UNDER_WAY: &str = "weir_processor_calls_under_way";
const BREAKER: &str = "weir_processor_breaker_state";
const ACTION_SECONDS: &str = "weir_processor_action_seconds";

/// The label of hosts that have none of their own.
pub(crate) const OTHER_HOSTS: &str = "other";

/// Says what each metric means.
pub(crate) fn describe() {
    describe_gauge!(EVENTS, "Events of the partitions this process owns that reached a last place, by outcome");
    describe_gauge!(DEAD, "Dead letters now, of the partitions this process owns");
    describe_gauge!(PARKED, "Parked events now, of the partitions this process owns");
    describe_gauge!(RETRYING, "Events in retry tiers now, of the partitions this process owns");
    describe_counter!(DEAD_TOTAL, "How often events died, since the process started");
    describe_counter!(RETRIES, "Attempts that failed and were followed by another, by reason");
    describe_histogram!(ATTEMPTS, "How often an event that waited was handled until it reached its last place");
    describe_counter!(REDRIVES, "Commands about dead letters that were carried out, by result");
    describe_gauge!(PARKED_RESOURCES, "Resources with waiting events, of the partitions this process owns");
    describe_gauge!(DEAD_DEPTH, "Open dead letters of that partition of this process which has most of them");
    describe_gauge!(
        DEAD_OLDEST,
        Unit::Seconds,
        "When the oldest open dead letter of this process died; 0: none is known"
    );
    describe_gauge!(RETRY_LAG, Unit::Seconds, "How overdue the next waiting event of this process is");
    describe_gauge!(
        LAG_RECORDS,
        "Records of verified-events that the partitions of this process have not committed yet"
    );
    describe_gauge!(
        LAG_SECONDS,
        Unit::Seconds,
        "How old the oldest of them may be, in the partition that is furthest behind; 0: nothing waits"
    );
    describe_counter!(ID_CONFLICTS, "Signed ids that came again with another body");
    describe_counter!(TORN, "Records of torn transactions that were found and neutralised");
    describe_counter!(
        BEHIND,
        "Committed offsets that lay behind a confirmed commit, by whether what it wrote was there"
    );
    describe_counter!(NOT_LOOKED, "Times the group could not be asked whether it knows the last commits");
    describe_counter!(TAKEOVERS, "Partitions taken over, by how their store was found");
    describe_counter!(
        READ_ERRORS,
        "Errors met while reading verified-events that the client tries to get over by itself"
    );
    describe_counter!(FAULTS, "Faults survived by forgetting and taking over anew");
    describe_counter!(WAITING, "Times a partition could not go on, by whether a person must act");
    describe_gauge!(PARTITIONS, "Partitions this process owns, by stage of their life");
    describe_counter!(CALLS, "Calls to other services, by host and outcome");
    describe_histogram!(CALL_SECONDS, Unit::Seconds, "Time of each call to another service");
    describe_gauge!(CALLS_UNDER_WAY, "Calls under way, by host");
    describe_gauge!(BREAKER, "Whether a host is called: 0 yes, 1 on trial, 2 not for now");
    describe_histogram!(ACTION_SECONDS, Unit::Seconds, "Time of each action of a worker");
    begin();
}

/// A counter that appears with its first increment hides that increment from whoever asks for a rate. Those that an
/// alert may wait for are there from the start.
fn begin() {
    for name in [TORN, NOT_LOOKED, READ_ERRORS, FAULTS] {
        counter!(name).increment(0);
    }
    for is_final in [true, false] {
        counter!(WAITING, "final" => truth(is_final)).increment(0);
    }
    for is_there in [true, false] {
        counter!(BEHIND, "records" => presence(is_there)).increment(0);
    }
    for result in Outcome::ALL {
        counter!(REDRIVES, "result" => result.as_str()).increment(0);
    }
}

fn truth(is_true: bool) -> &'static str {
    if is_true { "true" } else { "false" }
}

fn presence(is_there: bool) -> &'static str {
    if is_there { "there" } else { "missing" }
}

/// Shows the committed tally of one source and place.
pub(crate) fn tally(source: &str, place: Place, value: u64) {
    let value = value as f64;
    let source = source.to_owned();
    match place {
        Place::Clean | Place::Duplicate | Place::Stale | Place::Discarded => {
            gauge!(EVENTS, "source" => source, "outcome" => place.as_str()).set(value);
        }
        Place::Dead => gauge!(DEAD, "source" => source).set(value),
        Place::Parked => gauge!(PARKED, "source" => source).set(value),
        Place::Retrying => gauge!(RETRYING, "source" => source).set(value),
    }
}

/// An event died.
pub(crate) fn died(source: String, reason: &'static str) {
    counter!(DEAD_TOTAL, "source" => source, "reason" => reason).increment(1);
}

/// An event failed and is tried again.
pub(crate) fn retried(source: String, reason: &'static str) {
    counter!(RETRIES, "source" => source, "reason" => reason).increment(1);
}

/// An event that had failed reached its last place.
pub(crate) fn attempts(source: String, attempts: u32) {
    histogram!(ATTEMPTS, "source" => source).record(f64::from(attempts));
}

/// How many resources have waiting events.
pub(crate) fn parked(resources: usize) {
    gauge!(PARKED_RESOURCES).set(resources as f64);
}

/// How overdue the next waiting event is.
pub(crate) fn overdue(ms: i64) {
    gauge!(RETRY_LAG).set(ms.max(0) as f64 / 1000.0);
}

/// How many records are not committed yet, and how old the oldest of them may be.
pub(crate) fn lag(records: i64, oldest_ms: i64) {
    gauge!(LAG_RECORDS).set(records as f64);
    gauge!(LAG_SECONDS).set(oldest_ms as f64 / 1000.0);
}

/// How many open dead letters the partition with most of them has, and when the oldest of all died.
pub(crate) fn letters(most: u64, oldest_ms: i64) {
    gauge!(DEAD_DEPTH).set(most as f64);
    gauge!(DEAD_OLDEST).set(oldest_ms as f64 / 1000.0);
}

/// A command about a dead letter was carried out.
pub(crate) fn redriven(result: &'static str) {
    counter!(REDRIVES, "result" => result).increment(1);
}

/// One signed id came with two bodies.
pub(crate) fn id_conflict(source: String) {
    counter!(ID_CONFLICTS, "source" => source).increment(1);
}

/// A partition was taken over.
pub(crate) fn taken_over(opening: Opening, torn: u64) {
    let store = match opening {
        Opening::Local => "local",
        Opening::Rebuilt => "rebuilt",
    };
    counter!(TAKEOVERS, "store" => store).increment(1);
    counter!(TORN).increment(torn);
}

/// The group did not know our last commit.
pub(crate) fn behind(is_there: bool) {
    counter!(BEHIND, "records" => presence(is_there)).increment(1);
}

/// The group could not be asked whether it knows our last commits.
pub(crate) fn not_looked() {
    counter!(NOT_LOOKED).increment(1);
}

/// Reading verified-events met an error.
pub(crate) fn read_error() {
    counter!(READ_ERRORS).increment(1);
}

/// A fault was survived.
pub(crate) fn fault() {
    counter!(FAULTS).increment(1);
}

/// A partition can't go on.
pub(crate) fn trouble(is_final: bool) {
    counter!(WAITING, "final" => truth(is_final)).increment(1);
}

/// How many partitions are in a stage.
pub(crate) fn partitions(stage: Stage, count: usize) {
    gauge!(PARTITIONS, "stage" => stage_name(stage)).set(count as f64);
}

/// A call was made.
pub(crate) fn called(host: String, outcome: &'static str, seconds: f64) {
    counter!(CALLS, "host" => host.clone(), "outcome" => outcome).increment(1);
    histogram!(CALL_SECONDS, "host" => host).record(seconds);
}

/// Calls began, or ended.
pub(crate) fn calls_under_way(host: String, more: f64) {
    gauge!(CALLS_UNDER_WAY, "host" => host).increment(more);
}

/// A host's breaker. Hosts without a name of their own would overwrite each other.
pub(crate) fn breaker(host: &str, state: f64) {
    if host != OTHER_HOSTS {
        gauge!(BREAKER, "host" => host.to_owned()).set(state);
    }
}

/// How long an action took.
pub(crate) fn action(name: &'static str, seconds: f64) {
    histogram!(ACTION_SECONDS, "action" => name).record(seconds);
}

/// Every stage, in the order of a partition's life.
pub(crate) const STAGES: [Stage; 7] =
    [Stage::Assigned, Stage::Known, Stage::Fenced, Stage::Restored, Stage::Running, Stage::Held, Stage::Halted];

/// The label of a stage.
pub(crate) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Assigned => "assigned",
        Stage::Known => "known",
        Stage::Fenced => "fenced",
        Stage::Restored => "restored",
        Stage::Running => "running",
        Stage::Held => "held",
        Stage::Halted => "halted",
    }
}
