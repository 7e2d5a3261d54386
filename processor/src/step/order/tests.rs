//! One event after another of its resource: who passes, who is stale, and what becomes of the last timestamp.

use schemas::identity::Hash128;

use super::*;
use crate::samples::event;
use crate::state::Last;
use crate::step::Known;

const NOW: i64 = 1_795_000_000_000;
const WINDOW_MS: i64 = 60_000;
const KEY: &[u8] = b"warehouse|parcel|1";

/// A state that knows the last snapshot of every resource.
struct LastAt(Option<Last>);

impl View for LastAt {
    fn seen(&self, _: &About<'_>) -> Result<Option<Known>, StateError> {
        Ok(None)
    }

    fn last(&self, _: &About<'_>, _: ResourceHash) -> Result<Option<Last>, StateError> {
        Ok(self.0)
    }
}

/// Judges an event that occurred so long after `NOW`, read at `NOW`; the last snapshot was at `NOW`, set at `set_at`.
fn judge(occurred_ms: i64, change: impl FnOnce(&mut VerifiedEvent<'_>), set_at: Option<i64>) -> Order {
    let mut event = VerifiedEvent {
        kind: EventKind::Snapshot,
        stale: StaleMode::Drop,
        window_ms: WINDOW_MS,
        occurred_at_ms: Some(NOW + occurred_ms),
        occurred_at_signed: true,
        ..event(b"{}")
    };
    change(&mut event);
    let input = Input { partition: 0, offset: 0, timestamp: NOW, key: KEY, value: b"" };
    let about = About { source: "warehouse", class: 0, slot: 0, hash: Hash128([0; 16]), now: NOW };
    let known = LastAt(set_at.map(|set_at| Last { occurred_at: NOW, set_at }));
    order(&event, &input, &about, &known).expect("readable")
}

fn advances_to(occurred_ms: i64) -> Order {
    Order::Pass { advance: Some((short_hash(KEY), NOW + occurred_ms)), is_future: false }
}

const KNOWN: Option<i64> = Some(NOW - 1);
const AS_IT_IS: fn(&mut VerifiedEvent<'_>) = |_| {};

#[test]
fn a_snapshot_is_stale_only_if_it_is_strictly_older_than_the_last() {
    assert_eq!(judge(-1, AS_IT_IS, KNOWN), Order::Stale(StaleMode::Drop));
    assert_eq!(judge(-1, |event| event.stale = StaleMode::Route, KNOWN), Order::Stale(StaleMode::Route));
    assert_eq!(judge(0, AS_IT_IS, KNOWN), advances_to(0));
    assert_eq!(judge(1, AS_IT_IS, KNOWN), advances_to(1));
    assert_eq!(judge(-1, AS_IT_IS, None), advances_to(-1), "it is the first");
}

#[test]
fn a_terminal_event_is_never_stale_and_never_takes_the_last_timestamp_back() {
    let terminal = |event: &mut VerifiedEvent<'_>| event.kind = EventKind::Terminal;
    assert_eq!(judge(-1, terminal, KNOWN), PASS);
    assert_eq!(judge(0, terminal, KNOWN), PASS);
    assert_eq!(judge(1, terminal, KNOWN), advances_to(1));
    assert_eq!(judge(-1, terminal, None), advances_to(-1));
}

#[test]
fn a_time_from_the_future_passes_is_said_and_moves_nothing() {
    let future = Order::Pass { advance: None, is_future: true };
    assert_eq!(judge(FUTURE_MS, AS_IT_IS, KNOWN), advances_to(FUTURE_MS), "so far clocks differ");
    assert_eq!(judge(FUTURE_MS + 1, AS_IT_IS, KNOWN), future);
    assert_eq!(judge(FUTURE_MS + 1, |event| event.kind = EventKind::Terminal, KNOWN), future);
    assert_eq!(judge(FUTURE_MS + 1, |event| event.occurred_at_signed = false, KNOWN), future);
}

#[test]
fn who_is_not_judged_neither_reads_nor_moves_the_last_timestamp() {
    let unjudged: [fn(&mut VerifiedEvent<'_>); 4] = [
        |event| event.occurred_at_signed = false,
        |event| event.stale = StaleMode::Off,
        |event| event.kind = EventKind::Other,
        |event| event.occurred_at_ms = None,
    ];
    for change in unjudged {
        assert_eq!(judge(-1, change, KNOWN), PASS);
    }
}

#[test]
fn what_was_set_a_window_ago_is_forgotten() {
    assert_eq!(judge(-1, AS_IT_IS, Some(NOW - WINDOW_MS + 1)), Order::Stale(StaleMode::Drop));
    assert_eq!(judge(-1, AS_IT_IS, Some(NOW - WINDOW_MS)), advances_to(-1));
}
