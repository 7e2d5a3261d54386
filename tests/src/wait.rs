//! Waiting: for a condition, with a deadline. Never for luck.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks until the condition holds, and returns what it found, or until the deadline has passed: then the error says
/// what was missing last.
pub async fn wait_until<F, W, T>(what: &str, within: Duration, mut condition: F) -> Result<T>
where
    F: FnMut() -> W,
    W: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + within;
    loop {
        let missing = match condition().await {
            Ok(found) => return Ok(found),
            Err(missing) => missing,
        };
        if Instant::now() >= deadline {
            bail!("{what}: not within {within:?}: {missing}");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
