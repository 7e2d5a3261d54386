//! Static members: a process that comes back within its session takes up its own partitions, and nobody else notices.

use std::collections::BTreeSet;

use weir_tests::stepper::STAYS;
use weir_tests::wait::wait_until;

use crate::PATIENCE;
use crate::rig::{PARTITIONS, Rig};

const RETURNS: usize = 10;

/// Partitions that an instance's processes took over so far, in order.
fn taken_over(rig: &Rig, instance: &str) -> Vec<String> {
    let log = rig.log(instance);
    let taken = log.lines().filter_map(|line| line.strip_prefix("stepper: took over ")?.split(' ').next());
    taken.map(str::to_owned).collect()
}

/// The partitions that run in the first process of an instance.
fn running(rig: &Rig, instance: &str) -> BTreeSet<String> {
    let mut running = BTreeSet::new();
    for line in rig.log(instance).lines() {
        let Some((partition, stage)) = line.strip_prefix("stepper: partition ").and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        if stage == "Some(Running)" {
            running.insert(partition.to_owned());
        } else {
            running.remove(partition);
        }
    }
    running
}

async fn wait_for_halves(rig: &Rig) {
    wait_until("half of the partitions each", PATIENCE, || async {
        let halves = ["a", "b"].map(|instance| running(rig, instance).len());
        if halves == [PARTITIONS as usize / 2; 2] { Ok(()) } else { Err(format!("{halves:?}")) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}", rig.log("b")));
}

#[tokio::test]
async fn a_member_that_comes_back_within_its_session_moves_no_partition() {
    // Longer than any restart here may take.
    let mut rig = Rig::with_session("members", "90s").await;
    let start = |rig: &Rig, instance: &str| rig.start_with(instance, &[(STAYS, "1")]);
    let mut comes_and_goes = start(&rig, "a");
    let stays = start(&rig, "b");
    wait_for_halves(&rig).await;
    let (own, others) = (running(&rig, "a"), taken_over(&rig, "b"));
    for round in 1..=RETURNS {
        rig.feed(40);
        let before = taken_over(&rig, "a").len();
        comes_and_goes.kill().expect("killed");
        comes_and_goes = start(&rig, "a");
        wait_until("its partitions", PATIENCE, || async {
            let again = taken_over(&rig, "a").split_off(before);
            if again.len() >= own.len() { Ok(()) } else { Err(format!("{again:?}")) }
        })
        .await
        .unwrap_or_else(|error| panic!("round {round}: {error:#}\n{}", rig.log("a")));
        assert_eq!(BTreeSet::from_iter(taken_over(&rig, "a").split_off(before)), own, "round {round}");
    }
    assert_eq!(taken_over(&rig, "b"), others, "a partition moved:\n{}", rig.log("b"));
    rig.wait_for_no_lag("a").await;
    comes_and_goes.kill().and(stays.kill()).expect("killed");
    rig.check().expect("exactly once, in order");
}
