//! `weir tail`: the events of a topic, newest or oldest first to be shown, and new ones as they come.
//!
//! Reads committed records only and belongs to no group.

mod filter;
mod last;

use std::ops::ControlFlow;

use anyhow::anyhow;
use rdkafka::message::BorrowedMessage;
use runtime::config::Config;
use runtime::report::{Exit, Failure};
use schemas::{Topic, Topics};

use self::filter::Filter;
use crate::args::{From, TailArgs};
use crate::log::{Log, Range};
use crate::output::{Form, Output};
use crate::progress::Progress;
use crate::record::Seen;

/// Events shown from the end unless `-n` says otherwise.
const LINES: usize = 10;

/// Prints events.
pub fn run(config: &Config, options: &TailArgs, out: &mut Output<'_>) -> Result<Exit, Failure> {
    if options.follow && out.form() == Form::Json {
        return Err(Failure::usage(anyhow!("with --follow a JSON array never ends: use -o jsonl")));
    }
    let topic = resolve(&config.topics, &options.topic)?;
    let name = config.topics.name(&topic);
    let log = Log::connect(&config.kafka, &config.processor.group)?;
    let bounds = log.bounds_of_existing(&name)?;
    let tail = Tail { log: &log, topic: &topic, name: &name, filter: Filter::of(options) };
    let limit = options.lines.and_then(|lines| usize::try_from(lines).ok());
    let left = match options.from {
        From::End => {
            tail.newest(&bounds, limit.unwrap_or(LINES), out)?;
            usize::MAX
        }
        From::Beginning => tail.oldest(&bounds, limit.unwrap_or(usize::MAX), out)?,
    };
    if options.follow && left > 0 {
        out.flush()?;
        tail.follow(&ends(&bounds), left, out)?;
    }
    out.end_of_list()?;
    Ok(Exit::Done)
}

fn ends(bounds: &[Range]) -> Vec<(i32, i64)> {
    bounds.iter().map(|range| (range.partition, range.until)).collect()
}

struct Tail<'a> {
    log: &'a Log,
    topic: &'a Topic,
    name: &'a str,
    filter: Filter<'a>,
}

impl Tail<'_> {
    fn see(&self, message: &BorrowedMessage<'_>) -> Option<Seen> {
        let seen = Seen::of(self.topic, message);
        self.filter.fits(&seen).then_some(seen)
    }

    fn newest(&self, bounds: &[Range], limit: usize, out: &mut Output<'_>) -> Result<(), Failure> {
        let mut progress = Progress::of(bounds.iter().map(Range::len).sum(), "reading back");
        let found = last::last(bounds, limit, &mut |ranges, take| {
            self.log.scan(self.name, ranges, &mut |message| {
                if let Some(seen) = self.see(message) {
                    take(seen);
                }
                progress.advance(1);
                ControlFlow::Continue(())
            })
        })?;
        drop(progress);
        found.iter().try_for_each(|seen| out.next(seen))
    }

    /// Prints at most `left` of the oldest events; how many more are wanted.
    fn oldest(&self, bounds: &[Range], mut left: usize, out: &mut Output<'_>) -> Result<usize, Failure> {
        let mut printed = Ok(());
        if left > 0 {
            self.log.scan(self.name, bounds, &mut |message| {
                printed = self.print(message, &mut left, out);
                go_on(printed.is_ok() && left > 0)
            })?;
        }
        printed.map(|()| left)
    }

    /// Prints at most `left` new events, each at once.
    fn follow(&self, next: &[(i32, i64)], mut left: usize, out: &mut Output<'_>) -> Result<(), Failure> {
        let mut printed = Ok(());
        self.log.follow(self.name, next, &mut |message| {
            printed = self.print(message, &mut left, out).and_then(|()| out.flush());
            go_on(printed.is_ok() && left > 0)
        })?;
        printed
    }

    fn print(&self, message: &BorrowedMessage<'_>, left: &mut usize, out: &mut Output<'_>) -> Result<(), Failure> {
        if let Some(seen) = self.see(message) {
            *left -= 1;
            out.next(&seen)?;
        }
        Ok(())
    }
}

fn go_on(wanted: bool) -> ControlFlow<()> {
    if wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// The topic of a short name, or of its full one with or without the prefix.
fn resolve(topics: &Topics, wanted: &str) -> Result<Topic, Failure> {
    let bare = Topics { prefix: String::new(), ..topics.clone() };
    let all = topics.all();
    let found =
        all.iter().find(|topic| wanted == short(topic) || wanted == bare.name(topic) || wanted == topics.name(topic));
    found.cloned().ok_or_else(|| {
        let known: Vec<String> = all.iter().map(short).collect();
        Failure::usage(anyhow!("no topic is called {wanted:?}; there are: {}", known.join(", ")))
    })
}

fn short(topic: &Topic) -> String {
    let name = match topic {
        Topic::Verified => "verified",
        Topic::Retry(delay) => return format!("retry-{delay}"),
        Topic::Clean => "clean",
        Topic::Stale => "stale",
        Topic::Dead => "dead",
        Topic::Resolutions => "resolutions",
        Topic::Quarantine => "quarantine",
        Topic::Changelog => "changelog",
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics {
            prefix: "p-".to_owned(),
            partitions: 4,
            replication: 1,
            retry_delays: vec!["5s".to_owned()],
            body_limit: 1,
            longest_window_ms: 1,
        }
    }

    #[test]
    fn a_topic_goes_by_its_short_and_its_full_name() {
        for topic in topics().all() {
            let full = topics().name(&topic);
            let bare = full.strip_prefix("p-").unwrap_or_default().to_owned();
            for name in [short(&topic), bare, full] {
                assert_eq!(resolve(&topics(), &name).unwrap(), topic, "{name}");
            }
        }
    }

    #[test]
    fn an_unknown_topic_is_refused_with_the_names_there_are() {
        let failure = resolve(&topics(), "cleen").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("clean, stale"), "{failure}");
    }
}
