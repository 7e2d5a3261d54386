//! What the door said.

use crate::check::{Case, Finding, Trouble};
use crate::door;
use crate::plan::Delivery;

/// Every delivery whose answer was wrong.
pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (delivery, entry) in case.plan.deliveries.iter().zip(&case.ledger.entries) {
        let Some(complaint) = &entry.complaint else { continue };
        let name = match delivery {
            Delivery::Event { event, copy } => format!("{} ({copy:?})", case.plan.events[*event].name()),
            Delivery::Forged { event, forgery } => format!("{} ({forgery:?})", case.plan.events[*event].name()),
            Delivery::Door(door) => format!("{door:?}"),
            Delivery::Challenge => "slack's challenge".to_owned(),
        };
        findings.push(Finding {
            source: door::source(case.plan, *delivery),
            trouble: Trouble::Answer,
            text: format!("{name} was {complaint}"),
        });
    }
    findings
}
