//! The life cycle's legal paths, walked without Kafka.

use super::*;

fn polled(revoked: &[i32], assigned: &[i32], batch: &[i32]) -> Event {
    Event::Polled { revoked: revoked.to_vec(), assigned: assigned.to_vec(), batch: batch.to_vec() }
}

/// A worker that runs these partitions and is about to collect.
fn running(partitions: &[i32]) -> Lifecycle {
    let mut life = Lifecycle::new();
    life.step(Event::Recycled);
    life.step(polled(&[], partitions, &[]));
    assert_eq!(
        life.step(Event::Positioned { known: partitions.to_vec(), halted: vec![] }),
        Action::Fence(partitions.to_vec())
    );
    let mut action = life.step(Event::Fenced { is_clean: true });
    loop {
        action = if let Action::Restore(parts) = action {
            life.step(Event::RestoreSlice(parts.into_iter().map(|partition| (partition, Progress::Done)).collect()))
        } else if let Action::Start(parts) = action {
            life.step(Event::Started(parts))
        } else {
            assert!(matches!(action, Action::Collect { .. }), "{action:?} has no place in a takeover");
            if life.is_ready() {
                return life;
            }
            life.step(polled(&[], &[], &[]))
        };
    }
}

#[test]
fn a_transaction_goes_through_its_steps_in_order_and_nothing_polls_in_between() {
    let mut life = running(&[0, 1]);
    assert_eq!(life.step(polled(&[], &[], &[1])), Action::Begin(vec![1]));
    assert_eq!(life.step(Event::Begun), Action::Produce(vec![1]));
    assert_eq!(life.step(Event::Produced { held: vec![] }), Action::SendOffsets(vec![1]));
    assert_eq!(life.step(Event::OffsetsSent), Action::Commit(vec![1]));
    assert_eq!(life.step(Event::Committed { is_clean: true }), Action::Apply(vec![1]));
    assert_eq!(life.step(Event::Applied { distrusted: vec![] }), Action::Collect { is_patient: true });
}

#[test]
fn a_commit_that_the_group_does_not_know_costs_the_producer_and_a_missing_one_the_partition() {
    let mut life = running(&[0, 1]);
    assert_eq!(life.step(Event::Unknown { missing: vec![] }), Action::Recycle);
    assert_eq!(life.step(Event::Recycled), Action::Collect { is_patient: true });
    assert!(life.is_ready());
    assert_eq!(life.step(Event::Unknown { missing: vec![1] }), Action::Forget(vec![1]));
    assert_eq!(life.step(Event::Closed), Action::Recycle);
    assert_eq!(life.step(Event::Recycled), Action::Collect { is_patient: true });
    assert_eq!(life.step(polled(&[], &[], &[])), Action::ReadPositions(vec![1]));
}

#[test]
fn every_fault_inside_a_transaction_recycles_polls_and_takes_over_anew() {
    let steps = [Event::Begun, Event::Produced { held: vec![] }, Event::OffsetsSent];
    for successes in 0..=steps.len() {
        let mut life = running(&[0, 1]);
        life.step(polled(&[], &[], &[0]));
        for event in steps.iter().take(successes) {
            life.step(event.clone());
        }
        assert_eq!(life.step(Event::Failed), Action::Forget(vec![0]), "after {successes} steps");
        assert_eq!(life.step(Event::Closed), Action::Recycle);
        assert_eq!(life.step(Event::Recycled), Action::Collect { is_patient: true });
        assert_eq!(life.step(polled(&[], &[], &[1])), Action::Begin(vec![1]), "the other partition goes on");
        life.step(Event::Begun);
        life.step(Event::Produced { held: vec![] });
        life.step(Event::OffsetsSent);
        life.step(Event::Committed { is_clean: true });
        assert_eq!(life.step(Event::Applied { distrusted: vec![] }), Action::ReadPositions(vec![0]));
    }
}

#[test]
fn an_unclean_commit_is_applied_and_the_producer_recycled_before_the_next_transaction() {
    let mut life = running(&[0]);
    life.step(polled(&[], &[], &[0]));
    life.step(Event::Begun);
    life.step(Event::Produced { held: vec![] });
    life.step(Event::OffsetsSent);
    assert_eq!(life.step(Event::Committed { is_clean: false }), Action::Apply(vec![0]));
    assert_eq!(life.step(Event::Applied { distrusted: vec![] }), Action::Recycle);
}

#[test]
fn after_barriers_that_were_committed_uncleanly_the_producer_is_recycled_too() {
    let mut life = running(&[0]);
    life.step(polled(&[], &[5], &[]));
    life.step(Event::Positioned { known: vec![5], halted: vec![] });
    assert_eq!(life.step(Event::Fenced { is_clean: false }), Action::Recycle);
    assert_eq!(life.step(Event::Recycled), Action::Restore(vec![5]));
}

#[test]
fn records_of_a_partition_that_was_revoked_with_them_are_not_processed() {
    let mut life = running(&[0, 1]);
    assert_eq!(life.step(polled(&[0], &[], &[0])), Action::Forget(vec![0]));
    assert_eq!(life.step(Event::Closed), Action::Collect { is_patient: true });
}

#[test]
fn a_revoke_while_other_partitions_have_records_is_forgotten_after_their_transaction() {
    let mut life = running(&[0, 1]);
    assert_eq!(life.step(polled(&[0], &[], &[0, 1])), Action::Begin(vec![1]));
    life.step(Event::Begun);
    life.step(Event::Produced { held: vec![] });
    life.step(Event::OffsetsSent);
    life.step(Event::Committed { is_clean: true });
    assert_eq!(life.step(Event::Applied { distrusted: vec![] }), Action::Forget(vec![0]));
}

