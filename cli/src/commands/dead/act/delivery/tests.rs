//! A run against a wire in memory.

use std::cell::Cell;
use std::collections::VecDeque;

use rdkafka::message::OwnedHeaders;
use runtime::report::Exit;
use schemas::DeadId;
use schemas::resolution::Outcome;

use super::super::super::compose::command_id;
use super::super::super::window::OUTSTANDING_MAX;
use super::*;

/// Answers what it is sent, after `delay` more commands.
struct Owner {
    result: Option<Outcome>,
    delay: usize,
    pending: VecDeque<Heard>,
    most_pending: usize,
    refuses: Option<(u64, SendError)>,
}

impl Owner {
    fn new(result: Option<Outcome>) -> Self {
        Self { result, delay: 0, pending: VecDeque::new(), most_pending: 0, refuses: None }
    }
}

impl Wire for Owner {
    fn send(&mut self, command: &Composed) -> Result<(), SendError> {
        if let Some((number, error)) = &self.refuses
            && *number == command.number
        {
            return Err(error.clone());
        }
        if let Some(result) = self.result {
            self.pending.push_back(Heard::Answer(Resolution {
                dead_id: command.id.to_string(),
                result,
                at: String::new(),
                by: None,
                command_id: Some(command_id(command.number)),
                operator: None,
                note: None,
                new_dead_id: None,
            }));
            self.most_pending = self.most_pending.max(self.pending.len());
        }
        Ok(())
    }

    fn next(&mut self, patience: Duration) -> Result<Option<Heard>, Failure> {
        // Whoever only looks sees what is older than `delay`; whoever waits gets everything.
        let is_due = self.pending.len() > self.delay || !patience.is_zero();
        Ok(if is_due { self.pending.pop_front() } else { None })
    }
}

#[derive(Default)]
struct Heap {
    rows: Vec<Resolved>,
    remarks: Vec<String>,
}

impl Listener for Heap {
    fn resolved(&mut self, row: Resolved, _waiting: &Waiting) -> Result<(), Failure> {
        self.rows.push(row);
        Ok(())
    }

    fn remark(&mut self, text: &str) -> Result<(), Failure> {
        self.remarks.push(text.to_owned());
        Ok(())
    }
}

fn command(number: u64) -> Composed {
    Composed {
        number,
        id: DeadId { partition: 0, offset: i64::try_from(number).unwrap(), generation: 0 },
        event_id: None,
        key: None,
        value: None,
        headers: OwnedHeaders::new(),
        draft: None,
    }
}

/// For answers that come.
const PATIENCE: Duration = Duration::from_secs(60);
/// For answers that do not.
const IMPATIENCE: Duration = Duration::from_secs(1);

fn run(owner: Owner, count: u64, stop_at: u64) -> (Tally, Heap) {
    run_within(PATIENCE, owner, count, stop_at)
}

fn run_within(patience: Duration, owner: Owner, count: u64, stop_at: u64) -> (Tally, Heap) {
    let (mut heap, sent) = (Heap::default(), Cell::new(0));
    let is_stopped = || sent.get() >= stop_at;
    let mut delivery = Delivery::new(owner, None, patience, &is_stopped, &mut heap);
    for number in 0..count {
        if delivery.send(command(number)).unwrap().is_break() {
            break;
        }
        sent.set(number + 1);
    }
    let tally = delivery.finish(count).unwrap();
    (tally, heap)
}

#[test]
fn every_letter_is_answered_once_and_told() {
    let (tally, heap) = run(Owner::new(Some(Outcome::Redriven)), 50, u64::MAX);
    assert_eq!((tally.sent, tally.redriven, tally.exit()), (50, 50, Exit::Done));
    assert_eq!(heap.rows.len(), 50);
    assert!(heap.remarks.is_empty());
}

