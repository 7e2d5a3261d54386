//! Makes the calls that handlers want: one pool for all workers of the process, a queue and a breaker per host.
//!
//! Nothing here is state. A call whose worker died, or lost the partition, ends in nothing: the next owner makes it
//! again. Nothing here blocks a worker: it hands calls over and picks replies up.

pub mod address;
pub mod breaker;
mod http;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::RngExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::call::{Call, Caller, Reply, Ticket};
use crate::metrics;
use breaker::{Admit, Breaker, Outcome, State};
use http::Clients;

/// Replies that wait for their worker. Calls keep their place in the host's concurrency until theirs was taken, so
/// that a worker that is busy holds back answers instead of gathering them.
const REPLIES: usize = 64;
/// Calls that wait for one host, some kilobytes each. An event that finds no room comes again, which uses up no attempt.
const QUEUED: usize = 4096;
/// When, milliseconds: a queue that is full is not empty in a moment.
const FULL_MS: u64 = 10_000;
/// Hosts that are remembered although nothing is under way to them.
const HOSTS: usize = 1024;
/// Hosts with a name of their own in the metrics.
const LABELS: usize = 64;
/// Events that have to wait for a host come back spread over a quarter of the wait, and at least this, milliseconds.
const SPREAD_MS: u64 = 1000;

/// Makes calls for every worker of a process.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runtime: Handle,
    clients: Clients,
    hosts: Mutex<Hosts>,
    began: Instant,
}

#[derive(Debug, Default)]
struct Hosts {
    known: HashMap<String, Host>,
    labels: HashSet<String>,
}

/// One scheme, host and port.
#[derive(Debug)]
struct Host {
    /// Its name in the metrics.
    label: String,
    breaker: Breaker,
    queue: VecDeque<Queued>,
    under_way: u32,
}

#[derive(Debug)]
struct Queued {
    ticket: Ticket,
    call: Call,
    replies: mpsc::Sender<(Ticket, Reply)>,
}

impl Pool {
    /// A pool whose calls run there.
    pub fn new(runtime: Handle) -> anyhow::Result<Self> {
        let clients = Clients::new()?;
        Ok(Self(Arc::new(Shared { runtime, clients, hosts: Mutex::default(), began: Instant::now() })))
    }

