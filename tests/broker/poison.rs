//! Events that kill whoever handles them, not when they come but when their turn does.

use std::ops::RangeInclusive;

use weir_tests::stepper::STAYS;
use weir_tests::wait::wait_until;

use crate::PATIENCE;
use crate::rig::{Rig, Waited};
use crate::scene::{self, Scene, resource_in};

/// Three with nothing else in hand, and before that three to become suspicious, if nobody is yet.
const DEATHS: RangeInclusive<u32> = 3..=8;

#[tokio::test]
async fn an_event_that_kills_every_process_when_its_turn_comes_is_given_up_as_well() {
    let mut scene = Scene::new("poison-turn", "delays = [\"20ms\", \"100ms\"]\nattempts = 50").await;
    let [held, free] = [0, 1].map(|nth| resource_in(0, nth));
    // It stands behind one that fails at first, so that it is handled when it has waited.
    scene.feed(&[(held, "twice-0"), (held, "kills-1"), (held, "good-2"), (free, "good-3")]);
    let (partition, ..) = scene::record("alpha", held, "kills-1");
    let deed = format!("die-before:clean/{partition}/1:1");
    let deaths = die_until_given_up(&scene.rig, &deed).await;
    assert!(DEATHS.contains(&deaths), "{deaths} processes died\n{}", scene.rig.log("a"));
    scene.settle();
    let dead = scene.dead();
    assert_eq!((dead.len(), dead["kills-1"].reason.as_str()), (1, "poison"), "{dead:?}");
    let mut clean = scene.clean();
    clean.retain(|id| id != "good-3");
    assert_eq!(clean, ["twice-0", "good-2"]);

    // Redriven while it still kills, it is given up again, and is a letter again.
    let first = dead["kills-1"].id.clone();
    let said = scene::said(scene.rig.weir(&redrive(&first, "10s")));
    assert_ne!(said.code, Some(0), "nobody runs: {}", said.text);
    assert!(said.text.contains("without an answer"), "Kafka has the command: {}", said.text);
    let deaths = die_until_given_up_again(&mut scene, &deed, &first).await;
    assert!(DEATHS.contains(&deaths), "{deaths} processes died\n{}", scene.rig.log("a"));
    scene.settle();
    let second = scene.dead()["kills-1"].clone();
    assert_eq!(second.reason, "poison");

    // After the upgrade it runs.
    scene.mend();
    let process = scene.stay("a");
    let said = scene::said(scene.rig.weir(&redrive(&second.id, "60s")));
    assert_eq!((said.code, said.rows[0]["result"].as_str()), (Some(0), Some("redriven")), "{}", said.text);
    process.kill().expect("killed");
    scene.settle();
    assert_eq!(scene.clean().last().map(String::as_str), Some("kills-1"));
}

fn redrive<'a>(id: &'a str, patience: &'a str) -> [&'a str; 8] {
    ["dead", "redrive", id, "--note", "upgraded", "--yes", "--timeout", patience]
}

/// Runs processes until one ends by itself. How many died.
pub async fn die_until_given_up(rig: &Rig, deed: &str) -> u32 {
    let mut deaths = 0;
    while rig.run("a", deed, "-").await == Waited::Killed {
        deaths += 1;
        assert!(deaths < 12, "it is never given up");
    }
    deaths
}

/// Starts processes until the letter is another one. How many died.
async fn die_until_given_up_again(scene: &mut Scene, deed: &str, first: &str) -> u32 {
    // They don't end before they have heard of it.
    scene.rig.environment.push((STAYS, "1"));
    let mut deaths = 0;
    loop {
        let mut process = scene.rig.start("a", deed, "-");
        let mut has_died = false;
        let came = wait_until("a death, or the end of it", PATIENCE, || {
            has_died = process.ended().is_ok_and(|status| status.is_some());
            let is_over = has_died || scene.dead()["kills-1"].id != first;
            std::future::ready(if is_over { Ok(()) } else { Err("neither".to_owned()) })
        });
        came.await.unwrap_or_else(|error| panic!("{error:#}\n{}", scene.rig.log("a")));
        if !has_died {
            process.kill().expect("killed");
            return deaths;
        }
        deaths += 1;
        assert!(deaths <= *DEATHS.end(), "it is never given up");
    }
}
