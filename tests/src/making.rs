//! Making events: an example's body with the ids, the resource and the time of one thing that happened.
//!
//! Whatever Weir must report about an event later is worked out here, from the contract and not from Weir.

use jiff::Timestamp;
use rand::RngExt;
use serde_json::{Value, json};

use crate::event::{Event, Place, digest, key};
use crate::payloads::Template;
use crate::seed::Random;
use crate::sources::Source;

const HOUR_MS: i64 = 3_600_000;

/// Makes events that are all different.
#[derive(Debug)]
pub struct Maker {
    random: Random,
    serial: u64,
}

/// How a body is written down. Providers differ in it, and a byte is a byte.
#[derive(Debug, Clone, Copy)]
enum Style {
    Compact,
    Pretty,
    NewlineAtTheEnd,
    SlashesEscaped,
}

/// What the body and the headers of an event say.
struct Said {
    id: String,
    event_type: String,
    key: Option<String>,
    occurred_ms: Option<i64>,
    headers: Vec<(&'static str, String)>,
}

/// The kind of resource a template is about; `None` when it names no resource.
pub fn family(template: &Template) -> Option<String> {
    match template.source {
        Source::Github => template.body["repository"].is_object().then(|| "repository".to_owned()),
        Source::Stripe => template.body["data"]["object"]["object"].as_str().map(str::to_owned),
        Source::Shopify => Some("order".to_owned()),
        Source::Slack => Some("channel".to_owned()),
        Source::Billing => Some("invoice".to_owned()),
        Source::Identity => Some("user".to_owned()),
        Source::Warehouse => Some("parcel".to_owned()),
    }
}

/// The type of a template as Weir names it.
pub fn type_of(template: &Template) -> String {
    match template.body["action"].as_str() {
        Some(action) if template.source == Source::Github => format!("{}.{action}", template.event_type),
        _ => template.event_type.clone(),
    }
}

impl Maker {
    /// A maker of its own stream of choices.
    pub fn new(random: Random) -> Self {
        Self { random, serial: 0 }
    }

    /// An event about resource number `resource` of the template's family, at the nearest time the provider can
    /// express. It belongs into `clean-events` until somebody says otherwise.
    pub fn make(&mut self, template: &Template, resource: u32, occurred_ms: i64) -> Event {
        self.serial += 1;
        let mut body = template.body.clone();
        let said = match template.source {
            Source::Github => self.github(template, &mut body, resource, occurred_ms),
            Source::Stripe => self.stripe(template, &mut body, resource, occurred_ms),
            Source::Shopify => self.shopify(template, &mut body, resource, occurred_ms),
            Source::Slack => self.slack(&mut body, resource, occurred_ms),
            Source::Billing => self.billing(template, &mut body, resource, occurred_ms),
            Source::Identity => self.identity(template, &mut body, resource, occurred_ms),
            Source::Warehouse => self.warehouse(template, &mut body, resource, occurred_ms),
        };
        let body = render(&body, self.style());
        let mut headers = said.headers;
        headers.push(("User-Agent", format!("{}-hooks/1.0", template.source.name())));
        let key = said.key.unwrap_or_else(|| key(template.source.name(), "event", &said.id));
        Event {
            source: template.source,
            id: said.id,
            event_type: said.event_type,
            key,
            occurred_ms: said.occurred_ms,
            digest: digest(&body),
            body: body.into(),
            headers,
            place: Place::Clean { flagged: false },
        }
    }

    fn github(&mut self, template: &Template, body: &mut Value, resource: u32, at: i64) -> Said {
        let at = at - at.rem_euclid(1000);
        let id = 500_000_000 + u64::from(resource);
        let has_resource = body["repository"].is_object();
        if has_resource {
            body["repository"]["id"] = json!(id);
            body["repository"]["updated_at"] = json!(text(at, "%Y-%m-%dT%H:%M:%SZ"));
        }
        if !body["sender"].is_object() {
            body["sender"] = json!({ "login": "octo-guest", "type": "User" });
        }
        body["sender"]["id"] = json!(10_000_000 + self.serial);
        let delivery = self.uuid();
        Said {
            event_type: type_of(template),
            key: has_resource.then(|| key("github", "repository", &id.to_string())),
            occurred_ms: has_resource.then_some(at),
            headers: vec![
                ("Content-Type", "application/json".to_owned()),
                ("X-GitHub-Event", template.event_type.clone()),
                ("X-GitHub-Delivery", delivery.clone()),
                ("X-GitHub-Hook-ID", "292430182".to_owned()),
            ],
            id: delivery,
        }
    }

