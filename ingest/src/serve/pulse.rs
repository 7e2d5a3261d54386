//! What is known of one connection's life, and when it has to end.
//!
//! A connection ends at once when its peer is too slow: with a head that began, with the first request, or with taking
//! what it is answered. It ends gently, so that a request of that very moment is still served, when it was idle for
//! long or makes room for another. Nothing here touches the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::Version;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::Limits;

/// How a connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// What was asked meanwhile is still answered.
    Gently,
    /// It is dropped.
    AtOnce,
}

/// What is known of a connection's life. Times are milliseconds since it was opened.
#[derive(Debug)]
pub struct Pulse {
    limits: Limits,
    opened: Instant,
    /// Bytes that arrived since a request last began, came further or ended.
    unclaimed: AtomicU64,
    under_way: AtomicU32,
    requests: AtomicU64,
    is_http2: AtomicBool,
    /// When the last request ended.
    idle_since: AtomicU64,
    /// When the peer stopped taking what is written, plus one; 0: it takes it.
    blocked_since: AtomicU64,
    is_unwanted: AtomicBool,
    unwanted: Notify,
}

impl Pulse {
    /// Of a connection that was just opened.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            opened: Instant::now(),
            unclaimed: AtomicU64::new(0),
            under_way: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            is_unwanted: AtomicBool::new(false),
            unwanted: Notify::new(),
        }
    }

    fn age(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Bytes came in.
    pub(super) fn arrived(&self, bytes: usize) {
        self.unclaimed.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What came so far is a part of a request that was noticed.
    pub(super) fn claim(&self) {
        self.unclaimed.store(0, Ordering::Relaxed);
    }

    /// Something was to be written: the peer took of it, or left us waiting.
    pub(super) fn wrote(&self, is_taken: bool) {
        if is_taken {
            self.blocked_since.store(0, Ordering::Relaxed);
        } else if self.blocked_since.load(Ordering::Relaxed) == 0 {
            self.blocked_since.store(self.age().saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Whether the connection has made a request, and since when it is idle; `None`: it is not, or it leaves already.
    pub(super) fn idle(&self) -> Option<(bool, Instant)> {
        if self.is_busy() || self.is_unwanted.load(Ordering::Relaxed) {
            return None;
        }
        let since = self.opened + Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        Some((self.requests.load(Ordering::Relaxed) > 0, since))
    }

    /// The connection has to make room for another.
    pub(super) fn leave(&self) {
        self.is_unwanted.store(true, Ordering::Relaxed);
        self.unwanted.notify_one();
    }

    fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// Whether bytes came that are no request yet. HTTP/2 has bytes that never become one, pings among them.
    fn has_begun(&self) -> bool {
        self.unclaimed.load(Ordering::Relaxed) > 0 && !self.is_http2.load(Ordering::Relaxed)
    }

    fn is_blocked(&self) -> bool {
        let since = self.blocked_since.load(Ordering::Relaxed);
        since > 0 && self.is_longer_than(self.limits.write, since)
    }

    fn is_longer_than(&self, limit: Duration, since: u64) -> bool {
        u128::from(self.age().saturating_sub(since)) > limit.as_millis()
    }
}

/// Looks at a connection until it has to end.
pub(super) struct Watch<'a> {
    pulse: &'a Pulse,
    /// The number of requests when a head was first seen to have begun, and when that was.
    suspected: Option<(u64, Instant)>,
    /// When it was asked to end.
    told: Option<Instant>,
}

impl<'a> Watch<'a> {
    /// Of a connection that nothing is known against.
    pub(super) fn new(pulse: &'a Pulse) -> Self {
        Self { pulse, suspected: None, told: None }
    }

    /// The connection was asked to end.
    pub(super) fn tell(&mut self) {
        self.told.get_or_insert_with(Instant::now);
    }

    /// Resolves when the connection has to end.
    pub(super) async fn next(&mut self) -> End {
        let Limits { head, idle, write, .. } = self.pulse.limits;
        let tick = head.min(idle).min(write) / 5;
        loop {
            let is_asked = tokio::select! {
                () = tokio::time::sleep(tick) => false,
                () = self.pulse.unwanted.notified() => true,
            };
            if is_asked && self.told.is_none() {
                self.tell();
                return End::Gently;
            }
            if let Some(end) = self.judge(tick) {
                return end;
            }
        }
    }

    fn judge(&mut self, tick: Duration) -> Option<End> {
        let Limits { head, idle, .. } = self.pulse.limits;
        if self.pulse.is_blocked() || self.has_slow_head(tick) {
            return Some(End::AtOnce);
        }
        if self.pulse.is_busy() {
            return None;
        }
        let idle_since = self.pulse.idle_since.load(Ordering::Relaxed);
        if self.pulse.requests.load(Ordering::Relaxed) == 0 {
            return self.pulse.is_longer_than(head * 2, idle_since).then_some(End::AtOnce);
        }
        match self.told {
            Some(told) => (told.elapsed() > head && self.pulse.is_longer_than(head, idle_since)).then_some(End::AtOnce),
            None if self.pulse.has_begun() || !self.pulse.is_longer_than(idle, idle_since) => None,
            None => {
                self.tell();
                Some(End::Gently)
            }
        }
    }

    /// Whether a head began and did not become a request in time.
    fn has_slow_head(&mut self, tick: Duration) -> bool {
        let requests = self.pulse.requests.load(Ordering::Relaxed);
        if self.pulse.is_busy() || !self.pulse.has_begun() {
            self.suspected = None;
            return false;
        }
        match self.suspected {
            Some((then, since)) if then == requests => since.elapsed() + tick >= self.pulse.limits.head,
            Some(_) | None => {
                self.suspected = Some((requests, Instant::now()));
                false
            }
        }
    }
}

/// A request that is being answered.
pub(super) struct UnderWay(Arc<Pulse>);

impl UnderWay {
    /// It begins.
    pub(super) fn begin(pulse: &Arc<Pulse>, version: Version) -> Self {
        pulse.is_http2.store(version == Version::HTTP_2, Ordering::Relaxed);
        pulse.requests.fetch_add(1, Ordering::Relaxed);
        pulse.under_way.fetch_add(1, Ordering::Relaxed);
        pulse.claim();
        Self(Arc::clone(pulse))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.claim();
        self.0.idle_since.store(self.0.age(), Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
