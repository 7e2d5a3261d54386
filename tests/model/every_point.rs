//! One trouble at every point of a run in turn: what random seeds only hit by luck is tried here without a gap.

use std::rc::Rc;

use crate::controls::Control;
use crate::plan::Plan;
use crate::simulate::{self, Outcome};
use crate::world::{Trouble, World};

const LENGTH: usize = 40;

fn run(seed: u64, length: usize, troubles: &[(u64, Trouble)]) -> Outcome {
    let world = World::new(Plan::quiet(seed, length), Control::None, false);
    world.troubles.borrow_mut().extend(troubles.iter().copied());
    World::run(&world);
    simulate::end(Rc::clone(&world))
}

/// How many points a run without trouble has.
fn points(seed: u64, length: usize) -> u64 {
    let outcome = run(seed, length, &[]);
    outcome.result.unwrap_or_else(|violation| panic!("seed {seed} without trouble: {violation}"));
    outcome.points
}

/// Runs with troubles at each point in turn: the first one there, the others so many points later.
fn check(seeds: u64, troubles: &[(u64, Trouble)]) -> u64 {
    let mut torn = 0;
    for seed in 1..=seeds {
        for point in 0..points(seed, LENGTH) {
            let here: Vec<_> = troubles.iter().map(|(later, trouble)| (point + later, *trouble)).collect();
            let outcome = run(seed, LENGTH, &here);
            outcome.result.unwrap_or_else(|violation| panic!("seed {seed}, {here:?}: {violation}"));
            torn += outcome.torn;
        }
    }
    torn
}

#[test]
fn a_long_history_without_trouble_equals_the_model() {
    for seed in 1..=150 {
        points(seed, 400);
    }
}

#[test]
fn a_crash_at_any_point_loses_nothing_and_doubles_nothing() {
    check(8, &[(0, Trouble::Crash)]);
}

#[test]
fn a_power_cut_at_any_point_is_replayed_from_the_changelog() {
    check(8, &[(0, Trouble::PowerCut)]);
}

#[test]
fn a_disk_that_is_lost_at_any_point_is_rebuilt_from_the_changelog() {
    check(8, &[(0, Trouble::DiskLost)]);
}

#[test]
fn a_failed_or_unknown_call_at_any_point_loses_nothing_and_doubles_nothing() {
    check(8, &[(0, Trouble::Fail)]);
}

#[test]
fn a_commit_torn_at_any_point_is_noticed_and_doubles_nothing() {
    assert!(check(8, &[(0, Trouble::Tear)]) > 0, "no tear was counted");
}

#[test]
fn a_late_commit_that_arrives_at_any_point_unnoticed_is_harmless() {
    check(8, &[(0, Trouble::LateEnd)]);
}

#[test]
fn a_crash_soon_after_a_late_commit_that_arrives_at_any_point_is_noticed_and_doubles_nothing() {
    let mut torn = 0;
    for later in [1, 2, 3, 5, 8] {
        torn += check(2, &[(0, Trouble::LateEnd), (later, Trouble::Crash)]);
    }
    assert!(torn > 0, "no tear was counted");
}
