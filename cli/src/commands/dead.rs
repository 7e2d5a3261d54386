//! `weir dead`: look at dead letters, mend them, run them again or give them up.
//!
//! A dead letter is a record of `dead-events`; what became of it stands in `dead-resolutions`. Nothing here changes
//! either: `redrive` and `discard` write commands, which the owner of the partition executes in its transaction. So
//! all of it may be interrupted, repeated and done by two people at once.

mod letters;
mod states;
mod filter;
mod content;
mod layout;
mod diff;
mod drafts;
mod list;
mod show;
mod edit;
mod editor;
mod choice;
mod plan;
mod compose;
mod window;
mod outcome;
mod act;

use runtime::config::Config;
use runtime::report::{Exit, Failure};
use schemas::command::Verb;

use crate::args::dead::DeadCommand;
use crate::output::Output;

/// Runs a subcommand. `can_ask`: somebody sits at a terminal.
pub fn run(config: &Config, command: &DeadCommand, can_ask: bool, out: &mut Output<'_>) -> Result<Exit, Failure> {
    match command {
        DeadCommand::List(options) => list::run(config, options, out),
        DeadCommand::Show(options) => show::run(config, options, out),
        DeadCommand::Edit(options) => edit::run(config, options, out),
        DeadCommand::Redrive(options) => {
            let wish = act::Wish {
                verb: Verb::Redrive,
                options: &options.act,
                is_as_is: options.as_is,
                is_original: options.original,
            };
            act::run(config, &wish, can_ask, out)
        }
        DeadCommand::Discard(options) => {
            let wish = act::Wish { verb: Verb::Discard, options: &options.act, is_as_is: false, is_original: true };
            act::run(config, &wish, can_ask, out)
        }
    }
}
