//! Single scenarios, driven by hand: what random seeds meet too seldom.

use std::rc::Rc;

use processor::lifecycle::Action;

use crate::cluster::Kind;
use crate::controls::Control;
use crate::oracle::{Harm, Violation};
use crate::plan::{Epochs, Plan};
use crate::simulate;
use crate::stores::Disk;
use crate::world::World;

/// Two workers with all input before them. Nothing happens by chance but the batches.
fn two_workers(seed: u64, epochs: Epochs) -> Rc<World> {
    let (mut plan, input) = Plan::quiet(seed, 60);
    plan.workers = 2;
    plan.is_still = true;
    plan.epochs = epochs;
    let world = World::new((plan, input), Control::None, true);
    {
        let mut cluster = world.cluster.borrow_mut();
        cluster.arrived = cluster.input.iter().map(|(partition, log)| (*partition, log.len())).collect();
    }
    for slot in 0..2 {
        world.start(slot, Disk::default());
    }
    world
}

fn turn_until(world: &Rc<World>, me: usize, is_there: impl Fn(&World) -> bool) {
    for _ in 0..2_000 {
        if is_there(world) {
            return;
        }
        assert!(world.turn(me), "process {me} ended");
    }
    panic!("process {me} never comes there:\n{}", world.trace().join("\n"));
}

fn turn_until_action(world: &Rc<World>, me: usize, is_it: fn(&Action) -> bool) {
    let current = |world: &World| world.processes.borrow()[me].worker.as_ref().map(|worker| worker.current().clone());
    turn_until(world, me, |world| current(world).is_some_and(|action| is_it(&action)));
}

/// While the first sleeps, the second takes everything over and finishes.
fn inherit(world: &Rc<World>) {
    world.cluster.borrow_mut().group.remove(0);
    turn_until(world, 1, |world| world.has_all(1) && world.is_committed());
}

#[test]
fn a_zombie_that_wakes_after_any_action_changes_nothing() {
    for seed in 1..=6 {
        for asleep_after in 0..120 {
            let world = two_workers(seed, Epochs::WhenTroubled);
            for _ in 0..asleep_after {
                world.turn(0);
            }
            inherit(&world);
            for _ in 0..60 {
                world.turn(0);
            }
            inherit(&world);
            let outcome = simulate::end(world);
            outcome.result.unwrap_or_else(|violation| panic!("seed {seed}, asleep after {asleep_after}: {violation}"));
        }
    }
}

/// An EndTxn stays on the wire, which nobody notices. Its sender sleeps in its next transaction while another worker
/// takes everything over and finishes. Then it wakes and produces; only now the EndTxn arrives.
fn late_commit_of_a_sleeper(epochs: Epochs) -> Result<(), Violation> {
    let world = two_workers(3, epochs);
    turn_until_action(&world, 0, |action| matches!(action, Action::Commit(_)));
    let epoch = world.processes.borrow()[0].worker.as_ref().and_then(|worker| worker.log().epoch).expect("a producer");
    turn_until_action(&world, 0, |action| matches!(action, Action::Begin(_)));
    turn_until_action(&world, 0, |action| matches!(action, Action::Produce(_)));
    inherit(&world);
    world.turn(0);
    world.cluster.borrow_mut().post(0, epoch, Kind::End { is_commit: true });
    world.cluster.borrow_mut().drain();
    inherit(&world);
    simulate::end(world).result
}

/// The last commit is confirmed and never happens, and nothing comes that would cover it.
fn undo_the_last_commit(control: Control) -> Result<(), Violation> {
    let (mut plan, input) = Plan::quiet(2, 60);
    plan.is_still = true;
    let world = World::new((plan, input), control, true);
    let arrive = |but: usize| {
        let mut cluster = world.cluster.borrow_mut();
        cluster.arrived = cluster.input.iter().map(|(partition, log)| (*partition, log.len() - but)).collect();
    };
    arrive(1);
    world.start(0, Disk::default());
    turn_until(&world, 0, |world| {
        let cluster = world.cluster.borrow();
        let is_there = |(partition, arrived): (&i32, &usize)| {
            cluster.group.stored(*partition).is_some_and(|stored| stored.next == *arrived as i64)
        };
        cluster.arrived.iter().all(is_there) && cluster.transactions.markers().is_empty()
    });
    arrive(0);
    turn_until_action(&world, 0, |action| matches!(action, Action::Commit(_)));
    world.undoes.set(true);
    for _ in 0..200 {
        world.cluster.borrow_mut().clock_ms += 100;
        world.turn(0);
    }
    simulate::end(world).result
}

#[test]
fn a_commit_that_is_confirmed_and_never_happens_is_found_at_rest_by_its_owner_and_by_nobody_else() {
    assert_eq!(undo_the_last_commit(Control::None), Ok(()));
    let unseen = undo_the_last_commit(Control::NoLookingBack).map_err(|violation| violation.harm);
    assert_eq!(unseen, Err(Harm::Lost));
}

/// The one hole of a producer that keeps its epoch when it believes that a commit was clean: nobody looks again for
/// what becomes visible after the takeover. A new epoch after every commit closes it.
#[test]
fn a_late_commit_of_a_worker_that_was_overtaken_is_fenced_by_a_new_epoch_and_by_nothing_else() {
    assert_eq!(late_commit_of_a_sleeper(Epochs::EveryCommit), Ok(()));
    let doubled = late_commit_of_a_sleeper(Epochs::WhenNoticed).map_err(|violation| violation.harm);
    assert_eq!(doubled, Err(Harm::Doubled));
}
