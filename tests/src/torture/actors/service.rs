//! Harm to the service that a handler asks: it is down for a while. That it fails and hangs now and then is its plan.

use std::ops::Range;

use anyhow::Result;

use super::{Part, Scene};

/// How long it is down: mostly long enough for breakers to open, which then keep callers away for half a minute.
const DOWN_MS: Range<u64> = 500..10_000;

/// Takes the service down again and again.
pub async fn torment(scene: &Scene) -> Result<()> {
    let mut part = Part::new(scene, "service", 1);
    while part.next(10_000..40_000).await.is_some() {
        let time = part.time(DOWN_MS);
        scene.journal.fault("asked service down", &format!("for {time:?}"));
        let mut service = scene.service.lock().await;
        service.stop().await;
        tokio::time::sleep(time).await;
        service.resume().await?;
    }
    Ok(())
}
