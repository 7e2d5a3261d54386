//! Sending at a pace: one after the other, so that order is kept, or at a rate, whether or not answers come.
//!
//! At a rate the n-th event leaves n/rate seconds after the first: a slow door does not slow the sender down,
//! up to a bound on the requests in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bytes::Bytes;
use runtime::report::Failure;
use runtime::shutdown::Shutdown;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answer::{Answered, Teller};
use super::make;
use super::request::{Request, Wish};
use crate::http::Poster;

/// Requests in flight; from here on the sender falls behind and says so.
const IN_FLIGHT_MAX: usize = 1024;

/// A run.
pub struct Delivery<'a> {
    /// Where to.
    pub poster: Poster,
    /// What.
    pub wish: &'a Wish<'a>,
    /// Events per second.
    pub rate: Option<f64>,
    /// Nothing more is sent from then on; what was sent is waited for.
    pub shutdown: &'a Shutdown,
}

impl Delivery<'_> {
    /// Sends everything, and tells each answer when it comes.
    pub async fn run(&self, first: Request, teller: &mut Teller<'_, '_>) -> Result<(), Failure> {
        // The first one alone: if nobody listens, nobody will.
        let answered = post(self.poster.clone(), 1, first).await;
        if let Some(error) = &answered.error {
            let fix = "start weir-ingest, or say with --url where it is";
            return Err(Failure::unavailable(anyhow!("no answer: {error}: {fix}")));
        }
        teller.take(answered)?;
        match self.rate {
            None => self.in_turn(teller).await,
            Some(rate) => self.at_rate(rate, teller).await,
        }
    }

    async fn in_turn(&self, teller: &mut Teller<'_, '_>) -> Result<(), Failure> {
        for number in 2..=self.wish.count {
            if self.shutdown.is_triggered() {
                break;
            }
            teller.take(post(self.poster.clone(), number, make(self.wish, number)?).await)?;
        }
        Ok(())
    }

    async fn at_rate(&self, rate: f64, teller: &mut Teller<'_, '_>) -> Result<(), Failure> {
        let began = Instant::now();
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let mut posts = JoinSet::new();
        for number in 2..=self.wish.count {
            let due = began + Duration::from_secs_f64((number - 1) as f64 / rate);
            let turn = async {
                tokio::time::sleep_until(due.into()).await;
                in_flight.clone().acquire_owned().await
            };
            let permit = tokio::select! {
                // In this order, so that a run behind its rate stops, too.
                biased;
                () = self.shutdown.wait() => break,
                permit = turn => permit.map_err(Failure::internal)?,
            };
            teller.is_behind(due.elapsed());
            let (poster, request) = (self.poster.clone(), make(self.wish, number)?);
            posts.spawn(async move {
                let answered = post(poster, number, request).await;
                drop(permit);
                answered
            });
            while let Some(answered) = posts.try_join_next() {
                teller.take(answered.map_err(Failure::internal)?)?;
            }
        }
        if self.shutdown.is_triggered() && !posts.is_empty() {
            teller
                .remark(&format!("stopping: {} wait for their answer; a second Ctrl-C leaves at once", posts.len()))?;
        }
        while let Some(answered) = posts.join_next().await {
            teller.take(answered.map_err(Failure::internal)?)?;
        }
        Ok(())
    }
}

async fn post(poster: Poster, number: u64, request: Request) -> Answered {
    let began = Instant::now();
    let answer = poster.post(&request.headers, Bytes::from(request.body)).await;
    Answered::of(number, request.event_id, began.elapsed(), answer)
}
