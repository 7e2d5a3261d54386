//! The record of `dead-resolutions`: what became of a dead letter, or of a command about it.
//!
//! The key is the dead id, so the topic keeps the last word on each dead letter. A command that came too late says
//! nothing about the dead letter: its answer has the key `<dead id>/<command id>`.

use serde::{Deserialize, Serialize};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran again and reached `clean-events`.
    Redriven,
    /// A person gave it up.
    Discarded,
    /// Someone or something else was faster: another command, or the provider's own redelivery.
    Superseded,
    /// It ran again and was older than what its resource has become.
    Stale,
    /// It ran again and died again, under a new dead id.
    Dead,
}

impl Outcome {
    /// Every one.
    pub const ALL: [Outcome; 5] =
        [Outcome::Redriven, Outcome::Discarded, Outcome::Superseded, Outcome::Stale, Outcome::Dead];

    /// As it stands in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Redriven => "redriven",
            Outcome::Discarded => "discarded",
            Outcome::Superseded => "superseded",
            Outcome::Stale => "stale",
            Outcome::Dead => "dead",
        }
    }
}

/// A resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Which dead letter.
    pub dead_id: String,
    /// What became of it.
    pub result: Outcome,
    /// When, RFC 3339 UTC.
    pub at: String,
    /// The event that made it so, `<partition>:<offset>` in `verified-events`, when no person did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// The command that made it so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command_id: Option<String>,
    /// Who sent it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub operator: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// The dead letter that came of it, when it died again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new_dead_id: Option<String>,
}

impl Resolution {
    /// The record's value: JSON.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a record's value.
    pub fn decode(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }
}

/// The key under which a command that came too late is answered.
pub fn late_key(dead_id: &str, command_id: &str) -> String {
    format!("{dead_id}/{command_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolution_survives_the_round_trip_and_leaves_out_what_is_not_known() {
        let resolution = Resolution {
            dead_id: "3-17-0".to_owned(),
            result: Outcome::Superseded,
            at: "2026-11-24T12:00:00.000Z".to_owned(),
            by: Some("3:21".to_owned()),
            command_id: None,
            operator: None,
            note: None,
            new_dead_id: None,
        };
        let bytes = resolution.encode();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(text, r#"{"dead_id":"3-17-0","result":"superseded","at":"2026-11-24T12:00:00.000Z","by":"3:21"}"#);
        assert_eq!(Resolution::decode(&bytes), Some(resolution));
    }
}
