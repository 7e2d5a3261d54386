//! `weir-processor` with a handler that fails half of all events once or twice, and asks a service about some: what is
//! under torture.

use std::process::ExitCode;

use weir_tests::flaky::Flaky;

fn main() -> ExitCode {
    processor::program::run(vec![Box::new(Flaky::from_environment())])
}
