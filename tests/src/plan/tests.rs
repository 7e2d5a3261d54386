//! What a plan promises, checked on small ones.

use std::collections::HashSet;

use super::*;

const NOW: i64 = 1_790_000_000_000;

fn plan(seed: u64) -> Plan {
    Plan::new(seed, 3000, NOW, &Payloads::own("test"))
}

#[test]
fn the_same_seed_gives_the_same_day() {
    let (a, b) = (plan(5), plan(5));
    assert_eq!(a.deliveries, b.deliveries);
    assert_eq!(a.lanes, b.lanes);
    assert!(a.events.iter().zip(&b.events).all(|(a, b)| a.id == b.id && a.digest == b.digest));
    assert_ne!(a.deliveries, plan(6).deliveries);
}

#[test]
fn every_delivery_is_played_exactly_once() {
    let plan = plan(7);
    assert_eq!(plan.deliveries.len(), 3000);
    let mut played: Vec<usize> = plan.lanes.iter().flatten().flatten().copied().collect();
    played.sort_unstable();
    assert!(played.into_iter().eq(0..3000));
}

#[test]
fn every_kind_of_trouble_is_in_a_day() {
    let plan = plan(8);
    let places: HashSet<String> = plan.events.iter().map(|event| format!("{:?}", event.place)).collect();
    for place in [
        "Clean { flagged: false }",
        "Clean { flagged: true }",
        "StaleRouted",
        "StaleDropped",
        "Conflict",
        "Refused",
        "Dead(\"invalid_json\")",
        "Dead(\"no_identity\")",
        "Dead(\"ambiguous_identity\")",
        "Dead(\"too_deep\")",
        "Dead(\"bad_timestamp\")",
        "Dead(\"schema_violation\")",
    ] {
        assert!(places.contains(place), "no {place} among {places:?}");
    }
    let forgeries: HashSet<Forgery> = plan
        .deliveries
        .iter()
        .filter_map(|delivery| match delivery {
            Delivery::Forged { forgery, .. } => Some(*forgery),
            _ => None,
        })
        .collect();
    assert_eq!(forgeries.len(), Forgery::ALL.len());
}

#[test]
fn ids_and_bodies_tell_events_apart() {
    let plan = plan(9);
    let mut ids = HashSet::new();
    let mut digests = HashSet::new();
    for event in &plan.events {
        assert!(digests.insert(event.digest), "{} twice", event.name());
        if event.place != Place::Conflict {
            assert!(ids.insert(event.name()), "{} twice", event.name());
        }
    }
}

#[test]
fn a_stale_event_follows_a_newer_one_of_its_resource() {
    let plan = plan(10);
    for lane in &plan.lanes {
        let mut last = None;
        for step in lane {
            for delivery in step {
                let Delivery::Event { event, copy: Copy::First } = plan.deliveries[*delivery] else { continue };
                let event = &plan.events[event];
                let role = event.source.role(&event.event_type);
                match event.place {
                    Place::StaleDropped | Place::StaleRouted | Place::Clean { flagged: true } => {
                        assert!(event.occurred_ms < last, "{} is not stale", event.name());
                    }
                    Place::Clean { flagged: false } if role == crate::sources::Role::Snapshot => {
                        assert!(event.occurred_ms >= last, "{} is stale", event.name());
                        last = last.max(event.occurred_ms);
                    }
                    Place::Clean { flagged: false } if role == crate::sources::Role::Terminal => {
                        last = last.max(event.occurred_ms);
                    }
                    _ => {}
                }
            }
        }
    }
}
