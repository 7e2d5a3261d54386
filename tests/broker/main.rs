//! What is promised about crashes, checked with the real broker: kill -9 at every call, lost outcomes, zombies,
//! rebalances in mid-batch, wiped state, lost offsets. Every guarantee has a control that breaks it.
//!
//! Seeds are printed; `SEED=` takes one back.

mod anew;
mod due;
mod epochs;
mod harm;
mod letters;
mod members;
mod poison;
mod rig;
mod rivals;
mod scene;

use std::time::Duration;

use rig::{Rig, Waited};
use schemas::Topic;
use weir_tests::stepper::STAYS;
use weir_tests::withheld::Proxy;

/// Everything a worker asks of Kafka and its disk, in the order of a takeover and a transaction. The second number
/// is the first call of that name which happens while records flow.
const CALLS: [&str; 15] = [
    "recycle",
    "positions",
    "input_ends",
    "first_after",
    "ends",
    "scan",
    "run",
    "follow",
    "collect",
    "begin",
    "produce",
    "settle",
    "send_offsets",
    "commit",
    "apply",
];

/// The calls that come in every transaction: the first of them belongs to the barrier, so the second is hit too.
const IN_TRANSACTIONS: [&str; 6] = ["begin", "produce", "settle", "send_offsets", "commit", "apply"];

fn points() -> Vec<String> {
    let mut points = Vec::new();
    for side in ["before", "after"] {
        points.extend(CALLS.iter().map(|call| format!("die-{side}:{call}:1")));
        points.extend(IN_TRANSACTIONS.iter().map(|call| format!("die-{side}:{call}:2")));
    }
    points.push("die-before:produce:30".to_owned());
    points
}

#[tokio::test]
async fn a_kill_at_any_call_loses_nothing_and_doubles_nothing() {
    let mut rig = Rig::new("kill").await;
    let points = points();
    // `apply` has no side before: nothing is called between the commit and it.
    for point in points.iter().filter(|point| !point.starts_with("die-before:apply")) {
        rig.feed(40);
        assert_eq!(rig.run("a", point, "-").await, Waited::Killed, "{point} was never reached");
    }
    rig.feed(40);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    rig.check().expect("the books balance");
    rig.check_tallies("a");
}

#[tokio::test]
async fn a_call_whose_outcome_is_lost_is_settled_by_the_log() {
    let mut rig = Rig::new("lose").await;
    for call in ["commit", "send_offsets", "settle", "produce", "begin"] {
        for side in ["before", "after"] {
            for nth in 1..=2 {
                rig.feed(60);
                let point = format!("lose-{side}:{call}:{nth}");
                assert_eq!(rig.run("a", &point, "-").await, Waited::Code(0), "{point}");
            }
        }
    }
    rig.check().expect("the books balance");
    rig.check_tallies("a");
}

#[tokio::test]
async fn events_that_fail_at_first_come_out_once_and_in_order_though_processes_die() {
    let mut rig = Rig::flaky("flaky").await;
    let points = ["die-before:commit:3", "die-after:commit:3", "die-after:produce:40", "die-after:send_offsets:4", "-"];
    for point in points {
        rig.feed(150);
        let waited = rig.run("a", point, "-").await;
        assert_eq!(waited, if point == "-" { Waited::Code(0) } else { Waited::Killed }, "{point}");
    }
    rig.wipe("a");
    rig.feed(150);
    assert_eq!(rig.run("b", "-", "-").await, Waited::Code(0));
    assert!(rig.retries() > 100, "{} retries", rig.retries());
    rig.check().expect("the books balance");
    rig.check_tallies("b");
}

#[tokio::test]
async fn a_wiped_state_directory_is_rebuilt_from_the_changelog() {
    let mut rig = Rig::new("wiped").await;
    rig.feed(600);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    let before = rig.store_tallies("a");
    rig.wipe("a");
    rig.feed(300);
    let said = rig.run_aloud("a").await;
    assert!(said.contains("Rebuilt"), "nothing was rebuilt:\n{said}");
    assert_ne!(before, rig.store_tallies("a"));
    rig.check().expect("the books balance");
    rig.check_tallies("a");
}

#[tokio::test]
async fn a_state_of_another_log_is_not_trusted() {
    let mut rig = Rig::new("foreign").await;
    rig.feed(300);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    let mut other = Rig::new("origin").await;
    other.feed(500);
    assert_eq!(other.run("a", "-", "-").await, Waited::Code(0));
    rig.adopt_state("a", &other);
    rig.feed(300);
    let said = rig.run_aloud("a").await;
    assert!(said.contains("Rebuilt"), "the other log's state was taken:\n{said}");
    rig.check().expect("the books balance");
    rig.check_tallies("a");
}