    fn stripe(&mut self, template: &Template, body: &mut Value, resource: u32, at: i64) -> Said {
        let at = at - at.rem_euclid(1000);
        let object = body["data"]["object"]["object"].as_str().unwrap_or_default().to_owned();
        let prefix = match object.as_str() {
            "payment_intent" => "pi",
            "subscription" => "sub",
            "customer" => "cus",
            _ => "in",
        };
        let resource = format!("{prefix}_3QxYz{resource:06}LkdIwHu7ix");
        let id = format!("evt_{}", self.letters(24));
        body["id"] = json!(id);
        body["created"] = json!(at / 1000);
        body["data"]["object"]["id"] = json!(resource);
        body["request"]["id"] = json!(format!("req_{:014}", self.serial));
        Said {
            id,
            event_type: template.event_type.clone(),
            key: Some(key("stripe", &object, &resource)),
            occurred_ms: Some(at),
            headers: vec![("Content-Type", "application/json; charset=utf-8".to_owned())],
        }
    }

    fn shopify(&mut self, template: &Template, body: &mut Value, resource: u32, at: i64) -> Said {
        let at = at - at.rem_euclid(1000);
        let id = 820_982_911_000_000_000_u64 + u64::from(resource);
        body["id"] = json!(id);
        body["name"] = json!(format!("#{}", 1000 + self.serial));
        // Shops write their own time zone.
        body["updated_at"] = json!(text(at - 4 * HOUR_MS, "%Y-%m-%dT%H:%M:%S-04:00"));
        let webhook_id = self.uuid();
        Said {
            event_type: template.event_type.clone(),
            key: Some(key("shopify", "order", &id.to_string())),
            occurred_ms: Some(at),
            headers: vec![
                ("Content-Type", "application/json".to_owned()),
                ("X-Shopify-Topic", template.event_type.clone()),
                ("X-Shopify-Shop-Domain", "boat-supplies.example.com".to_owned()),
                ("X-Shopify-API-Version", "2026-07".to_owned()),
                ("X-Shopify-Webhook-Id", webhook_id.clone()),
                ("X-Shopify-Event-Id", self.uuid()),
                ("X-Shopify-Triggered-At", text(at, "%Y-%m-%dT%H:%M:%S.000000000Z")),
            ],
            id: webhook_id,
        }
    }

    fn slack(&mut self, body: &mut Value, resource: u32, at: i64) -> Said {
        let at = at - at.rem_euclid(1000);
        let channel = format!("C{resource:08}");
        let id = format!("Ev{}", self.letters(10).to_uppercase());
        let stamp = format!("{}.{:06}", at / 1000, self.serial % 1_000_000);
        body["event_id"] = json!(id);
        body["event_time"] = json!(at / 1000);
        body["event"]["channel"] = json!(channel);
        body["event"]["event_ts"] = json!(stamp);
        body["event_context"] = json!(format!("4-{}", self.serial));
        Said {
            id,
            event_type: body["event"]["type"].as_str().unwrap_or_default().to_owned(),
            key: Some(key("slack", "channel", &channel)),
            occurred_ms: Some(at),
            headers: vec![("Content-Type", "application/json".to_owned())],
        }
    }

    fn billing(&mut self, template: &Template, body: &mut Value, resource: u32, at: i64) -> Said {
        // Some firms put separators into their numbers.
        let number = match resource % 5 {
            0 => format!("INV|{resource}%A"),
            _ => format!("inv_01J9Z{resource:06}"),
        };
        body["data"]["id"] = json!(number);
        body["data"]["reference"] = json!(format!("R{:010}", self.serial));
        body["timestamp"] = json!(text(at, "%Y-%m-%dT%H:%M:%S%.6fZ"));
        Said {
            id: format!("msg_{}", self.letters(27)),
            event_type: template.event_type.clone(),
            key: Some(key("billing", "invoice", &number)),
            occurred_ms: Some(at),
            headers: vec![("Content-Type", "application/json".to_owned())],
        }
    }

