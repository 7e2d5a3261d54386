//! Harm to brokers, never to two of three at once: one is killed, stopped or put to sleep, or all are restarted in
//! turn, as for an upgrade.

use anyhow::Result;
use rand::RngExt;

use super::{Part, Scene};
use crate::torture::nodes::NODES;

/// Torments the brokers.
pub async fn torment(scene: &Scene) -> Result<()> {
    let (nodes, journal) = (&scene.nodes, &scene.journal);
    let mut part = Part::new(scene, "brokers", 4);
    while let Some(kind) = part.next(8_000..25_000).await {
        let node = part.random.random_range(0..NODES);
        let time = part.time(500..10_000);
        match kind {
            0 => {
                journal.fault("broker killed", &format!("node {node} for {time:?}"));
                nodes.kill(node).await?;
                tokio::time::sleep(time).await;
            }
            1 => {
                journal.fault("broker restarted", &format!("node {node} after {time:?}"));
                nodes.stop(node).await?;
                tokio::time::sleep(time).await;
            }
            2 => {
                journal.fault("broker put to sleep", &format!("node {node} for {time:?}"));
                nodes.signal(node, "STOP")?;
                tokio::time::sleep(time).await;
                nodes.signal(node, "CONT")?;
            }
            _ => {
                journal.fault("brokers restarted in turn", "all nodes");
                for node in 0..NODES {
                    nodes.stop(node).await?;
                    nodes.start_again().await?;
                }
            }
        }
        nodes.start_again().await?;
    }
    Ok(())
}
