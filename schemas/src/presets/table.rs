//! The presets. One entry a provider; alphabetical.
//!
//! Data only: what a provider documents about its webhooks, as `docs/providers.md` tells it to people. A fact
//! that changes at the provider changes here and there.

use super::{Algorithm, Encoding, Location, Preset, Scheme, SecretEncoding, TimeUnit};

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
const DAY: u32 = 24 * HOUR;

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "github",
        title: "GitHub",
        scheme: Some(Scheme {
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            secret_encoding: SecretEncoding::Raw,
            headers: &["x-hub-signature-256"],
            format: "sha256={signature}",
            signed: "{body}",
            timestamp_headers: &[],
            id_headers: &[],
            aliases: &[],
        }),
        assurance: 2,
        event_id: Location::Header("x-github-delivery"),
        event_id_signed: false,
        event_type: Location::Header("x-github-event"),
        event_type_suffix: Some("/action"),
        resource: &["/repository/id"],
        resource_type: Location::Constant("repository"),
        resource_type_end: None,
        occurred_at: &[(Location::Pointer("/repository/updated_at"), TimeUnit::Rfc3339)],
        snapshots: &["repository.*"],
        terminal: &["repository.deleted"],
        tolerance_s: 0,
        window_s: 4 * DAY,
        window_floor_s: 3 * DAY,
        deadline_ms: 9_000,
        retries: false,
        challenge: None,
        challenge_when: None,
        form_field: Some("payload"),
        reference: "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
    },
    Preset {
        name: "hmac",
        title: "Any provider that signs with an HMAC",
        scheme: None,
        assurance: 2,
        event_id: Location::Pointer("/id"),
        event_id_signed: true,
        event_type: Location::Pointer("/type"),
        event_type_suffix: None,
        resource: &[],
        resource_type: Location::Constant("resource"),
        resource_type_end: None,
        occurred_at: &[],
        snapshots: &[],
        terminal: &[],
        tolerance_s: 5 * MINUTE,
        window_s: 4 * DAY,
        // Nobody knows how long an unknown provider retries.
        window_floor_s: 1,
        deadline_ms: 5_000,
        retries: true,
        challenge: None,
        challenge_when: None,
        form_field: None,
        reference: "docs/providers.md",
    },
    Preset {
        name: "shopify",
        title: "Shopify",
        scheme: Some(Scheme {
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Base64,
            secret_encoding: SecretEncoding::Raw,
            headers: &["x-shopify-hmac-sha256", "shopify-hmac-sha256"],
            format: "{signature}",
            signed: "{body}",
            timestamp_headers: &[],
            id_headers: &[],
            aliases: &[
                &["x-shopify-webhook-id", "shopify-webhook-id"],
                &["x-shopify-event-id", "shopify-event-id"],
                &["x-shopify-topic", "shopify-topic"],
            ],
        }),
        assurance: 2,
        // Not X-Shopify-Event-Id: several subscriptions may share one, and each is a delivery of its own.
        event_id: Location::Header("x-shopify-webhook-id"),
        event_id_signed: false,
        event_type: Location::Header("x-shopify-topic"),
        event_type_suffix: None,
        resource: &["/id"],
        resource_type: Location::Header("x-shopify-topic"),
        resource_type_end: Some('/'),
        occurred_at: &[(Location::Pointer("/updated_at"), TimeUnit::Rfc3339)],
        snapshots: &["*/update", "*/updated"],
        terminal: &["*/delete"],
        tolerance_s: 0,
        window_s: 2 * DAY,
        window_floor_s: 4 * HOUR,
        deadline_ms: 4_000,
        retries: true,
        challenge: None,
        challenge_when: None,
        form_field: None,
        reference: "https://shopify.dev/docs/apps/build/webhooks/delivery-structure",
    },
    Preset {
        name: "slack",
        title: "Slack",
        scheme: Some(Scheme {
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            secret_encoding: SecretEncoding::Raw,
            headers: &["x-slack-signature"],
            format: "v0={signature}",
            signed: "v0:{timestamp}:{body}",
            timestamp_headers: &["x-slack-request-timestamp"],
            id_headers: &[],
            aliases: &[],
        }),
        assurance: 3,
        event_id: Location::Pointer("/event_id"),
        event_id_signed: true,
        event_type: Location::Pointer("/event/type"),
        event_type_suffix: None,
        // A channel is named by its id or told whole; a reaction names the channel of what it is about.
        resource: &["/event/channel", "/event/channel/id", "/event/item/channel"],
        resource_type: Location::Constant("channel"),
        resource_type_end: None,
        occurred_at: &[(Location::Pointer("/event_time"), TimeUnit::Seconds)],
        snapshots: &[],
        terminal: &[],
        tolerance_s: 5 * MINUTE,
        window_s: 2 * DAY,
        window_floor_s: DAY,
        deadline_ms: 2_500,
        retries: true,
        challenge: Some("/challenge"),
        challenge_when: Some(("/type", "url_verification")),
        form_field: None,
        reference: "https://api.slack.com/authentication/verifying-requests-from-slack",
    },
    Preset {
        name: "standard-webhooks",
        title: "Standard Webhooks",
        scheme: Some(Scheme {
            headers: &["webhook-signature", "svix-signature"],
            timestamp_headers: &["webhook-timestamp", "svix-timestamp"],
            id_headers: &["webhook-id", "svix-id"],
            ..STANDARD
        }),
        event_id: Location::Header("webhook-id"),
        // 75 h 35 min: the schedule the specification gives as its example.
        window_floor_s: 75 * HOUR + 35 * MINUTE,
        reference: "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
        ..STANDARD_WEBHOOKS
    },
    Preset {
        name: "stripe",
        title: "Stripe",
        scheme: Some(Scheme {
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            // The whole `whsec_…` text is the key; nothing is decoded.
            secret_encoding: SecretEncoding::Raw,
            headers: &["stripe-signature"],
            format: "t={timestamp},v1={signature}",
            signed: "{timestamp}.{body}",
            timestamp_headers: &[],
            id_headers: &[],
            aliases: &[],
        }),
        assurance: 3,
        event_id: Location::Pointer("/id"),
        event_id_signed: true,
        event_type: Location::Pointer("/type"),
        event_type_suffix: None,
        // Thin events name their object instead of carrying it.
        resource: &["/data/object/id", "/related_object/id"],
        resource_type: Location::Pointer("/data/object/object"),
        resource_type_end: None,
        occurred_at: &[
            (Location::Pointer("/created"), TimeUnit::Seconds),
            (Location::Pointer("/created"), TimeUnit::Rfc3339),
        ],
        snapshots: &["*.updated"],
        terminal: &["*.deleted"],
        tolerance_s: 5 * MINUTE,
        window_s: 4 * DAY,
        window_floor_s: 3 * DAY,
        deadline_ms: 5_000,
        retries: true,
        challenge: None,
        challenge_when: None,
        form_field: None,
        reference: "https://docs.stripe.com/webhooks",
    },
    Preset {
        name: "svix",
        title: "Svix",
        scheme: Some(Scheme {
            headers: &["svix-signature", "webhook-signature"],
            timestamp_headers: &["svix-timestamp", "webhook-timestamp"],
            id_headers: &["svix-id", "webhook-id"],
            ..STANDARD
        }),
        event_id: Location::Header("svix-id"),
        // 27 h 35 min: eight attempts.
        window_floor_s: 27 * HOUR + 35 * MINUTE,
        reference: "https://docs.svix.com/receiving/verifying-payloads/how-manual",
        ..STANDARD_WEBHOOKS
    },
];

