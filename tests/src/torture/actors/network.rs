//! Harm to the network between Weir and its brokers: one kind of request at a time, or one node.

use anyhow::Result;
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::{Part, Scene};
use crate::torture::nodes::NODES;
use crate::torture::weather::{APIS, Kind, Rule, Sight};

/// The first of [`APIS`] are those of a transaction; they are chosen as often as all together.
const OF_TRANSACTIONS: usize = 6;

/// Torments the network.
pub async fn torment(scene: &Scene) -> Result<()> {
    let weather = &scene.weather;
    let mut part = Part::new(scene, "weather", 5);
    // Requests are what tears transactions, so they meet harm more often than whole nodes.
    part.weights[..3].fill(4);
    while let Some(choice) = part.next(500..5_000).await {
        let node = part.random.random_range(0..NODES);
        let (name, sight) = match choice {
            0..3 => {
                let rule = rule(&mut part, choice);
                weather.set_rule(Some(rule));
                tokio::time::sleep(part.time(1_000..7_000)).await;
                weather.set_rule(None);
                continue;
            }
            3 => ("node silent", Sight::Silent),
            _ => ("node unreachable", Sight::Refused),
        };
        let time = part.time(300..9_000);
        scene.journal.fault(name, &format!("node {node} for {time:?}"));
        weather.set_sight(node, sight);
        tokio::time::sleep(time).await;
        weather.set_sight(node, Sight::Clear);
    }
    Ok(())
}

fn rule(part: &mut Part, choice: usize) -> Rule {
    let apis = if choice < 2 { &APIS[..OF_TRANSACTIONS] } else { &APIS[..] };
    let (api, _) = apis.choose(&mut part.random).expect("there are kinds of requests");
    let kind = Kind::ALL.choose(&mut part.random).expect("there are kinds of harm");
    Rule { api: *api, kind: *kind, chance: [0.05, 0.2, 0.6][part.random.random_range(0..3)] }
}
