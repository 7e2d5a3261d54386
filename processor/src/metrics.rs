//! Every metric of the processor: its name, its labels, and the one function that moves it.
//!
//! The books are shown as gauges although they only grow: a partition that moves to another process takes its
//! tallies with it, and the sum over all processes is what counts. Labels come from closed lists.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::books::Place;
use crate::lifecycle::Stage;
use crate::takeover::Opening;

const EVENTS: &str = "weir_processor_events_total";
const DEAD: &str = "weir_processor_dead";
const PARKED: &str = "weir_processor_parked";
const RETRYING: &str = "weir_processor_retrying";
const DEAD_TOTAL: &str = "weir_processor_dead_total";
const ID_CONFLICTS: &str = "weir_processor_id_conflicts_total";
const TORN: &str = "weir_processor_torn_transactions_total";
const TAKEOVERS: &str = "weir_processor_takeovers_total";
const FAULTS: &str = "weir_processor_faults_total";
const PARTITIONS: &str = "weir_processor_partitions";
const WAITING: &str = "weir_processor_partition_trouble_total";
const ACTION_SECONDS: &str = "weir_processor_action_seconds";

/// Says what each metric means.
pub(crate) fn describe() {
    describe_gauge!(EVENTS, "Events of the partitions this process owns that reached a last place, by outcome");
    describe_gauge!(DEAD, "Dead letters now, of the partitions this process owns");
    describe_gauge!(PARKED, "Parked events now, of the partitions this process owns");
    describe_gauge!(RETRYING, "Events in retry tiers now, of the partitions this process owns");
    describe_counter!(DEAD_TOTAL, "How often events died, since the process started");
    describe_counter!(ID_CONFLICTS, "Signed ids that came again with another body");
    describe_counter!(TORN, "Records of torn transactions that were found and neutralised");
    describe_counter!(TAKEOVERS, "Partitions taken over, by how their store was found");
    describe_counter!(FAULTS, "Faults survived by forgetting and taking over anew");
    describe_counter!(WAITING, "Times a partition could not go on, by whether a person must act");
    describe_gauge!(PARTITIONS, "Partitions this process owns, by stage of their life");
    describe_histogram!(ACTION_SECONDS, Unit::Seconds, "Time of each action of a worker");
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

/// A fault was survived.
pub(crate) fn fault() {
    counter!(FAULTS).increment(1);
}

/// A partition can't go on.
pub(crate) fn trouble(is_final: bool) {
    counter!(WAITING, "final" => if is_final { "true" } else { "false" }).increment(1);
}

/// How many partitions are in a stage.
pub(crate) fn partitions(stage: Stage, count: usize) {
    gauge!(PARTITIONS, "stage" => stage_name(stage)).set(count as f64);
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
