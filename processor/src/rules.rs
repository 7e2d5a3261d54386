//! Handlers that are written in the configuration: filters, mappings, calls.
//!
//! Like every handler they are pure: what they answer follows from the event alone. An expression that fails would
//! fail again, so its event is a dead letter at once.

mod filter;
mod map;
mod fetch;
mod scope;
mod splice;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use runtime::config::{self, Config};
use schemas::ReasonCode;

use crate::step::handle::{Answer, Handler};

/// The handlers of every source, in order.
pub fn of_config(config: &Config) -> HashMap<String, Vec<Box<dyn Handler>>> {
    let sources = config.sources.iter().filter(|source| !source.handlers.is_empty());
    let rules =
        |handlers: &[config::Handler]| handlers.iter().enumerate().map(|(number, of)| rule(number, of)).collect();
    sources.map(|source| (source.name.clone(), rules(&source.handlers))).collect()
}

fn rule(number: usize, handler: &config::Handler) -> Box<dyn Handler> {
    match handler {
        config::Handler::Filter { keep } => {
            Box::new(filter::Filter { name: format!("handlers[{number}] filter"), keep: keep.clone() })
        }
        config::Handler::Map { body } => {
            Box::new(map::Map { name: format!("handlers[{number}] map"), body: body.clone() })
        }
        config::Handler::Fetch(fetch) => {
            Box::new(fetch::Fetch { name: format!("handlers[{number}] fetch"), config: fetch.as_ref().clone() })
        }
    }
}

/// The end of an event, in the name of who gave it up.
fn rejected(name: &str, message: &str) -> Answer {
    Answer::Dead { reason: ReasonCode::HandlerRejected, message: format!("{name}: {message}") }
}
