//! Sending at a pace: one after the other, so that order is kept, or at a rate, whether or not answers come.
//!
//! At a rate the n-th event leaves n/rate seconds after the first: a slow door does not slow the sender down,
//! up to a bound on the requests in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bytes::Bytes;
use runtime::report::Failure;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answer::{Answered, Summary};
use super::make;
use super::request::{Request, Wish};
use crate::http::Poster;
use crate::progress::Progress;

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
}

impl Delivery<'_> {
    /// Sends everything; answers come in the order of their numbers.
    pub async fn run(&self, first: Request) -> Result<(Vec<Answered>, Summary), Failure> {
        let began = Instant::now();
        let mut progress = Progress::of(self.wish.count, "sending");
        // The first one alone: if nobody listens, nobody will.
        let answered = post(self.poster.clone(), 1, first).await;
        if let Some(error) = &answered.error {
            let fix = "start weir-ingest, or say with --url where it is";
            return Err(Failure::unavailable(anyhow!("no answer: {error}: {fix}")));
        }
        progress.advance(1);
        let mut answers = vec![answered];
        let late = match self.rate {
            None => {
                self.in_turn(&mut answers, &mut progress).await?;
                Duration::ZERO
            }
            Some(rate) => self.at_rate(rate, &mut answers, &mut progress).await?,
        };
        drop(progress);
        answers.sort_by_key(|answer| answer.n);
        let summary = Summary::of(&answers, began.elapsed(), late);
        Ok((answers, summary))
    }

    async fn in_turn(&self, answers: &mut Vec<Answered>, progress: &mut Progress) -> Result<(), Failure> {
        for number in 2..=self.wish.count {
            answers.push(post(self.poster.clone(), number, make(self.wish, number)?).await);
            progress.advance(1);
        }
        Ok(())
    }

    async fn at_rate(
        &self,
        rate: f64,
        answers: &mut Vec<Answered>,
        progress: &mut Progress,
    ) -> Result<Duration, Failure> {
        let began = Instant::now();
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let mut posts = JoinSet::new();
        let mut late = Duration::ZERO;
        for number in 2..=self.wish.count {
            let due = began + Duration::from_secs_f64((number - 1) as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            let permit = in_flight.clone().acquire_owned().await.map_err(Failure::internal)?;
            late = late.max(due.elapsed());
            let (poster, request) = (self.poster.clone(), make(self.wish, number)?);
            posts.spawn(async move {
                let answered = post(poster, number, request).await;
                drop(permit);
                answered
            });
            while let Some(answered) = posts.try_join_next() {
                answers.push(answered.map_err(Failure::internal)?);
                progress.advance(1);
            }
        }
        while let Some(answered) = posts.join_next().await {
            answers.push(answered.map_err(Failure::internal)?);
            progress.advance(1);
        }
        Ok(late)
    }
}

async fn post(poster: Poster, number: u64, request: Request) -> Answered {
    let began = Instant::now();
    let answer = poster.post(&request.headers, Bytes::from(request.body)).await;
    Answered::of(number, request.event_id, began.elapsed(), answer)
}
