//! What `weir send` sends when nothing is given: one realistic event of each provider.
//!
//! The bodies lie in `cli/bodies/`. A provider without one gets an event made of what its source is configured
//! to look at.

/// An example event.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// Its type, as the provider writes it.
    pub event_type: &'static str,
    /// How the provider's event ids look.
    pub id: IdForm,
    /// Its body; ids and times are set before it is sent.
    pub body: &'static str,
}

/// How event ids look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdForm {
    /// A random UUID.
    Uuid,
    /// A prefix and random digits.
    Prefixed(&'static str),
}

impl IdForm {
    /// The id that some random bits make.
    pub fn make(self, random: u128) -> String {
        match self {
            Self::Uuid => {
                // Version 4, variant 1.
                let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
                let part = |shift: u32, width: u32| (bits >> shift) & ((1 << width) - 1);
                format!(
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    part(96, 32),
                    part(80, 16),
                    part(64, 16),
                    part(48, 16),
                    part(0, 48)
                )
            }
            Self::Prefixed(prefix) => format!("{prefix}{:024x}", random >> 32),
        }
    }
}

/// The example of a preset.
pub fn of(preset: &str) -> Example {
    let (event_type, id, body) = match preset {
        "github" => ("issues.opened", IdForm::Uuid, include_str!("../../../bodies/github.json")),
        "shopify" => ("orders/updated", IdForm::Uuid, include_str!("../../../bodies/shopify.json")),
        "slack" => ("message", IdForm::Prefixed("Ev"), include_str!("../../../bodies/slack.json")),
        "standard-webhooks" => {
            ("invoice.paid", IdForm::Prefixed("msg_"), include_str!("../../../bodies/standard-webhooks.json"))
        }
        "stripe" => ("invoice.paid", IdForm::Prefixed("evt_"), include_str!("../../../bodies/stripe.json")),
        "svix" => ("user.updated", IdForm::Prefixed("msg_"), include_str!("../../../bodies/svix.json")),
        _ => ("example.created", IdForm::Prefixed("example-"), include_str!("../../../bodies/example.json")),
    };
    Example { event_type, id, body: body.trim_end() }
}

#[cfg(test)]
mod tests {
    use schemas::presets::{Location, Preset};

    use super::*;
    use crate::commands::send::edit;

    #[test]
    fn every_preset_has_an_example_with_its_type_and_its_resource() {
        for preset in Preset::all().iter().filter(|preset| preset.scheme.is_some()) {
            let example = of(preset.name);
            assert_ne!(example.event_type, "example.created", "{} has no example", preset.name);
            assert!(!example.body.contains('\n'), "{}: one line, as a provider sends it", preset.name);
            if let Location::Pointer(pointer) = preset.event_type {
                let found = edit::get(example.body, pointer);
                assert_eq!(found, Some(edit::quoted(example.event_type).as_str()), "{}", preset.name);
            }
            let resource = preset.resource.iter().find_map(|pointer| edit::get(example.body, pointer));
            assert!(resource.is_some(), "{}: no resource", preset.name);
        }
    }

    #[test]
    fn ids_look_like_the_providers() {
        assert_eq!(IdForm::Uuid.make(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(IdForm::Uuid.make(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(IdForm::Prefixed("evt_").make(0xabc << 32), "evt_000000000000000000000abc");
    }
}
