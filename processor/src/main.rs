//! `weir-processor` as it is shipped: without handlers of anybody's own. Everything else is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    weir_processor::program::run(Vec::new())
}
