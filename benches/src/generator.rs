//! The load generator: as fast as its connections allow, or at a constant rate that waits for nobody.
//!
//! At a constant rate each request has the time at which it was meant to be sent, and its latency counts from
//! there: a server that stalls is charged for everybody who had to wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::sync::Semaphore;

use crate::acked::{Times, histogram};
use crate::bodies::Requests;
use crate::connection::Connection;
use crate::usage::{Pids, Span, Start};

/// How often a constant rate hands out what is due.
const TICK: Duration = Duration::from_micros(250);
/// Pause of a connection that broke.
const PAUSE: Duration = Duration::from_millis(10);
/// More than anything here can answer.
const CLOSED_PER_S_MAX: u64 = 150_000;

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The next one when the last was answered.
    Closed,
    /// So many per second, answered or not.
    Constant(u64),
}

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub target: SocketAddr,
    /// How many connections.
    pub connections: usize,
    /// How many threads drive them.
    pub threads: usize,
    /// How requests follow each other.
    pub pace: Pace,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub measure: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Shot {
    /// Requests answered 2xx while it was measured.
    pub done: u64,
    /// Latency of each, us.
    pub latencies: hdrhistogram::Histogram<u64>,
    /// Requests answered otherwise.
    pub refused: u64,
    /// Requests without an answer.
    pub broken: u64,
    /// Requests that were due and for which no connection was free.
    pub unsent: u64,
    /// CPU of everybody while it was measured.
    pub span: Span,
}

struct Field {
    load: Load,
    requests: Arc<Requests>,
    times: Arc<Times>,
    began: Instant,
    next: AtomicU64,
    done: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
    is_over: AtomicBool,
    due: Semaphore,
}

impl Load {
    /// The most requests it can send.
    pub fn slots(&self) -> usize {
        let per_s = match self.pace {
            Pace::Closed => CLOSED_PER_S_MAX,
            Pace::Constant(rate) => rate,
        };
        (per_s as f64 * (self.warm_up + self.measure).as_secs_f64()) as usize
    }

    /// The times of this load, before it is sent.
    pub fn times(&self, tag: u16) -> Arc<Times> {
        Arc::new(Times::new(tag, self.slots()))
    }
}

/// Sends the load and measures.
pub async fn fire(load: &Load, requests: &Arc<Requests>, times: &Arc<Times>, pids: Pids) -> Result<Shot> {
    let field = Arc::new(Field {
        load: load.clone(),
        requests: Arc::clone(requests),
        times: Arc::clone(times),
        began: Instant::now(),
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        broken: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        due: Semaphore::new(0),
    });
    let drivers: Vec<_> = (0..load.threads).map(|thread| drive_some(&field, thread)).collect();
    let ticker = match load.pace {
        Pace::Closed => None,
        Pace::Constant(rate) => Some(tick(Arc::clone(&field), rate)),
    };
    tokio::time::sleep(load.warm_up).await;
    let (start, done) = (Start::now(pids)?, field.done.load(Ordering::Relaxed));
    tokio::time::sleep(load.measure).await;
    let (span, done) = (start.until_now()?, field.done.load(Ordering::Relaxed) - done);
    field.is_over.store(true, Ordering::Relaxed);
    let mut issued = 0;
    if let Some(ticker) = ticker {
        issued = ticker.join().map_err(|_| anyhow!("the ticker panicked"))?;
    }
    field.due.close();
    let mut latencies = histogram()?;
    for driver in drivers {
        for latency in driver.join().map_err(|_| anyhow!("a driver panicked"))?? {
            latencies.saturating_record(u64::from(latency).max(1));
        }
    }
    let sent = field.next.load(Ordering::Relaxed).min(times.slots());
    let counted = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let unsent = u64::saturating_sub(issued, sent);
    Ok(Shot { done, latencies, refused: counted(&field.refused), broken: counted(&field.broken), unsent, span })
}

/// Hands out what is due; returns how much that was. A thread, because a timer of the runtime is a millisecond late.
fn tick(field: Arc<Field>, rate: u64) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let all = field.times.slots();
        let mut issued = 0;
        while !field.is_over.load(Ordering::Relaxed) && issued < all {
            let due = ((field.began.elapsed().as_secs_f64() * rate as f64) as u64).min(all);
            field.due.add_permits(usize::try_from(due - issued).unwrap_or_default());
            issued = due;
            std::thread::park_timeout(TICK);
        }
        issued
    })
}

/// A thread with its share of the connections. Returns the latencies that count, us.
fn drive_some(field: &Arc<Field>, thread: usize) -> JoinHandle<Result<Vec<u32>>> {
    let field = Arc::clone(field);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start a runtime")?.block_on(async {
            let Load { connections, threads, .. } = field.load;
            let share = (connections + threads - 1 - thread) / threads;
            let tasks: Vec<_> = (0..share).map(|_| tokio::spawn(drive(Arc::clone(&field)))).collect();
            let mut latencies = Vec::new();
            for task in tasks {
                latencies.extend(task.await.context("a connection's task panicked")?);
            }
            Ok(latencies)
        })
    })
}

/// One connection, until the load is over.
async fn drive(field: Arc<Field>) -> Vec<u32> {
    let mut latencies = Vec::new();
    let mut request = Vec::new();
    let mut connection: Option<Connection> = None;
    let measured = field.load.warm_up..field.load.warm_up + field.load.measure;
    while let Some((slot, intended)) = field.slot().await {
        field.requests.write(field.times.tag, slot, &mut request);
        let answer = match &mut connection {
            Some(connection) => connection.exchange(&request).await,
            None => match Connection::open(field.load.target).await {
                Ok(fresh) => connection.insert(fresh).exchange(&request).await,
                Err(error) => Err(error),
            },
        };
        let now = field.began.elapsed();
        match answer {
            Ok(200..=299) => {
                field.times.ack(slot);
                field.done.fetch_add(1, Ordering::Relaxed);
                let counts = if field.load.pace == Pace::Closed { now } else { intended };
                if measured.contains(&counts) {
                    latencies.push(u32::try_from((now - intended).as_micros()).unwrap_or(u32::MAX));
                }
            }
            Ok(_) => {
                field.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                field.broken.fetch_add(1, Ordering::Relaxed);
                connection = None;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    latencies
}

impl Field {
    /// The next request, and when after the beginning it is meant to be sent.
    async fn slot(&self) -> Option<(u64, Duration)> {
        if let Pace::Constant(_) = self.load.pace {
            self.due.acquire().await.ok()?.forget();
        }
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        let slot = self.next.fetch_add(1, Ordering::Relaxed);
        let intended = match self.load.pace {
            Pace::Closed => self.began.elapsed(),
            Pace::Constant(rate) => Duration::from_secs_f64(slot as f64 / rate as f64),
        };
        (slot < self.times.slots()).then_some((slot, intended))
    }
}
