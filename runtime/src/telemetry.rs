//! Logs: to standard error, as text for people or JSON for machines.
//!
//! Standard output belongs to the commands. The format never contains a body or a secret because
//! nobody passes one.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged unless `WEIR_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info,librdkafka=warn,rdkafka=warn";

/// Starts logging and reports panics as errors. Called once, first thing; a second call changes nothing.
///
/// `WEIR_LOG` filters (`debug`, `info,weir_processor=debug`), `WEIR_LOG_FORMAT` is `text` or `json`
/// (default: text on a terminal, otherwise JSON).
pub fn init(service: &'static str) {
    let wanted = std::env::var("WEIR_LOG").ok().filter(|text| !text.trim().is_empty());
    let (filter, refused) = filter(wanted.as_deref());
    let on_terminal = stderr().is_terminal();
    let format = std::env::var("WEIR_LOG_FORMAT").ok();
    let builder = SubscriberBuilder::default().with_env_filter(filter).with_writer(stderr);
    let started = if is_json(format.as_deref(), on_terminal) {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().try_init()
    } else {
        builder.with_ansi(on_terminal && std::env::var_os("NO_COLOR").is_none()).finish().try_init()
    };
    if started.is_err() {
        return;
    }
    if let Some(error) = refused {
        tracing::warn!(%error, default = DEFAULT_FILTER, "WEIR_LOG is not a filter: using the default");
    }
    report_panics(service);
    tracing::info!(service, version = env!("CARGO_PKG_VERSION"), "starting");
}

/// The filter, and why the wanted one could not be used.
fn filter(wanted: Option<&str>) -> (EnvFilter, Option<String>) {
    match EnvFilter::try_new(wanted.unwrap_or(DEFAULT_FILTER)) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error.to_string())),
    }
}

fn is_json(format: Option<&str>, on_terminal: bool) -> bool {
    match format {
        Some("json") => true,
        Some("text") => false,
        Some(_) | None => !on_terminal,
    }
}

/// A panic in any thread becomes one ERROR line that says where. The thread still unwinds. What it says may quote what
/// it was working on, a body even: that is for whoever asks for details.
fn report_panics(service: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or("not a text");
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current().name().map(str::to_owned);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(service, place, thread, backtrace, "panicked: this is a defect of ours");
        tracing::debug!(service, panic = message, place, "what the panic said");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_text_and_a_pipe_gets_json_unless_told() {
        assert!(!is_json(None, true));
        assert!(is_json(None, false));
        assert!(is_json(Some("json"), true));
        assert!(!is_json(Some("text"), false));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_reported_and_replaced() {
        assert!(filter(Some("info,weir_ingest=debug")).1.is_none());
        let (used, refused) = filter(Some("info,weir=noisy"));
        assert!(refused.is_some());
        assert_eq!(used.to_string(), EnvFilter::new(DEFAULT_FILTER).to_string());
    }
}