    /// A line for one worker.
    pub fn line(&self) -> Line {
        let (sender, replies) = mpsc::channel(REPLIES);
        Line { pool: self.clone(), sender, replies, refused: Vec::new() }
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        // Nothing under the lock can leave a host half changed.
        self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Has a call made. `false`: it is not made, for too many wait for its host.
    fn enqueue(&self, origin: &str, queued: Queued) -> bool {
        {
            let mut hosts = self.hosts();
            let queue = &mut hosts.host(origin).queue;
            if queue.len() >= QUEUED {
                return false;
            }
            queue.push_back(queued);
        }
        self.start(origin);
        true
    }

    /// Starts what may be made now.
    fn start(&self, origin: &str) {
        let now_ms = self.now_ms();
        let mut hosts = self.hosts();
        let host = hosts.host(origin);
        while let Some(queued) = host.next() {
            match host.breaker.admit(now_ms) {
                Admit::Wait(ms) => self.turn_away(queued, ms),
                admitted @ (Admit::Go | Admit::Probe) => {
                    host.under_way += 1;
                    metrics::calls_under_way(host.label.clone(), 1.0);
                    self.0.runtime.spawn(self.clone().make(origin.to_owned(), queued, admitted));
                }
            }
            host.show();
        }
    }

    fn turn_away(&self, queued: Queued, ms: u64) {
        let reply = (queued.ticket, come_again(ms));
        let sender = queued.replies;
        if let Err(mpsc::error::TrySendError::Full(reply)) = sender.try_send(reply) {
            self.0.runtime.spawn(async move { sender.send(reply).await.unwrap_or_default() });
        }
    }

    async fn make(self, origin: String, queued: Queued, admitted: Admit) {
        let Queued { ticket, call, replies } = queued;
        let began = Instant::now();
        // In a task of its own: a panic in a client of HTTP is that call's failure.
        let shared = Arc::clone(&self.0);
        let made = tokio::spawn(async move { shared.clients.make(call).await }).await;
        let (reply, outcome) = made.unwrap_or_else(|_| {
            let message = "the call ended without a result".to_owned();
            (Reply::Failed { message }, Outcome::Failure { retry_after_ms: None })
        });
        {
            let now_ms = self.now_ms();
            let mut hosts = self.hosts();
            let host = hosts.host(&origin);
            host.breaker.record(now_ms, admitted, outcome);
            host.show();
            metrics::called(host.label.clone(), name(&reply, outcome), began.elapsed().as_secs_f64());
        }
        // Nobody to take it: the worker is gone.
        replies.send((ticket, reply)).await.unwrap_or_default();
        {
            let mut hosts = self.hosts();
            let host = hosts.host(&origin);
            host.under_way = host.under_way.saturating_sub(1);
            metrics::calls_under_way(host.label.clone(), -1.0);
        }
        self.start(&origin);
    }
}

/// The reply to a call that was not made.
fn come_again(ms: u64) -> Reply {
    let spread_ms = rand::rng().random_range(0..=SPREAD_MS.max(ms / 4));
    Reply::Open { retry_in_ms: ms.saturating_add(spread_ms) }
}

impl Hosts {
    fn host(&mut self, origin: &str) -> &mut Host {
        if self.known.len() >= HOSTS && !self.known.contains_key(origin) {
            self.known.retain(|_, host| host.under_way > 0 || !host.queue.is_empty() || !host.breaker.is_quiet());
        }
        let labels = &mut self.labels;
        self.known.entry(origin.to_owned()).or_insert_with(|| {
            let is_named = labels.contains(origin) || labels.len() < LABELS && labels.insert(origin.to_owned());
            let label = if is_named { origin } else { metrics::OTHER_HOSTS }.to_owned();
            Host { label, breaker: Breaker::default(), queue: VecDeque::new(), under_way: 0 }
        })
    }
}

impl Host {
    /// The next call that somebody still waits for, if there is room for it.
    fn next(&mut self) -> Option<Queued> {
        while self.queue.front().is_some_and(|queued| queued.replies.is_closed()) {
            self.queue.pop_front();
        }
        self.queue.pop_front_if(|queued| self.under_way < queued.call.concurrency.max(1))
    }

    fn show(&self) {
        let state = match self.breaker.state() {
            State::Closed => 0.0,
            State::HalfOpen => 1.0,
            State::Open { .. } => 2.0,
        };
        metrics::breaker(&self.label, state);
    }
}

/// The outcome's name in the metrics.
fn name(reply: &Reply, outcome: Outcome) -> &'static str {
    match (reply, outcome) {
        (Reply::Refused { .. }, _) => "refused",
        (Reply::Answered { .. }, Outcome::Failure { .. }) => "failed",
        (Reply::Answered { status: 200..=299, .. }, _) => "success",
        (Reply::Answered { .. }, _) => "rejected",
        (Reply::Failed { .. }, _) => "unreachable",
        (Reply::Open { .. }, _) => "open",
    }
}

/// Calls of one worker.
#[derive(Debug)]
pub struct Line {
    pool: Pool,
    sender: mpsc::Sender<(Ticket, Reply)>,
    replies: mpsc::Receiver<(Ticket, Reply)>,
    /// Replies to calls that are not made.
    refused: Vec<(Ticket, Reply)>,
}

impl Caller for Line {
    fn call(&mut self, ticket: Ticket, call: Call) {
        match http::address_of(&call.url) {
            Ok(url) => {
                let queued = Queued { ticket, call, replies: self.sender.clone() };
                if !self.pool.enqueue(&url.origin().ascii_serialization(), queued) {
                    self.refused.push((ticket, come_again(FULL_MS)));
                }
            }
            Err(message) => self.refused.push((ticket, Reply::Refused { message })),
        }
    }

    fn replies(&mut self) -> Vec<(Ticket, Reply)> {
        let mut replies = std::mem::take(&mut self.refused);
        while let Ok(reply) = self.replies.try_recv() {
            replies.push(reply);
        }
        replies
    }
}
