//! When an event that failed is tried again: never before it is due, and not later because its owner died meanwhile.
//!
//! Both times are the owner's: the retry record says when the next try is due, and the history of the dead letter when
//! it was made. How late a try may be is a matter of speed, and measured: `weir-bench retries`.

use std::collections::BTreeMap;

use rdkafka::message::Message as _;
use schemas::{DeadEvent, Topic, VerifiedEvent, headers};

use crate::scene::{Scene, text};

/// Longer than records are fetched ahead of time, so that one that is there is not yet due. Each is a tier.
const DELAYS_MS: [i64; 2] = [800, 1_600];
const ATTEMPTS: i64 = 3;
const EVENTS: u32 = 40;

/// By event, and within it by attempt: until when it has to wait after that one, or when that one was made.
type Times = BTreeMap<String, BTreeMap<i64, i64>>;

/// Until when each event waits after each attempt, as the retry topics say.
fn dues(scene: &Scene) -> Times {
    let mut times = Times::new();
    for tier in scene.rig.tiers() {
        let found = scene.rig.read(&tier, |message| {
            let event = VerifiedEvent::decode(message.payload().unwrap_or_default()).expect("an event");
            let number = |name| text(message, name).parse::<i64>().expect("a number");
            (event.event_id.to_owned(), number(headers::WEIR_ATTEMPT), number(headers::WEIR_DUE))
        });
        for (id, attempt, due_ms) in found {
            times.entry(id).or_default().insert(attempt, due_ms);
        }
    }
    times
}

/// When each attempt of each dead letter was made.
fn tries(scene: &Scene) -> Times {
    let found = scene.rig.read(&Topic::Dead, |message| {
        let dead = DeadEvent::decode(message.payload().unwrap_or_default()).expect("a dead letter");
        let made = dead.history.iter().map(|failure| (failure.attempt, failure.at_ms)).collect();
        (dead.event_id.unwrap_or_default().to_owned(), made)
    });
    found.into_iter().collect()
}

/// How late each try was, milliseconds: below zero it was early.
fn lateness(dues: &Times, tries: &Times) -> Vec<i64> {
    let mut all = Vec::new();
    for (id, dues) in dues {
        for (attempt, due_ms) in dues {
            let tried_ms = tries.get(id).and_then(|tries| tries.get(&(attempt + 1)));
            all.push(tried_ms.unwrap_or_else(|| panic!("{id} was not tried after attempt {attempt}")) - due_ms);
        }
    }
    all
}

#[tokio::test]
async fn a_retry_is_never_early_even_if_its_owner_dies_while_it_waits() {
    let delays = DELAYS_MS.map(|delay| format!("\"{delay}ms\"")).join(", ");
    let scene = Scene::new("due", &format!("delays = [{delays}]\nattempts = {ATTEMPTS}")).await;
    // In half of the resources a second event stands behind the one that fails, and fails itself then.
    let events: Vec<(u32, String)> = (0..EVENTS).map(|n| (n % (EVENTS * 2 / 3), format!("fails-{n}"))).collect();
    scene.feed(&events);
    let process = scene.stay("a");
    scene.wait("a first retry", |scene| if dues(scene).is_empty() { Err("none".to_owned()) } else { Ok(()) }).await;
    process.kill().expect("killed");
    let process = scene.stay("a");
    scene.wait_for_dead(EVENTS as usize).await;
    process.kill().expect("killed");

    let dues = dues(&scene);
    let tries = tries(&scene);
    assert!(dues.values().all(|dues| dues.keys().copied().eq(1..ATTEMPTS)), "each waits twice: {dues:?}");
    assert!(tries.values().all(|tries| tries.keys().copied().eq(1..=ATTEMPTS)), "each is tried thrice: {tries:?}");
    let late = lateness(&dues, &tries);
    let least = late.iter().min().copied().expect("there are some");
    assert!(least >= 0, "a retry came {} ms before it was due: {dues:?} {tries:?}", -least);
    // What is due is its pause after the try before it, or the comparison above would be worth nothing.
    for (id, dues) in &dues {
        for ((attempt, due_ms), pause_ms) in dues.iter().zip(DELAYS_MS) {
            assert_eq!(*due_ms - tries[id][attempt], pause_ms, "{id} after attempt {attempt}");
        }
    }
    // The control: of a due time that is later than it was, the comparison says so.
    let later: Times = dues
        .iter()
        .map(|(id, dues)| (id.clone(), dues.iter().map(|(attempt, due_ms)| (*attempt, due_ms + 60_000)).collect()))
        .collect();
    assert!(lateness(&later, &tries).iter().all(|late| *late < 0), "an early retry is not noticed");
}