#[tokio::test]
async fn a_commit_that_is_confirmed_and_never_happens_is_found_at_rest_and_made_up_for() {
    let mut rig = Rig::new("undone").await;
    rig.feed(60);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    // One event, so one transaction after that of the takeover, and none that would cover it.
    rig.append([scene::record("alpha", scene::resource_in(0, 0), "good-1")]);
    assert_eq!(rig.run("a", "undo-before:commit:2", "-").await, Waited::Code(0), "{}", rig.log("a"));
    assert_eq!(rig.log("a").matches("stepper: behind in 0 there false").count(), 1, "{}", rig.log("a"));
    rig.check().expect("the books balance");
    rig.check_tallies("a");
}

/// One worker falls asleep at a point, another takes everything over and moves on, the first wakes.
async fn zombie(point: &str) {
    let mut rig = Rig::new("zombie").await;
    rig.feed(400);
    let mut sleeper = rig.start("a", point, "-");
    rig.wait_asleep(&sleeper).await;
    let mut heir = rig.start("b", "-", "-");
    rig.finish(&mut heir).await;
    rig.feed(200);
    let mut heir = rig.start("b", "-", "-");
    sleeper.signal("CONT").expect("it sleeps");
    assert_eq!(rig.finish(&mut heir).await, Waited::Code(0), "{point}");
    assert_eq!(rig.finish(&mut sleeper).await, Waited::Code(0), "{point}\n{}", sleeper.last_words());
    rig.check().unwrap_or_else(|error| panic!("{point}: {error}"));
}

#[tokio::test]
async fn a_zombie_that_wakes_in_a_transaction_changes_nothing() {
    let points = [
        "sleep-after:produce:60",
        "sleep-before:send_offsets:3",
        "sleep-after:send_offsets:3",
        "sleep-before:commit:3",
        "sleep-after:commit:3",
        "sleep-after:begin:1",
    ];
    let runs = points.map(|point| tokio::spawn(zombie(point)));
    for run in runs {
        run.await.expect("a zombie changes nothing");
    }
}

#[tokio::test]
async fn a_rebalance_in_mid_batch_waits_for_the_transaction() {
    // Long enough for the second to come before the first has been given up.
    let mut rig = Rig::with_session("rebalance", "20s").await;
    rig.feed(400);
    // Asleep inside of a transaction, but not for as long as its session.
    let mut first = rig.start("a", "sleep-after:produce:60", "-");
    rig.wait_asleep(&first).await;
    let mut second = rig.start("b", "-", "-");
    rig.wait_for_join_request().await;
    first.signal("CONT").expect("it sleeps");
    rig.feed(400);
    assert_eq!(rig.finish(&mut first).await, Waited::Code(0));
    assert_eq!(rig.finish(&mut second).await, Waited::Code(0));
    rig.check().expect("the books balance");
}

/// A network that drops a connection without a word: the client has joined and never hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_to_whom_the_answer_of_the_group_is_lost_asks_again() {
    let (broker, proxy, told) = epochs::proxied("join").await;
    let mut rig = Rig::behind("join", broker.brokers(), &told).await;
    rig.feed(100);
    proxy.lose_joins(1);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    assert_eq!(proxy.joins_to_lose(), 0);
    rig.check().expect("exactly once, in order");
}

#[tokio::test]
async fn partitions_that_move_to_and_fro_keep_their_state() {
    let mut rig = Rig::new("moves").await;
    let mut deaths = 0;
    for round in 0..4 {
        rig.feed(300);
        let (leaver, stayer) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
        let mut one = rig.start(leaver, &format!("die-before:commit:{}", 2 + round), "-");
        let mut two = rig.start(stayer, "-", "-");
        deaths += u32::from(rig.finish(&mut one).await == Waited::Killed);
        assert_eq!(rig.finish(&mut two).await, Waited::Code(0));
    }
    assert!(deaths > 0, "nobody had a partition when it was to leave");
    rig.check().expect("the books balance");
}

