//! Defects of other systems, each as something that must not happen here. Where each is documented stands in
//! docs/evidence.md.

use serde_json::json;
use weir_tests::process::Process;

use crate::rig::Waited;
use crate::scene::{Scene, resource_in};

/// Short pauses, and attempts for some seconds.
const PATIENT: &str = "delays = [\"20ms\", \"100ms\"]\nattempts = 50";

/// Convoy's Kafka source logs a handler's error and fetches on; the next success commits past the failed offset.
#[tokio::test]
async fn a_failed_record_is_not_lost_when_the_one_behind_it_succeeds() {
    // It must fail for as long as this takes, and its attempts have a bound.
    let mut scene = Scene::new("rival-poison", "delays = [\"20ms\", \"5s\"]\nattempts = 50").await;
    let [one, two, three] = [0, 1, 2].map(|nth| resource_in(0, nth));
    scene.feed(&[(one, "fails-1"), (two, "rejected-1"), (three, "good-1")]);
    let process = scene.stay("a");
    scene.wait("the good one behind it", |scene| expect(&scene.clean(), &["good-1"])).await;
    process.kill().expect("killed");
    // What failed is behind the committed offset, and still in its place.
    assert_eq!(scene.rig.lag(), 0);
    assert_eq!(scene.hops()["fails-1"].first(), Some(&1));
    assert_eq!(scene.dead()["rejected-1"].reason, "handler_rejected");
    scene.mend();
    assert_eq!(scene.rig.run("a", "-", "-").await, Waited::Code(0));
    scene.settle();
    assert_eq!(scene.clean(), ["good-1", "fails-1"]);
}

/// Spring's non-blocking retries give up order and cannot be used inside of container transactions.
#[tokio::test]
async fn retries_inside_of_transactions_give_up_neither_order_nor_exactly_once() {
    let scene = Scene::new("rival-order", PATIENT).await;
    let [held, free] = [0, 1].map(|nth| resource_in(0, nth));
    let events = |resource: u32, name: &str| (1..=10).map(|n| (resource, format!("{name}-{n}"))).collect::<Vec<_>>();
    let mut all = events(held, "held");
    all.insert(0, (held, "twice-0".to_owned()));
    all.extend(events(free, "free"));
    scene.feed(&all);
    // In the middle of it: with the retry written and not committed, and committed and not known to be.
    assert_eq!(scene.rig.run("a", "die-before:commit:3", "-").await, Waited::Killed);
    assert_eq!(scene.rig.run("a", "die-after:commit:3", "-").await, Waited::Killed);
    assert_eq!(scene.rig.run("a", "-", "-").await, Waited::Code(0));
    scene.settle();
    let clean = scene.clean();
    let of = |resource: u32| {
        let ids: Vec<&String> = all.iter().filter(|(of, _)| *of == resource).map(|(_, id)| id).collect();
        let found: Vec<&String> = clean.iter().filter(|id| ids.contains(id)).collect();
        (found, ids)
    };
    for resource in [held, free] {
        let (found, expected) = of(resource);
        assert_eq!(found, expected, "once each and in order");
    }
    // The others did not wait for the one that failed.
    assert!(clean.iter().position(|id| id == "free-10") < clean.iter().position(|id| id == "twice-0"), "{clean:?}");
}

/// Knative's Kafka broker kept attempts in memory: with three retries configured, an event was tried 184 times in
/// 55 minutes of rebalances, and never became a dead letter.
#[tokio::test]
async fn attempts_are_not_forgotten_when_processes_die_between_them() {
    const ATTEMPTS: i64 = 6;
    let scene = Scene::new("rival-attempts", &format!("delays = [\"1s\"]\nattempts = {ATTEMPTS}")).await;
    scene.feed(&[(1, "fails-1")]);
    let mut deaths = 0;
    // Every process dies as soon as one more attempt is committed; from the third on it is another machine's.
    while scene.dead().is_empty() {
        let tried = scene.hops().get("fails-1").map_or(0, Vec::len);
        let process = scene.stay(if deaths < 2 { "a" } else { "b" });
        scene
            .wait("one more attempt", |scene| {
                let now = scene.hops().get("fails-1").map_or(0, Vec::len);
                if now > tried || !scene.dead().is_empty() { Ok(()) } else { Err(format!("{now} attempts")) }
            })
            .await;
        process.kill().expect("killed");
        deaths += 1;
        assert!(deaths <= ATTEMPTS as usize + 1, "it is tried again and again");
    }
    let dead = &scene.dead()["fails-1"];
    assert_eq!((dead.reason.as_str(), dead.attempts), ("attempts_exhausted", ATTEMPTS));
    assert_eq!(dead.history, (1..=ATTEMPTS).collect::<Vec<_>>(), "each attempt once");
    assert_eq!(scene.hops()["fails-1"], (1..ATTEMPTS as u32).collect::<Vec<_>>(), "each hop once");
}

