//! `make torture`: one run of a seed. Exits 0 only if nothing was violated.
//!
//! Children die with it: their handles kill them when they are dropped, and a guard does when this process is
//! killed itself.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use weir_tests::interrupt::interrupted;
use weir_tests::seed;
use weir_tests::torture::control::Control;
use weir_tests::torture::evidence;
use weir_tests::torture::run::{Options, Outcome, torture};

const USAGE: &str =
    "usage: weir-torture run [--control lose-one|double-one|double-letter]   one run; exits 0 only without a violation
       weir-torture evidence                              makes docs/evidence.md anew
environment: SEED MINUTES RATE";

/// Usage error, as sysexits has it.
const USAGE_ERROR: u8 = 64;
/// Ended by Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;
const MINUTES: f64 = 3.0;
/// Deliveries a second.
const RATE: u32 = 60;
/// How many violations a person gets to see at once; all stand in the evidence.
const SHOWN: usize = 40;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let options = match arguments[..] {
        ["evidence"] => return finish(evidence::write_page().map(|()| ExitCode::SUCCESS)),
        ["run"] => options(None),
        ["run", "--control", name] => options(Some(name)),
        _ => Err(anyhow::anyhow!("cannot make sense of {arguments:?}")),
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => {
            eprintln!("weir-torture: {error:#}\n{USAGE}");
            return ExitCode::from(USAGE_ERROR);
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    let result = runtime.block_on(async {
        tokio::select! {
            outcome = torture(options) => outcome.and_then(|outcome| report(&options, &outcome)),
            () = interrupted() => Ok(ExitCode::from(INTERRUPTED)),
        }
    });
    // Not dropped: a reader that blocks must not hold up Ctrl-C.
    runtime.shutdown_background();
    finish(result)
}

fn finish(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("weir-torture: {error:#}");
        ExitCode::FAILURE
    })
}

fn options(control: Option<&str>) -> Result<Options> {
    let control = match control {
        Some(name) => Some(Control::find(name).with_context(|| format!("there is no control {name:?}"))?),
        None => None,
    };
    let number = |name: &str, default: f64| match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is {text:?}, not a number")),
        Err(_) => Ok(default),
    };
    let (minutes, rate) = (number("MINUTES", MINUTES)?, number("RATE", f64::from(RATE))?);
    ensure!((0.2..=600.0).contains(&minutes), "MINUTES is {minutes}; 0.2 to 600 make sense");
    ensure!((1.0..=10_000.0).contains(&rate), "RATE is {rate}; 1 to 10000 deliveries a second make sense");
    Ok(Options { seed: seed::seed(), time: Duration::from_secs_f64(minutes * 60.0), rate: rate as u32, control })
}

fn report(options: &Options, outcome: &Outcome) -> Result<ExitCode> {
    let run = &outcome.run;
    println!("{}", serde_json::to_string_pretty(run)?);
    if options.control.is_none() {
        evidence::add(run)?;
    }
    for violation in run.violations.iter().take(SHOWN) {
        eprintln!("VIOLATION {violation}");
    }
    if run.violations.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("seed {}: {} violations; logs in {}", run.seed, run.violations.len(), outcome.folder.display())
}
