//! The wish to stop, told to everyone at once.
//!
//! The first SIGTERM or SIGINT asks for a drain, the second leaves at once. Who drains, and in which
//! order, is the application's business.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// A flag that can be awaited. Clones share it; it never goes back.
#[derive(Clone, Debug)]
pub struct Shutdown {
    flag: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Not triggered, and deaf to signals until [`listen`](Self::listen).
    pub fn new() -> Self {
        Self { flag: Arc::new(watch::Sender::new(false)) }
    }

    /// Obeys signals from now on. Needs a tokio runtime.
    pub fn listen(&self) {
        let handlers = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
        let (mut term, mut interrupt) = match handlers {
            Ok(handlers) => handlers,
            Err(error) => {
                tracing::error!(%error, "cannot listen for signals: stopping this process will not drain it");
                return;
            }
        };
        let shutdown = self.clone();
        tokio::spawn(async move {
            let name = next(&mut term, &mut interrupt).await.0;
            tracing::info!(signal = name, "draining: a second signal leaves at once");
            shutdown.trigger();
            let (name, number) = next(&mut term, &mut interrupt).await;
            tracing::warn!(signal = name, "leaving at once");
            // 128 + the signal: what a shell shows for a process that a signal ended.
            std::process::exit(128 + number);
        });
    }

    /// Asks everyone to stop.
    pub fn trigger(&self) {
        self.flag.send_replace(true);
    }

    /// Whether stopping has been asked for.
    pub fn is_triggered(&self) -> bool {
        *self.flag.borrow()
    }

    /// Returns when stopping has been asked for, at once when it already was.
    pub async fn wait(&self) {
        let mut receiver = self.flag.subscribe();
        // The sender lives in `self`, so this ends only with the flag.
        receiver.wait_for(|triggered| *triggered).await.map(drop).unwrap_or_default();
    }
}

async fn next(term: &mut Signal, interrupt: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = term.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
        _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_who_waits_is_told_and_latecomers_too() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_triggered());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let shutdown = shutdown.clone();
                tokio::spawn(async move { shutdown.wait().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        shutdown.clone().trigger();
        for task in waiting {
            task.await.unwrap();
        }
        assert!(shutdown.is_triggered());
        shutdown.wait().await;
    }
}