/// In Parallel Consumer, records that are retried for ever count as in flight: a steady share of them fills its
/// target, and nothing is taken in any more.
#[tokio::test]
async fn a_large_share_of_failing_resources_does_not_stop_the_others() {
    let scene = Scene::new("rival-intake", PATIENT).await;
    // More than a dozen times what one transaction takes.
    let wave = |first: u32| {
        let event = |n: u32| (n, if n.is_multiple_of(2) { format!("fails-{n}") } else { format!("good-{n}") });
        (first..first + 600).map(event).collect::<Vec<_>>()
    };
    scene.feed(&wave(0));
    let process = scene.stay("a");
    scene.wait("the good half", |scene| expect_many(scene.clean().len(), 300)).await;
    scene.feed(&wave(1000));
    scene.wait("the good half of what came later", |scene| expect_many(scene.clean().len(), 600)).await;
    scene.rig.wait_for_no_lag("a").await;
    process.kill().expect("killed");
    assert!(scene.clean().iter().all(|id| id.starts_with("good-")));
    assert_eq!((scene.hops().len(), scene.dead().len()), (600, 0), "the others are still tried");
}

/// In Hookdeck's Outpost the idempotency key of a manual retry was the same each time, until it was mended, so the second
/// was dropped for a day; a redrive into an SQS FIFO queue within five minutes meets the same.
#[tokio::test]
async fn a_redrive_is_not_taken_for_a_duplicate_not_even_the_second() {
    let mut scene = Scene::new("rival-redrive", PATIENT).await;
    scene.feed(&[(1, "rejected-1")]);
    let process = scene.stay("a");
    let first = scene.wait_for_dead(1).await["rejected-1"].id.clone();
    let redrive = |scene: &Scene, id: &str| scene.weir(&["dead", "redrive", id, "--note", "test", "--yes"]);
    let said = redrive(&scene, &first);
    assert_eq!(said.rows[0]["result"], json!("dead"), "nothing is mended: {}", said.text);
    let second = said.rows[0]["new_dead_id"].as_str().expect("an id").to_owned();
    let process = mended(&mut scene, process);
    let said = redrive(&scene, &second);
    assert_eq!((said.code, &said.rows[0]["result"]), (Some(0), &json!("redriven")), "{}", said.text);
    // The other way round: what was redriven stays known, and a third time is not a second event.
    let said = redrive(&scene, &second);
    assert_eq!((said.code, said.rows.len()), (Some(1), 0), "{}", said.text);
    scene.feed(&[(1, "rejected-1"), (1, "good-1")]);
    scene.wait("what comes after", |scene| expect(&scene.clean(), &["rejected-1", "good-1"])).await;
    drop(process);
}

/// With acknowledgements on, Vector loses an event for good when its sink answers 401 or 403: there is no dead letter.
#[tokio::test]
async fn an_event_that_another_service_refuses_is_kept_and_can_be_sent_again() {
    let mut scene = Scene::new("rival-refused", "delays = [\"20ms\"]\nattempts = 3").await;
    scene.feed(&[
        (1, "refused-401-1"),
        (2, "refused-403-1"),
        (3, "refused-503-1"),
        (4, "refused-200-1"),
        (5, "good-1"),
    ]);
    let process = scene.stay("a");
    let dead = scene.wait_for_dead(3).await;
    let told: Vec<_> = dead.iter().map(|(id, dead)| (id.as_str(), dead.reason.as_str(), dead.attempts)).collect();
    let expected = [
        ("refused-401-1", "call_refused", 1),
        ("refused-403-1", "call_refused", 1),
        ("refused-503-1", "attempts_exhausted", 3),
    ];
    assert_eq!(told, expected);
    let process = mended(&mut scene, process);
    let said = scene.weir(&["dead", "redrive", "--all", "--note", "access granted", "--yes"]);
    assert_eq!((said.code, said.rows.len()), (Some(0), 3), "{}", said.text);
    let mut clean = scene.clean();
    clean.sort();
    assert_eq!(clean, ["good-1", "refused-200-1", "refused-401-1", "refused-403-1", "refused-503-1"]);
    drop(process);
}

/// A process in whose place events pass.
fn mended(scene: &mut Scene, process: Process) -> Process {
    process.kill().expect("killed");
    scene.mend();
    scene.stay("a")
}

fn expect(found: &[String], expected: &[&str]) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} and not {expected:?}")) }
}

fn expect_many(found: usize, expected: usize) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found} and not {expected}")) }
}
