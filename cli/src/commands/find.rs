//! `weir find`: every place an event went through, in the order of time.
//!
//! Event ids are no keys, so this reads whole topics (or, with `--since`, their ends). Read-only.

mod fate;

use std::ops::ControlFlow;

use anyhow::anyhow;
use runtime::config::Config;
use runtime::report::{Exit, Failure};
use schemas::Topic;

use self::fate::Found;
use crate::args::FindArgs;
use crate::log::{Log, Range};
use crate::output::Output;
use crate::progress::Progress;
use crate::record::{self, Seen};

/// Prints the places; exit 1 if there is none.
pub fn run(config: &Config, options: &FindArgs, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let log = Log::connect(&config.kafka, &config.processor.group)?;
    let pieces = pieces(config, &log, options.since.map(|since| since.at_ms(runtime::clock::now_ms())))?;
    let total = pieces.iter().flat_map(|piece| &piece.ranges).map(Range::len).sum();
    let mut progress = Progress::of(total, "reading");
    let mut found = Vec::new();
    for piece in &pieces {
        search(&log, piece, options, &mut found, &mut progress)?;
    }
    drop(progress);
    if found.is_empty() {
        out.nothing()?;
        let names: Vec<&str> = pieces.iter().map(|piece| piece.name.as_str()).collect();
        let error = anyhow!("no trace of {} in {}", options.event_id, names.join(", "));
        return Err(Failure { exit: Exit::No, error });
    }
    let verified = config.topics.name(&Topic::Verified);
    let partitions: Vec<i32> =
        found.iter().filter(|found| found.topic == Topic::Verified).map(|found| found.seen.partition).collect();
    let committed = log.committed(&verified, &partitions)?;
    out.list(&fate::life_line(found, &committed))?;
    Ok(Exit::Done)
}

/// What is read of a topic.
struct Piece {
    topic: Topic,
    name: String,
    ranges: Vec<Range>,
}

/// The topics that exist, without those that hold no events.
fn pieces(config: &Config, log: &Log, since_ms: Option<i64>) -> Result<Vec<Piece>, Failure> {
    let mut pieces = Vec::new();
    for topic in config.topics.all() {
        if matches!(topic, Topic::Quarantine | Topic::Changelog) {
            continue;
        }
        let name = config.topics.name(&topic);
        let Some(mut ranges) = log.bounds(&name)? else {
            continue;
        };
        if let Some(since_ms) = since_ms {
            log.since(&name, since_ms.max(0), &mut ranges)?;
        }
        pieces.push(Piece { topic, name, ranges });
    }
    if pieces.is_empty() {
        let error = anyhow!("none of the topics exists: create them with `weir topics apply`");
        return Err(Failure::unavailable(error));
    }
    Ok(pieces)
}

/// Whether a resolution's key is a dead id, or that of a late command's answer about it.
fn is_about(key: &[u8], dead_id: &str) -> bool {
    key.strip_prefix(dead_id.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
}

fn search(
    log: &Log,
    piece: &Piece,
    options: &FindArgs,
    found: &mut Vec<Found>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    // Resolutions come after the dead events they resolve.
    let dead_ids: Vec<String> = found.iter().filter_map(|found| Some(found.seen.dead.as_ref()?.id.clone())).collect();
    if piece.topic == Topic::Resolutions && dead_ids.is_empty() {
        return Ok(());
    }
    log.scan(&piece.name, &piece.ranges, &mut |message| {
        progress.advance(1);
        let is_resolution = || {
            let key = rdkafka::Message::key(message).unwrap_or_default();
            piece.topic == Topic::Resolutions && dead_ids.iter().any(|id| is_about(key, id))
        };
        if record::is_of(&piece.topic, message, &options.event_id) || is_resolution() {
            let seen = Seen::of(&piece.topic, message);
            let of_source = options.source.is_none() || seen.source.is_none() || options.source == seen.source;
            if of_source {
                found.push(Found { topic: piece.topic.clone(), seen });
            }
        }
        ControlFlow::Continue(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolution_is_about_its_letter_and_so_is_the_answer_to_a_late_command() {
        for key in ["3-17-0", "3-17-0/c0ffee"] {
            assert!(is_about(key.as_bytes(), "3-17-0"), "{key}");
        }
        for key in ["3-17-1", "3-17-01", "3-17", "", "13-17-0"] {
            assert!(!is_about(key.as_bytes(), "3-17-0"), "{key}");
        }
    }
}