#[tokio::test]
async fn a_process_whose_twin_took_its_name_and_left_changes_nothing_when_it_returns() {
    let mut rig = Rig::new("twins").await;
    rig.feed(400);
    // Only a member begins a transaction: whoever joins later takes the name from it.
    let mut first = rig.start("a", "sleep-after:begin:1", "-");
    rig.wait_asleep(&first).await;
    // Its own folder: the lock of the state directory would stop it earlier, on the same machine.
    let mut second = rig.start_elsewhere("a", "elsewhere");
    assert_eq!(rig.finish(&mut second).await, Waited::Code(0));
    rig.feed(200);
    first.signal("CONT").expect("it sleeps");
    // Nobody has its name any more. That of two who stay one leaves with 78, the end-to-end tests show.
    assert_eq!(rig.finish(&mut first).await, Waited::Code(0), "{}", first.last_words());
    rig.check().expect("the books balance");
}

#[tokio::test]
async fn lost_offsets_stop_the_partition_and_say_so() {
    let mut rig = Rig::new("offsets").await;
    rig.feed(200);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    rig.delete_group().await;
    rig.feed(50);
    rig.halts_saying("a", "no offset is committed").await;
    assert!(rig.check().is_err(), "the last records were not processed");
}

#[tokio::test]
async fn a_truncated_input_stops_the_partition_and_says_so() {
    let mut rig = Rig::new("truncated").await;
    rig.feed(200);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    rig.feed(200);
    rig.truncate(&Topic::Verified).await;
    rig.halts_saying("a", "its log holds").await;
}

/// The client fetches such a partition no more, and refuses to seek in it: it has to be another client that goes on.
#[tokio::test]
async fn an_input_that_is_truncated_before_a_running_worker_has_read_it_stops_the_partition_and_says_so() {
    let mut rig = Rig::new("truncated-ahead").await;
    rig.feed(200);
    let mut process = rig.start_with("a", &[(STAYS, "1")]);
    rig.wait_for_no_lag("a").await;
    process.signal("STOP").expect("it runs");
    rig.feed(400);
    rig.truncate(&Topic::Verified).await;
    rig.feed(200);
    process.signal("CONT").expect("it sleeps");
    assert_eq!(rig.finish(&mut process).await, Waited::Code(70));
    assert!(rig.log("a").contains("its log holds"), "{}", rig.log("a"));
}

#[tokio::test]
async fn a_record_that_kills_every_process_becomes_a_dead_letter_and_can_be_run_after_the_upgrade() {
    let rig = give_up_poison("poison", false).await;
    redrive_poison(rig, &["redriven", "stale"]).await;
}

#[tokio::test]
async fn a_record_that_killed_every_process_does_not_run_once_a_copy_of_it_has_passed() {
    // Nobody had read the event when it died, so its copy was none.
    let rig = give_up_poison("poison-copy", true).await;
    redrive_poison(rig, &["superseded"]).await;
}

/// Runs processes until the record that kills them is given up.
async fn give_up_poison(name: &str, has_copy: bool) -> (Rig, (i32, i64)) {
    let mut rig = Rig::new(name).await;
    let first = scene::record("alpha", scene::resource_in(0, 0), "kills");
    let (partition, offset) = (first.0, 0);
    rig.append([first.clone()]);
    rig.feed(200);
    if has_copy {
        rig.append([first]);
    }
    let poison = format!("die-before:clean/{partition}/{offset}:1");
    let deaths = poison::die_until_given_up(&rig, &poison).await;
    // Three to become suspicious, of which a process that survives a fault may be two; and three with nothing but this
    // record in hand.
    let log = rig.log("a");
    let takeovers = log.matches(&format!("stepper: took over {partition} ")).count();
    assert!((3..=7).contains(&deaths) && takeovers >= 6, "{deaths} processes died\n{log}");
    rig.check_given_up((partition, offset));
    (rig, (partition, offset))
}

/// Redrives it, and expects one of these results.
async fn redrive_poison((rig, (partition, offset)): (Rig, (i32, i64)), expected: &[&str]) {
    let process = rig.start_with("a", &[(STAYS, "1")]);
    let id = format!("{partition}-{offset}-0");
    let said = scene::said(rig.weir(&["dead", "redrive", &id, "--note", "upgraded", "--yes"]));
    let result = said.rows[0]["result"].as_str().unwrap_or_default();
    assert!(said.code == Some(0) && expected.contains(&result), "{result}, not {expected:?}: {}", said.text);
    // That was the end of it.
    let said = scene::said(rig.weir(&["dead", "redrive", &id, "--note", "again", "--yes"]));
    assert_eq!((said.code, said.rows.len()), (Some(1), 0), "{}", said.text);
    process.kill().expect("killed");
}

