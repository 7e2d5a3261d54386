//! A processor with a handler of its own that calls a service and judges the reply: paid invoices are booked.
//!
//! `BOOKS_URL=https://books.example.com/entries cargo run --release --example call_out -- --config weir.toml`

use std::process::ExitCode;

use schemas::{ReasonCode, VerifiedEvent, headers};
use weir_processor::call::{Call, Reply};
use weir_processor::step::handle::{Answer, Handler, judge};

/// As in the shipped processor: Rust, librdkafka and RocksDB hand memory from thread to thread.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Books invoices at another service.
struct Books {
    url: String,
}

impl Handler for Books {
    fn name(&self) -> &str {
        "books"
    }

    /// Called for every event, and again after every crash: it only says what it wants.
    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        if event.event_type != "invoice.paid" {
            return Answer::Emit;
        }
        // Calls are made at least once. The key is the same each time, so that the service can tell.
        let mut key = String::new();
        headers::idempotency_key(event.source, event.event_id, &mut key);
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Answer::Call(Call {
            method: "POST".to_owned(),
            url: self.url.clone(),
            headers: vec![header("content-type", event.content_type), header("idempotency-key", &key)],
            body: event.body.to_vec(),
            timeout_ms: 5_000,
            concurrency: 8,
            body_max: 64 * 1024,
            may_be_private: false,
        })
    }

    /// What came of the call.
    fn answered(&self, _event: &VerifiedEvent<'_>, reply: &Reply) -> Answer {
        // It was booked before: the call was made twice, and the first one was heard.
        if matches!(reply, Reply::Answered { status: 409, .. }) {
            return Answer::Emit;
        }
        // A closed period does not open by asking again.
        if matches!(reply, Reply::Answered { status: 423, .. }) {
            let message = "books: the period is closed".to_owned();
            return Answer::Dead { reason: ReasonCode::HandlerRejected, message };
        }
        // The rest as always: 2xx is a success, 5xx is tried again, 404 is not.
        judge(reply).unwrap_or(Answer::Emit)
    }
}

fn main() -> ExitCode {
    let Ok(url) = std::env::var("BOOKS_URL") else {
        eprintln!("set BOOKS_URL to the address that takes the entries");
        return ExitCode::from(64);
    };
    weir_processor::program::run(vec![Box::new(Books { url })])
}