/// What Standard Webhooks and Svix have in common: the scheme but for the names of its headers.
const STANDARD: Scheme = Scheme {
    algorithm: Algorithm::Sha256,
    encoding: Encoding::Base64,
    secret_encoding: SecretEncoding::Base64,
    headers: &[],
    format: "v1,{signature}",
    signed: "{id}.{timestamp}.{body}",
    timestamp_headers: &[],
    id_headers: &[],
    aliases: &[],
};

/// And the conventions of the body, which the specification recommends and cannot enforce.
const STANDARD_WEBHOOKS: Preset = Preset {
    name: "",
    title: "",
    scheme: None,
    assurance: 3,
    event_id: Location::Constant(""),
    event_id_signed: true,
    event_type: Location::Pointer("/type"),
    event_type_suffix: None,
    resource: &["/data/id"],
    resource_type: Location::Pointer("/type"),
    resource_type_end: Some('.'),
    occurred_at: &[
        (Location::Pointer("/timestamp"), TimeUnit::Rfc3339),
        (Location::Pointer("/timestamp"), TimeUnit::Milliseconds),
    ],
    snapshots: &["*.updated"],
    terminal: &["*.deleted"],
    tolerance_s: 5 * MINUTE,
    window_s: 4 * DAY,
    window_floor_s: DAY,
    deadline_ms: 5_000,
    retries: true,
    challenge: None,
    challenge_when: None,
    form_field: None,
    reference: "",
};