    fn identity(&mut self, template: &Template, body: &mut Value, resource: u32, at: i64) -> Said {
        let user = format!("user_2mQ8v{resource:06}");
        body["data"]["id"] = json!(user);
        body["instance_id"] = json!(format!("ins_{}", self.serial));
        body["timestamp"] = json!(at);
        Said {
            id: format!("msg_{}", self.letters(27)),
            event_type: template.event_type.clone(),
            key: Some(key("identity", "user", &user)),
            occurred_ms: Some(at),
            headers: vec![("Content-Type", "application/json".to_owned())],
        }
    }

    fn warehouse(&mut self, template: &Template, body: &mut Value, resource: u32, at: i64) -> Said {
        // Ids that no HTTP header could carry, and long ones, get a hashed idempotency key.
        let id = match self.serial % 7 {
            0 => format!("wh-größe-{:08}", self.serial),
            1 => format!("wh-{:08}-{}", self.serial, "x".repeat(240)),
            _ => format!("wh-{:08}", self.serial),
        };
        let parcel = format!("PX-{}", 100_000_000 + resource);
        body["id"] = json!(id);
        body["at"] = json!(at);
        body["parcel"]["number"] = json!(parcel);
        Said {
            id,
            event_type: template.event_type.clone(),
            key: Some(key("warehouse", "parcel", &parcel)),
            occurred_ms: Some(at),
            headers: vec![("Content-Type", "application/vnd.warehouse+json".to_owned())],
        }
    }

    fn style(&mut self) -> Style {
        match self.random.random_range(0..10) {
            0 => Style::Pretty,
            1 => Style::NewlineAtTheEnd,
            2 => Style::SlashesEscaped,
            _ => Style::Compact,
        }
    }

    fn uuid(&mut self) -> String {
        let hex = hex::encode(self.random.random::<[u8; 16]>());
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }

    fn letters(&mut self, count: usize) -> String {
        const LETTERS: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz";
        let mut letter = || LETTERS[self.random.random_range(0..LETTERS.len())];
        (0..count).map(|_| char::from(letter())).collect()
    }
}

fn render(body: &Value, style: Style) -> Vec<u8> {
    let compact = body.to_string();
    match style {
        Style::Compact => compact.into_bytes(),
        Style::Pretty => format!("{body:#}").into_bytes(),
        Style::NewlineAtTheEnd => format!("{compact}\n").into_bytes(),
        Style::SlashesEscaped => compact.replace('/', "\\/").into_bytes(),
    }
}

fn text(ms: i64, format: &str) -> String {
    let time = Timestamp::from_millisecond(ms).expect("a time of this century");
    time.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payloads::Payloads;
    use crate::seed::random;

    #[test]
    fn each_event_is_unlike_all_others_and_says_what_is_expected_of_it() {
        let payloads = Payloads::own("test");
        let mut maker = Maker::new(random(1, "test"));
        let mut digests = std::collections::HashSet::new();
        for template in &payloads.templates {
            for _ in 0..20 {
                let event = maker.make(template, 7, 1_790_000_000_456);
                let body: Value = serde_json::from_slice(&event.body).expect("still JSON");
                assert!(body.is_object());
                assert!(digests.insert(event.digest), "{} twice", event.name());
            }
        }
    }

    #[test]
    fn a_shop_in_another_time_zone_means_the_same_moment() {
        let payloads = Payloads::own("test");
        let template = payloads.templates.iter().find(|t| t.source == Source::Shopify).expect("one");
        let event = Maker::new(random(2, "test")).make(template, 1, 1_790_000_000_456);
        let body: Value = serde_json::from_slice(&event.body).expect("JSON");
        let written: Timestamp = body["updated_at"].as_str().expect("a time").parse().expect("a time");
        assert_eq!(Some(written.as_millisecond()), event.occurred_ms);
        assert_eq!(event.occurred_ms, Some(1_790_000_000_000));
    }
}
