//! Calls of the Kafka client that may never come back, and clients that may never end: each on a thread that is left
//! behind when its time is up.
//!
//! librdkafka 2.12 waits in `send_offsets_to_transaction` for a coordinator that is away, whatever time it was given
//! (confluentinc/librdkafka issues 5456 and 5511), and must be told to wait for ever in `commit_transaction`. Closing a
//! client waits for all of its threads. Whoever gives up loses nothing: a new producer takes a new epoch, which decides
//! what the old one left open.

use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;

/// Makes a call and waits so long for its answer. `None`: there was none. The call may go on then, and what it holds
/// lives as long.
pub(crate) fn within<T: Send + 'static>(patience: Duration, call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (answer, answered) = mpsc::sync_channel(1);
    let made = Builder::new().name("kafka-call".to_owned()).spawn(move || answer.send(call()).unwrap_or_default());
    made.ok()?;
    answered.recv_timeout(patience).ok()
}

/// Closes a client without waiting for it.
pub(crate) fn retire<T: Send + 'static>(client: T) {
    // Without a thread it is closed here.
    drop(Builder::new().name("kafka-close".to_owned()).spawn(move || drop(client)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_an_answer_holds_nobody_up() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let (wake, asleep) = mpsc::sync_channel::<()>(1);
        assert_eq!(within(Duration::from_millis(10), move || asleep.recv().is_ok()), None);
        drop(wake);
        assert_eq!(within(Duration::from_secs(60), || -> u8 { panic!("a call that panics") }), None);
    }
}
