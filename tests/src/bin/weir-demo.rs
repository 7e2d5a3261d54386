//! `make demo` and `make run`. Exits 0 only if the books balance.
//!
//! Children die with it: their handles kill them when they are dropped, on Ctrl-C too, and a guard does when
//! this process is killed itself.

use std::process::ExitCode;

use anyhow::{Result, bail};
use weir_tests::demo;
use weir_tests::interrupt::interrupted;
use weir_tests::observed::Control;

const USAGE: &str =
    "usage: weir-demo play [--control lose-one|double-one]   a recorded day; exits 0 only if the books balance
       weir-demo run                                      the same set-up, until Ctrl-C
environment: SEED DELIVERIES CONTROL KAFKA_BROKERS KAFKA_PORT KEEP INGEST_PORT DEMO_DIR NO_COLOR";

/// Usage error, as sysexits has it.
const USAGE_ERROR: u8 = 64;
/// Ended by Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

enum Order {
    Play(Option<Control>),
    Run,
}

fn main() -> ExitCode {
    let order = match order(std::env::args().skip(1).collect()) {
        Ok(order) => order,
        Err(error) => {
            eprintln!("weir-demo: {error:#}\n{USAGE}");
            return ExitCode::from(USAGE_ERROR);
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    let result = runtime.block_on(obey(order));
    // Not dropped: a reader that blocks must not hold up Ctrl-C.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| {
        eprintln!("weir-demo: {error:#}");
        ExitCode::FAILURE
    })
}

fn order(arguments: Vec<String>) -> Result<Order> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let control = match arguments[..] {
        ["run"] => return Ok(Order::Run),
        ["play"] => std::env::var("CONTROL").unwrap_or_default(),
        ["play", "--control", control] => control.to_owned(),
        _ => bail!("cannot make sense of {arguments:?}"),
    };
    if control.is_empty() {
        return Ok(Order::Play(None));
    }
    match Control::find(&control) {
        Some(control) => Ok(Order::Play(Some(control))),
        None => bail!("there is no control {control:?}"),
    }
}

async fn obey(order: Order) -> Result<ExitCode> {
    match order {
        Order::Run => {
            demo::run(interrupted()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Order::Play(control) => tokio::select! {
            balance = demo::play(control) => Ok(if balance? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
            () = interrupted() => {
                eprintln!("interrupted");
                Ok(ExitCode::from(INTERRUPTED))
            }
        },
    }
}