#[test]
fn restoring_partitions_give_way_to_running_ones_after_every_slice() {
    let mut life = running(&[0]);
    life.step(polled(&[], &[5], &[]));
    life.step(Event::Positioned { known: vec![5], halted: vec![] });
    assert_eq!(life.step(Event::Fenced { is_clean: true }), Action::Restore(vec![5]));
    for _ in 0..3 {
        let slice = Event::RestoreSlice(vec![(5, Progress::More)]);
        assert_eq!(life.step(slice), Action::Collect { is_patient: false });
        assert_eq!(life.step(polled(&[], &[], &[])), Action::Restore(vec![5]));
    }
}

#[test]
fn a_partition_with_a_lost_position_halts_and_the_others_go_on() {
    let mut life = running(&[0]);
    life.step(polled(&[], &[3], &[]));
    assert_eq!(life.step(Event::Positioned { known: vec![], halted: vec![3] }), Action::Forget(vec![3]));
    assert_eq!(life.step(Event::Closed), Action::Collect { is_patient: true });
    assert!(!life.is_ready());
}

#[test]
fn a_worker_whose_only_partition_is_halted_ends() {
    let mut life = Lifecycle::new();
    life.step(Event::Recycled);
    life.step(polled(&[], &[3], &[]));
    life.step(Event::Positioned { known: vec![], halted: vec![3] });
    assert_eq!(life.step(Event::Closed), Action::Exit(Ending::Halted));
}

#[test]
fn stopping_forgets_first_and_waits_for_the_open_transaction() {
    let mut life = running(&[0]);
    assert_eq!(life.step(Event::StopRequested), Action::Exit(Ending::Stopped));
}

#[test]
fn a_held_partition_tries_again_after_a_while() {
    let mut life = running(&[0]);
    life.step(polled(&[], &[], &[0]));
    life.step(Event::Begun);
    life.step(Event::Produced { held: vec![0] });
    life.step(Event::OffsetsSent);
    life.step(Event::Committed { is_clean: true });
    let mut action = life.step(Event::Applied { distrusted: vec![] });
    for _ in 0..HOLD_POLLS {
        assert_eq!(action, Action::Collect { is_patient: true });
        action = life.step(polled(&[], &[], &[]));
    }
    assert_eq!(action, Action::Resume(vec![0]));
    life.step(Event::Resumed);
    assert!(life.is_ready());
}

#[test]
fn a_held_partition_tries_again_however_busy_its_neighbours_are() {
    let mut life = running(&[0, 1]);
    let mut action = life.step(polled(&[], &[], &[0]));
    for round in 0..=HOLD_POLLS {
        assert!(matches!(action, Action::Begin(_)), "round {round}: {action:?}");
        life.step(Event::Begun);
        life.step(Event::Produced { held: if round == 0 { vec![0] } else { vec![] } });
        life.step(Event::OffsetsSent);
        life.step(Event::Committed { is_clean: true });
        action = life.step(Event::Applied { distrusted: vec![] });
        if round < HOLD_POLLS {
            assert_eq!(action, Action::Collect { is_patient: true });
            action = life.step(polled(&[], &[], &[1]));
        }
    }
    assert_eq!(action, Action::Resume(vec![0]));
}

#[test]
fn a_suspect_is_marked_before_its_record_is_handled_and_a_failed_mark_is_a_failed_transaction() {
    let mut life = running(&[0, 1]);
    assert_eq!(life.step(Event::Suspected(1)), Action::Mark(1));
    assert_eq!(life.step(Event::Marked { is_clean: false }), Action::Recycle);
    assert_eq!(life.step(Event::Recycled), Action::Collect { is_patient: true });
    assert_eq!(life.step(polled(&[], &[], &[1])), Action::Begin(vec![1]));

    let mut life = running(&[0, 1]);
    life.step(Event::Suspected(1));
    assert_eq!(life.step(Event::Failed), Action::Forget(vec![1]));
    assert_eq!(life.step(Event::Closed), Action::Recycle);
}

#[test]
fn what_is_restored_runs_while_the_others_are_restored_and_what_fails_is_taken_over_anew() {
    let mut life = running(&[0]);
    life.step(polled(&[], &[5, 6, 7], &[]));
    life.step(Event::Positioned { known: vec![5, 6, 7], halted: vec![] });
    assert_eq!(life.step(Event::Fenced { is_clean: true }), Action::Restore(vec![5, 6, 7]));
    let slice = Event::RestoreSlice(vec![(5, Progress::Done), (6, Progress::More), (7, Progress::Done)]);
    assert_eq!(life.step(slice), Action::Start(vec![5, 7]));
    assert_eq!(life.step(Event::Started(vec![5])), Action::Forget(vec![7]));
    assert_eq!(life.step(Event::Closed), Action::Collect { is_patient: true }, "is it still ours?");
    assert_eq!(life.step(polled(&[], &[], &[])), Action::ReadPositions(vec![7]));
    life.step(Event::Positioned { known: vec![7], halted: vec![] });
    assert_eq!(life.step(Event::Fenced { is_clean: true }), Action::Collect { is_patient: false });
    assert_eq!(life.step(polled(&[], &[], &[])), Action::Restore(vec![6, 7]));
    let slice = Event::RestoreSlice(vec![(6, Progress::Failed), (7, Progress::Lost)]);
    assert_eq!(life.step(slice), Action::Forget(vec![6, 7]));
    assert_eq!(life.partitions().get(&7), Some(&Stage::Halted));
}
