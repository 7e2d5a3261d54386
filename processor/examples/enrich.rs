//! A processor with a handler of its own that adds a field: GitHub events say which team owns the repository.
//!
//! `cargo run --release --example enrich -- --config weir.toml`

use std::collections::BTreeMap;
use std::process::ExitCode;

use schemas::{ReasonCode, VerifiedEvent};
use serde_json::Value;
use weir_processor::step::handle::{Answer, Handler};

/// As in the shipped processor: Rust, librdkafka and RocksDB hand memory from thread to thread.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Who owns what. Read once at start: a handler keeps no state between events, and looks nothing up.
struct Owners(BTreeMap<String, String>);

impl Handler for Owners {
    fn name(&self) -> &str {
        "owners"
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        if event.source != "github" {
            return Answer::Emit;
        }
        let Ok(mut body) = serde_json::from_slice::<Value>(event.body) else {
            let message = "owners: the body is not JSON".to_owned();
            return Answer::Dead { reason: ReasonCode::HandlerRejected, message };
        };
        let Some(repository) = body.pointer("/repository/full_name").and_then(Value::as_str) else {
            return Answer::Emit;
        };
        let owner = self.0.get(repository).map_or("nobody", String::as_str).to_owned();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("owner".to_owned(), owner.into());
        }
        Answer::EmitBody(body.to_string().into_bytes())
    }
}

fn main() -> ExitCode {
    let owners = [("octo/site", "web"), ("octo/ledger", "payments")];
    let owners = owners.map(|(repository, team)| (repository.to_owned(), team.to_owned())).into();
    weir_processor::program::run(vec![Box::new(Owners(owners))])
}
