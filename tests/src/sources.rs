//! The seven sources of the demo: how each is configured, and what that means for its events.
//!
//! Everything an expectation depends on is written into the configuration, so that the contract decides and not
//! a default.

use std::fmt::Write;
use std::path::Path;

use crate::sign::Scheme;

/// A configured source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    Github,
    Stripe,
    Shopify,
    Slack,
    /// Standard Webhooks.
    Billing,
    /// Svix.
    Identity,
    /// The generic scheme, with a JSON Schema.
    Warehouse,
}

/// What becomes of a stale event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    Drop,
    Flag,
    Route,
}

/// What an event's type means for the stale rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Snapshot,
    Terminal,
    Other,
}

impl Source {
    /// All of them.
    pub const ALL: [Source; 7] = [
        Source::Github,
        Source::Stripe,
        Source::Shopify,
        Source::Slack,
        Source::Billing,
        Source::Identity,
        Source::Warehouse,
    ];

    /// Its name in the configuration, the address and the keys.
    pub fn name(self) -> &'static str {
        match self {
            Source::Github => "github",
            Source::Stripe => "stripe",
            Source::Shopify => "shopify",
            Source::Slack => "slack",
            Source::Billing => "billing",
            Source::Identity => "identity",
            Source::Warehouse => "warehouse",
        }
    }

    /// The source of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }

    /// Its provider's preset.
    pub fn provider(self) -> &'static str {
        match self {
            Source::Billing => "standard-webhooks",
            Source::Identity => "svix",
            Source::Warehouse => "hmac",
            Source::Github | Source::Stripe | Source::Shopify | Source::Slack => self.name(),
        }
    }

    /// What `ce_type` begins with.
    pub fn type_prefix(self) -> &'static str {
        match self {
            Source::Warehouse => self.name(),
            _ => self.provider(),
        }
    }

    /// How it signs.
    pub fn scheme(self) -> Scheme {
        match self {
            Source::Github => Scheme::GitHub,
            Source::Stripe => Scheme::Stripe,
            Source::Shopify => Scheme::Shopify,
            Source::Slack => Scheme::Slack,
            Source::Billing => Scheme::StandardWebhooks,
            Source::Identity => Scheme::Svix,
            Source::Warehouse => Scheme::Warehouse,
        }
    }

    /// `ce_assurance`.
    pub fn assurance(self) -> &'static str {
        if self.scheme().has_timestamp() { "a3" } else { "a2" }
    }

    /// Its share of a day's events.
    pub fn weight(self) -> u32 {
        match self {
            Source::Github => 30,
            Source::Stripe => 20,
            Source::Shopify => 16,
            Source::Slack => 10,
            Source::Billing | Source::Identity | Source::Warehouse => 8,
        }
    }

    /// What its configuration does with stale events.
    pub fn stale(self) -> Stale {
        match self {
            Source::Stripe | Source::Identity => Stale::Route,
            Source::Billing => Stale::Flag,
            Source::Github | Source::Shopify | Source::Slack | Source::Warehouse => Stale::Drop,
        }
    }

    /// What a type means for the stale rule under its configuration.
    pub fn role(self, event_type: &str) -> Role {
        let (snapshot, terminal) = match self {
            Source::Github => (event_type.starts_with("repository."), false),
            Source::Shopify => (event_type == "orders/updated", false),
            Source::Stripe | Source::Billing | Source::Identity => {
                (event_type.ends_with(".updated"), event_type.ends_with(".deleted"))
            }
            Source::Slack | Source::Warehouse => (false, false),
        };
        match (snapshot, terminal) {
            (true, _) => Role::Snapshot,
            (_, true) => Role::Terminal,
            _ => Role::Other,
        }
    }

    /// Its part of `weir.toml`. Secrets lie in files in `folder`.
    pub fn toml(self, folder: &Path) -> String {
        let name = self.name();
        let secret = |which: &str| folder.join(format!("{name}{which}")).display().to_string();
        let mut out = String::new();
        let mut line = |text: String| writeln!(out, "{text}").expect("a string takes any text");
        line(format!("[[source]]\nname = {name:?}\nprovider = {:?}", self.provider()));
        line(format!("secrets = [{{ file = {:?} }}, {{ file = {:?} }}]", secret(""), secret("-old")));
        let stale = match self.stale() {
            Stale::Drop => "drop",
            Stale::Flag => "flag",
            Stale::Route => "route",
        };
        line(format!("stale = {stale:?}"));
        line(self.places().to_owned());
        if self == Source::Warehouse {
            let schema = folder.join(SCHEMA_FILE).display().to_string();
            line(format!("schema = {schema:?}"));
            line(WAREHOUSE_SCHEME.to_owned());
        }
        out
    }

    fn places(self) -> &'static str {
        match self {
            Source::Github => {
                "resource = \"/repository/id\"\nresource_type = \"repository\"\n\
                 occurred_at = \"/repository/updated_at\"\nsnapshots = [\"repository.*\"]\nterminal = []"
            }
            Source::Stripe => {
                "resource = \"/data/object/id\"\nresource_type = \"/data/object/object\"\n\
                 occurred_at = { pointer = \"/created\", unit = \"s\" }\n\
                 snapshots = [\"*.updated\"]\nterminal = [\"*.deleted\"]"
            }
            Source::Shopify => {
                "event_id = { header = \"X-Shopify-Webhook-Id\" }\nresource = \"/id\"\nresource_type = \"order\"\n\
                 occurred_at = \"/updated_at\"\nsnapshots = [\"orders/updated\"]\nterminal = []"
            }
            Source::Slack => {
                "event_type = \"/event/type\"\nresource = \"/event/channel\"\nresource_type = \"channel\"\n\
                 occurred_at = { pointer = \"/event_time\", unit = \"s\" }\nsnapshots = []\nterminal = []"
            }
            Source::Billing => {
                "event_type = \"/type\"\nresource = \"/data/id\"\nresource_type = \"invoice\"\n\
                 occurred_at = \"/timestamp\"\nsnapshots = [\"*.updated\"]\nterminal = [\"*.deleted\"]"
            }
            Source::Identity => {
                "event_type = \"/type\"\nresource = \"/data/id\"\nresource_type = \"user\"\n\
                 occurred_at = { pointer = \"/timestamp\", unit = \"ms\" }\n\
                 snapshots = [\"*.updated\"]\nterminal = [\"*.deleted\"]"
            }
            Source::Warehouse => {
                "event_id = \"/id\"\nevent_type = \"/event\"\nresource = \"/parcel/number\"\n\
                 resource_type = \"parcel\"\noccurred_at = { pointer = \"/at\", unit = \"ms\" }\n\
                 snapshots = []\nterminal = []\ndedup_window = \"2d\""
            }
        }
    }
}

/// Name of the warehouse's JSON Schema beside the secrets.
pub const SCHEMA_FILE: &str = "parcel.schema.json";
/// The warehouse's JSON Schema.
pub const SCHEMA: &str = include_str!("../payloads/warehouse/parcel.schema.json");

const WAREHOUSE_SCHEME: &str = "[source.scheme]\nalgorithm = \"sha256\"\nencoding = \"hex\"\n\
                                header = \"X-Warehouse-Signature\"\nformat = \"t={timestamp},v1={signature}\"\n\
                                signed = \"{timestamp}.{body}\"";