#[cfg(test)]
mod tests {
    use super::*;

    fn is_name(text: &str) -> bool {
        (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }

    #[test]
    fn presets_are_sorted_and_complete() {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        assert_eq!(names, ["github", "hmac", "shopify", "slack", "standard-webhooks", "stripe", "svix"]);
        for preset in PRESETS {
            assert!(is_name(preset.name) && !preset.title.is_empty(), "{}", preset.name);
            assert!(!preset.reference.is_empty(), "{}", preset.name);
            assert_ne!(preset.event_id, Location::Constant(""), "{}", preset.name);
            assert_eq!(preset.scheme.is_none(), preset.name == "hmac");
            assert_eq!(Preset::find(preset.name), Some(preset));
        }
    }

    #[test]
    fn a_scheme_has_one_header_of_each_kind_for_each_signature_header() {
        for scheme in PRESETS.iter().filter_map(|preset| preset.scheme) {
            let families = scheme.headers.len();
            for headers in [scheme.timestamp_headers, scheme.id_headers].iter().chain(scheme.aliases) {
                assert!(headers.is_empty() || headers.len() == families, "{scheme:?}");
            }
            let all = [scheme.headers, scheme.timestamp_headers, scheme.id_headers].concat();
            assert!(all.iter().all(|header| *header == header.to_ascii_lowercase()));
            assert_eq!(scheme.signed.contains("{id}"), !scheme.id_headers.is_empty());
        }
    }

    #[test]
    fn assurance_says_what_the_signature_covers() {
        for preset in PRESETS {
            let Some(scheme) = preset.scheme else { continue };
            let signs_time = scheme.signed.contains("{timestamp}");
            assert_eq!(preset.assurance, if signs_time { 3 } else { 2 }, "{}", preset.name);
            assert_eq!(preset.tolerance_s > 0, signs_time, "{}", preset.name);
        }
    }

    #[test]
    fn an_id_counts_as_signed_exactly_when_the_signature_covers_it() {
        for preset in PRESETS {
            let signed = match preset.event_id {
                Location::Pointer(_) => true,
                Location::Header(header) => preset.scheme.is_some_and(|s| s.id_headers.contains(&header)),
                Location::Constant(_) => false,
            };
            assert_eq!(preset.event_id_signed, signed, "{}", preset.name);
        }
    }

    #[test]
    fn windows_and_deadlines_make_sense() {
        for preset in PRESETS {
            assert!(preset.window_floor_s <= preset.window_s, "{}", preset.name);
            // The producer gives up after 9 s: no answer may be promised later.
            assert!((1_000..=9_000).contains(&preset.deadline_ms), "{}", preset.name);
        }
    }
}