#[test]
fn more_than_the_window_holds_is_never_outstanding() {
    let mut owner = Owner::new(Some(Outcome::Discarded));
    owner.delay = usize::MAX;
    let mut heap = Heap::default();
    let mut delivery = Delivery::new(owner, None, Duration::from_secs(9), &|| false, &mut heap);
    for number in 0..2500 {
        assert!(delivery.send(command(number)).unwrap().is_continue());
        assert!(delivery.wire.most_pending <= OUTSTANDING_MAX);
    }
    assert_eq!(delivery.wire.most_pending, OUTSTANDING_MAX);
    assert_eq!(delivery.finish(2500).unwrap().discarded, 2500);
}

#[test]
fn a_stop_sends_nothing_more_and_waits_for_what_was_sent() {
    let mut owner = Owner::new(Some(Outcome::Redriven));
    owner.delay = usize::MAX;
    let (tally, heap) = run(owner, 50, 10);
    assert_eq!((tally.sent, tally.redriven, tally.cancelled, tally.exit()), (10, 10, 40, Exit::No));
    assert!(heap.remarks.first().is_some_and(|text| text.starts_with("stopping: 10 ")), "{:?}", heap.remarks);
}

#[test]
fn answers_that_do_not_come_end_the_run_after_the_timeout() {
    let (tally, heap) = run_within(IMPATIENCE, Owner::new(None), 3, u64::MAX);
    assert_eq!((tally.sent, tally.unanswered, tally.exit()), (3, 3, Exit::Unavailable));
    assert!(heap.rows.iter().all(|row| row.result.is_none()));
    assert_eq!(heap.rows.len(), 3);

    let more_than_fit = u64::try_from(OUTSTANDING_MAX).unwrap() + 5;
    let (tally, _) = run_within(IMPATIENCE, Owner::new(None), more_than_fit, u64::MAX);
    assert_eq!((tally.unanswered, tally.cancelled), (1000, 5));
}

#[test]
fn a_letter_that_dies_again_is_no_success() {
    let (tally, _) = run(Owner::new(Some(Outcome::Dead)), 2, u64::MAX);
    assert_eq!((tally.died, tally.exit()), (2, Exit::No));
}

#[test]
fn one_record_that_is_refused_does_not_end_the_run_and_an_outage_does() {
    for (error, expected) in [
        (SendError::Refused("too large".to_owned()), (4, 1, 0, 0, Exit::No)),
        (SendError::Away("gone".to_owned()), (2, 0, 1, 2, Exit::Unavailable)),
    ] {
        let mut owner = Owner::new(Some(Outcome::Redriven));
        owner.refuses = Some((2, error));
        let (tally, heap) = run(owner, 5, u64::MAX);
        let found = (tally.sent, tally.refused, tally.undelivered, tally.cancelled, tally.exit());
        assert_eq!(found, expected);
        assert_eq!((heap.rows.len() as u64, heap.remarks.len()), (5 - tally.cancelled, 1));
    }
}

#[test]
fn what_the_broker_did_not_take_is_not_waited_for() {
    let mut owner = Owner::new(None);
    owner.delay = usize::MAX;
    owner.pending.push_back(Heard::Undelivered(0, SendError::Away("timed out".to_owned())));
    let (tally, _) = run(owner, 1, u64::MAX);
    assert_eq!((tally.sent, tally.undelivered, tally.unanswered), (0, 1, 0));
}

#[test]
fn answers_to_the_commands_of_others_are_not_ours() {
    let mut owner = Owner::new(None);
    owner.delay = usize::MAX;
    let foreign = Resolution {
        dead_id: "0-0-0".to_owned(),
        result: Outcome::Redriven,
        at: String::new(),
        by: Some("0:9".to_owned()),
        command_id: Some(command_id(99)),
        operator: None,
        note: None,
        new_dead_id: None,
    };
    owner.pending.push_back(Heard::Answer(Resolution { command_id: None, ..foreign.clone() }));
    owner.pending.push_back(Heard::Answer(foreign));
    let (tally, _) = run_within(IMPATIENCE, owner, 1, u64::MAX);
    assert_eq!((tally.redriven, tally.unanswered), (0, 1));
}
