//! Reading dead letters: every one of `dead-events`, or the one with an id, and what became of them.
//!
//! One record is in memory at a time. A record that is no dead letter is counted and passed over.

use std::ops::ControlFlow;

use anyhow::anyhow;
use rdkafka::Message;
use runtime::config::Config;
use runtime::report::{Exit, Failure};
use schemas::{DeadEvent, DeadId, Resolution, Topic};

use super::states::States;
use crate::ask;
use crate::log::{Log, Range};
use crate::progress::Progress;

/// Whether to go on reading.
pub type Flow = Result<ControlFlow<()>, Failure>;

/// A dead letter, as it lies in its record.
pub struct Letter<'a> {
    /// Its id.
    pub id: DeadId,
    /// Its offset in `dead-events`.
    pub offset: i64,
    /// The record's value.
    pub value: &'a [u8],
    /// The value, decoded.
    pub event: DeadEvent<'a>,
}

impl<'a> Letter<'a> {
    /// Reads a record's value. `None`: it is no dead letter.
    pub fn read(offset: i64, value: &'a [u8]) -> Option<Self> {
        let event = DeadEvent::decode(value).ok()?;
        Some(Self { id: DeadId::parse(event.dead_id)?, offset, value, event })
    }
}

/// A bar for reading these.
pub fn reading(ranges: &[Range]) -> Progress {
    Progress::of(ranges.iter().map(Range::len).sum(), "reading")
}

/// The two topics.
pub struct Letters {
    log: Log,
    dead: String,
    resolutions: String,
    retry: Option<String>,
}

impl Letters {
    /// Connects. Nothing is read yet.
    pub fn open(config: &Config) -> Result<Self, Failure> {
        let first = config.topics.retry_delays.first().cloned();
        Ok(Self {
            log: Log::connect(&config.kafka, &config.processor.group)?,
            dead: config.topics.name(&Topic::Dead),
            resolutions: config.topics.name(&Topic::Resolutions),
            retry: first.map(|delay| config.topics.name(&Topic::Retry(delay))),
        })
    }

    /// The connection.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Full name of `dead-resolutions`.
    pub fn resolutions(&self) -> &str {
        &self.resolutions
    }

    /// Where the partitions of `dead-events` begin and end.
    pub fn ranges(&self) -> Result<Vec<Range>, Failure> {
        self.log.bounds_of_existing(&self.dead)
    }

    /// The topic that takes commands. A dead letter's partition has to be one of its partitions, too.
    pub fn commands(&self) -> Result<String, Failure> {
        let missing = || Failure::usage(anyhow!("[retry] delays: without a retry topic there is no way back"));
        let name = self.retry.clone().ok_or_else(missing)?;
        let (here, there) = (self.log.bounds_of_existing(&name)?.len(), self.ranges()?.len());
        if here == there {
            return Ok(name);
        }
        let fix = "no letter can be sent back; see `weir topics plan`";
        Err(Failure::unavailable(anyhow!("{name} has {here} partitions and {} has {there}: {fix}", self.dead)))
    }

    /// Hands out every letter of the ranges, each partition in the order in which they died.
    pub fn each(
        &self,
        ranges: &[Range],
        mut progress: Progress,
        take: &mut dyn FnMut(&Letter<'_>) -> Flow,
    ) -> Result<(), Failure> {
        let mut unreadable: u64 = 0;
        self.scan(ranges, &mut |letter| {
            progress.advance(1);
            let Some(letter) = letter else {
                unreadable += 1;
                return Ok(ControlFlow::Continue(()));
            };
            take(letter)
        })?;
        drop(progress);
        if unreadable > 0 {
            ask::say(&format!(
                "records of {} that are no dead letters and were passed over: {unreadable}\n",
                self.dead
            ))?;
        }
        Ok(())
    }

    /// Hands out every record of the ranges; `None` stands for what is no dead letter.
    pub fn scan(&self, ranges: &[Range], take: &mut dyn FnMut(Option<&Letter<'_>>) -> Flow) -> Result<(), Failure> {
        let mut taken = Ok(());
        self.log.scan(&self.dead, ranges, &mut |message| {
            let letter = Letter::read(message.offset(), message.payload().unwrap_or_default());
            take(letter.as_ref()).unwrap_or_else(|failure| {
                taken = Err(failure);
                ControlFlow::Break(())
            })
        })?;
        taken
    }

    /// The record of one letter: its offset and its value.
    pub fn one(&self, id: DeadId) -> Result<(i64, Vec<u8>), Failure> {
        let ranges: Vec<Range> = self.ranges()?.into_iter().filter(|range| range.partition == id.partition).collect();
        let mut found = None;
        self.each(&ranges, reading(&ranges), &mut |letter| {
            if letter.id != id {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some((letter.offset, letter.value.to_vec()));
            Ok(ControlFlow::Break(()))
        })?;
        found.ok_or_else(|| self.no_such(id))
    }

    /// The answer when there is none of that id.
    pub fn no_such(&self, id: DeadId) -> Failure {
        Failure { exit: Exit::No, error: anyhow!("there is no dead letter {id} in {}", self.dead) }
    }

    /// What became of every letter.
    pub fn states(&self) -> Result<States, Failure> {
        let ranges = self.log.bounds_of_existing(&self.resolutions)?;
        let mut progress = Progress::of(ranges.iter().map(Range::len).sum(), "reading resolutions");
        let mut states = States::default();
        self.log.scan(&self.resolutions, &ranges, &mut |message| {
            progress.advance(1);
            states.take(message.key().unwrap_or_default(), message.payload());
            ControlFlow::Continue(())
        })?;
        Ok(states)
    }

    /// The last word on one letter.
    pub fn resolution(&self, id: DeadId) -> Result<Option<Resolution>, Failure> {
        let ranges = self.log.bounds_of_existing(&self.resolutions)?;
        let (key, mut last) = (id.to_string(), None);
        self.log.scan(&self.resolutions, &ranges, &mut |message| {
            if message.key() == Some(key.as_bytes()) {
                last = message.payload().and_then(Resolution::decode);
            }
            ControlFlow::Continue(())
        })?;
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_letter_knows_its_id_and_what_is_none_is_not_read() {
        let value = samples::dead("3-17-2", b"{\"a\":1}");
        let letter = Letter::read(9, &value).unwrap();
        assert_eq!(letter.id, DeadId { partition: 3, offset: 17, generation: 2 });
        assert!(Letter::read(0, b"garbage").is_none());
        assert!(Letter::read(0, &samples::dead("evt_1", b"{\"a\":1}")).is_none());
    }
}