#[tokio::test]
async fn an_input_with_more_partitions_than_the_state_was_built_for_is_refused() {
    let mut rig = Rig::new("grown").await;
    rig.feed(200);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    rig.grow_input().await;
    rig.halts_saying("a", "the state was built for").await;
}

#[tokio::test]
async fn a_changelog_without_its_beginning_serves_a_store_and_not_a_lost_one() {
    let mut rig = Rig::new("forgotten").await;
    rig.feed(200);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    rig.truncate(&Topic::Changelog).await;
    rig.feed(200);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    rig.check().expect("the books balance");
    rig.wipe("a");
    rig.halts_saying("a", "holds no snapshot").await;
}

/// Which commit a control strikes. The first hold barriers and snapshots only; on a busy machine, where partitions come
/// late, even the twelfth may.
const STRUCK: [u32; 3] = [12, 14, 16];

#[tokio::test]
async fn control_offsets_outside_the_transaction_lose_events() {
    for nth in STRUCK {
        let mut rig = Rig::new(&format!("control-offsets-{nth}")).await;
        rig.feed(400);
        assert_eq!(rig.run("a", &format!("die-before:commit:{nth}"), "offsets-outside").await, Waited::Killed);
        rig.run("a", "-", "offsets-outside").await;
        if let Err(error) = rig.check() {
            assert!(error.contains("lost"), "{error}");
            return;
        }
    }
    panic!("the control was never caught");
}

#[tokio::test]
async fn control_state_on_disk_before_its_commit_loses_events() {
    for nth in STRUCK {
        let mut rig = Rig::new(&format!("control-early-{nth}")).await;
        rig.feed(400);
        assert_eq!(rig.run("a", &format!("die-before:commit:{nth}"), "state-early").await, Waited::Killed);
        assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
        if let Err(error) = rig.check() {
            assert!(error.contains("lost"), "{error}");
            return;
        }
    }
    panic!("the control was never caught");
}

#[tokio::test]
async fn control_ids_in_memory_only_come_out_twice() {
    let mut rig = Rig::new("control-memory").await;
    rig.feed(300);
    assert_eq!(rig.run("a", "die-before:commit:4", "dedup-in-memory").await, Waited::Killed);
    assert_eq!(rig.run("a", "-", "dedup-in-memory").await, Waited::Code(0));
    rig.feed(300);
    assert_eq!(rig.run("a", "-", "dedup-in-memory").await, Waited::Code(0));
    let error = rig.check().expect_err("the control is caught");
    assert!(error.contains("unexpected"), "{error}");
}

/// A commit stays on the wire while its retry is answered, and its sender sleeps in its next transaction while another
/// worker takes everything over and finishes. The sender wakes and writes, and only now the commit arrives. How it was
/// answered, and what the comparison says.
async fn late_commit(proxy: &Proxy, broker: &str, told: &str, control: &str) -> (i16, Result<(), String>) {
    let mut rig = Rig::behind("control-recycling", broker, told).await;
    rig.feed(400);
    // The first transactions may hold barriers and snapshots only.
    let withheld = proxy.withhold(&rig.transactional_id("a"), 5);
    let mut sleeper = rig.start("a", "sleep-after:begin:6", control);
    rig.wait_asleep(&sleeper).await;
    withheld.release().expect("its fifth commit is kept back");
    assert_eq!(rig.run("b", "-", "-").await, Waited::Code(0));
    rig.check().expect("so far all is well");
    sleeper.signal("CONT").expect("it sleeps");
    assert_eq!(rig.finish(&mut sleeper).await, Waited::Code(0), "{}", sleeper.last_words());
    (withheld.answer().expect("it arrived"), rig.check())
}

// On threads: the proxy carries requests while a comparison is made.
#[tokio::test(flavor = "multi_thread")]
async fn control_an_epoch_that_is_kept_lets_a_late_commit_double_events() {
    let (broker, proxy, told) = epochs::proxied("recycling").await;
    let run = |control| late_commit(&proxy, broker.brokers(), &told, control);
    let (kept, recycled) = tokio::join!(run("no-recycling"), run("-"));
    let error = kept.1.expect_err("the control is caught");
    assert!(kept.0 == 0 && error.contains("came out twice"), "{}, {error}", kept.0);
    // The same commit, just as late: it is fenced.
    assert!(recycled.0 != 0 && recycled.1.is_ok(), "{recycled:?}");
}

/// A deadline for whatever a test waits for; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(120);
