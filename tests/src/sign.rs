//! Signing as each provider does it, written from the providers' own documents.
//!
//! Independent of `ingest` on purpose: a mistake there must not be repeated here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Header names and values.
pub type Headers = Vec<(&'static str, String)>;

/// How a source's provider signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    GitHub,
    Stripe,
    Shopify,
    Slack,
    StandardWebhooks,
    Svix,
    /// The one that the demo configures itself.
    Warehouse,
}

impl Scheme {
    /// Whether the signature covers a timestamp.
    pub fn has_timestamp(self) -> bool {
        !matches!(self, Scheme::GitHub | Scheme::Shopify)
    }

    /// The header that carries the signature.
    pub fn header(self) -> &'static str {
        match self {
            Scheme::GitHub => "X-Hub-Signature-256",
            Scheme::Stripe => "Stripe-Signature",
            Scheme::Shopify => "X-Shopify-Hmac-SHA256",
            Scheme::Slack => "X-Slack-Signature",
            Scheme::StandardWebhooks => "webhook-signature",
            Scheme::Svix => "svix-signature",
            Scheme::Warehouse => "X-Warehouse-Signature",
        }
    }

    /// The header of the timestamp, for those that do not keep it beside the signature.
    pub fn timestamp_header(self) -> Option<&'static str> {
        match self {
            Scheme::Slack => Some("X-Slack-Request-Timestamp"),
            Scheme::StandardWebhooks => Some("webhook-timestamp"),
            Scheme::Svix => Some("svix-timestamp"),
            Scheme::GitHub | Scheme::Stripe | Scheme::Shopify | Scheme::Warehouse => None,
        }
    }

    /// A new secret in the form in which this provider hands it out.
    pub fn secret(self, random: [u8; 24]) -> String {
        match self {
            Scheme::StandardWebhooks | Scheme::Svix => format!("whsec_{}", STANDARD.encode(random)),
            Scheme::Stripe => format!("whsec_{}", hex::encode(random)),
            Scheme::GitHub | Scheme::Shopify | Scheme::Slack | Scheme::Warehouse => hex::encode(random),
        }
    }

    /// The key that a secret stands for.
    pub fn key(self, secret: &str) -> Vec<u8> {
        match self {
            Scheme::StandardWebhooks | Scheme::Svix => {
                let text = secret.strip_prefix("whsec_").unwrap_or(secret);
                STANDARD.decode(text).expect("a secret of ours is base64")
            }
            Scheme::GitHub | Scheme::Stripe | Scheme::Shopify | Scheme::Slack | Scheme::Warehouse => {
                secret.as_bytes().to_vec()
            }
        }
    }

    /// The headers that make `body` authentic. `id` is signed by the schemes that have one.
    pub fn sign(self, key: &[u8], id: &str, timestamp: i64, body: &[u8]) -> Headers {
        let header = self.header();
        let t = timestamp.to_string();
        match self {
            Scheme::GitHub => vec![(header, format!("sha256={}", hex::encode(mac(key, &[body]))))],
            Scheme::Shopify => vec![(header, STANDARD.encode(mac(key, &[body])))],
            Scheme::Stripe | Scheme::Warehouse => {
                let signature = hex::encode(mac(key, &[t.as_bytes(), b".", body]));
                vec![(header, format!("t={t},v1={signature}"))]
            }
            Scheme::Slack => {
                let signature = hex::encode(mac(key, &[b"v0:", t.as_bytes(), b":", body]));
                vec![(header, format!("v0={signature}")), ("X-Slack-Request-Timestamp", t)]
            }
            Scheme::StandardWebhooks | Scheme::Svix => {
                let signed = mac(key, &[id.as_bytes(), b".", t.as_bytes(), b".", body]);
                let signature = format!("v1,{}", STANDARD.encode(signed));
                let (id_header, t_header) = match self {
                    Scheme::Svix => ("svix-id", "svix-timestamp"),
                    _ => ("webhook-id", "webhook-timestamp"),
                };
                vec![(id_header, id.to_owned()), (t_header, t), (header, signature)]
            }
        }
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(headers: &Headers, name: &str) -> String {
        let found = headers.iter().find(|(header, _)| *header == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    #[test]
    fn the_published_vectors_come_out() {
        let github = Scheme::GitHub.sign(b"It's a Secret to Everybody", "", 0, b"Hello, World!");
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(value(&github, "X-Hub-Signature-256"), expected);

        let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
                    channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
                    response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F\
                    96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let slack = Scheme::Slack.sign(b"8f742231b10e8888abcd99yyyzzz85a5", "", 1_531_420_618, body.as_bytes());
        let expected = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
        assert_eq!(value(&slack, "X-Slack-Signature"), expected);

        let key = Scheme::Svix.key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let svix = Scheme::Svix.sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(value(&svix, "svix-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
