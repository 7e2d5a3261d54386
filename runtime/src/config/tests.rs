//! The configuration as a whole: the contract's example, what is refused, and that the table of keys,
//! the parser, the reference and `show` agree.

mod bad;
mod bad_sources;
mod agreement;

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemas::presets::{Algorithm, Encoding, SecretEncoding, TimeUnit};
use schemas::verified_event::StaleMode;

use super::*;
use crate::expression::Expression;

/// Reads a text as `weir.toml` of the folder, with these variables.
fn read(text: &str, folder: &Path, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    parse(text, &folder.join("weir.toml"), variables)
}

/// The example of the contract, with what does not exist yet left out and some things put in.
const EXAMPLE: &str = r#"
shutdown_timeout = "30s"

[kafka]
brokers = "127.0.0.1:9092"
wait = "60s"
[kafka.client]
"security.protocol" = "plaintext"

[topics]
prefix = ""
partitions = 16
replication = 1

[ingest]
listen = "127.0.0.1:8080"
admin_listen = "127.0.0.1:9464"
body_limit = "1MiB"
public_url = "https://hooks.example.com"

[processor]
group = "weir"
session_timeout = "15s"
instance = "a"
workers = 1
state_dir = "target/state"
admin_listen = "127.0.0.1:9465"
commit_interval = "100ms"
batch_events = 50000
batch_bytes = "32MiB"
leave = false

[retry]
delays = ["5s", "1m", "10m", "1h"]
attempts = 8
order = "park"
schedule = "tiers"
jitter = "none"
parked_per_resource = 10000
parked_total = 1000000
overflow = "dead"

[[source]]
name = "github"
provider = "github"
secrets = [{ env = "GITHUB_SECRET" }, { file = "github-old" }]
dedup = "id"
dedup_window = "4d"
stale = "drop"
quarantine = false
event_id = { header = "X-GitHub-Delivery" }
event_type = { header = "X-GitHub-Event" }
resource = "/repository/id"
resource_type = "repository"
occurred_at = "/repository/updated_at"
snapshots = ["repository.*", "*.updated"]
terminal = ["*.deleted"]
tolerance = "5m"
body_limit = "1MiB"
schema = "github-push.json"
schedule = ["1s", "30s", "5s"]

[[source]]
name = "billing"
provider = "hmac"
secrets = [{ value = "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5" }]
dedup = { exclude = ["/sent_at"] }
dedup_window = "10s"
stale = "route"
event_type = "/kind"
resource = [{ header = "X-Invoice" }, "/invoice/id"]
resource_type = "/invoice/type"
occurred_at = { pointer = "/created", unit = "ms" }
tolerance = "1m"
body_limit = "32MiB"

[source.scheme]
algorithm = "sha512"
encoding = "base64"
header = "X-Signature"
format = "t={timestamp},v1={signature}"
signed = "{id}.{timestamp}.{body}"
id_header = "X-Id"
secret_encoding = "base64"

[[source.handlers]]
kind = "filter"
keep = "body.total > 0"

[[source.handlers]]
kind = "map"
body = { id = "body.id", "a b" = """
  body.lines.map(l, l.price)
""" }

[[source.handlers]]
kind = "fetch"
url = "https://api.example.com/customers/{body.id}"
headers = { accept = "application/json", authorization = { env = "API_TOKEN" } }
into = "/customer"
when = "event.type != 'test'"
timeout = "500ms"
"#;

fn example() -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("github-old"), "the old one of GitHub\n").unwrap();
    std::fs::write(folder.path().join("github-push.json"), "{}").unwrap();
    let variables = [("GITHUB_SECRET", "the new one of GitHub"), ("API_TOKEN", "Bearer t0ken")];
    read(EXAMPLE, folder.path(), &variables).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_contracts_example_means_what_it_says() {
    let config = example().config;
    assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.kafka.brokers, "127.0.0.1:9092");
    assert_eq!(config.kafka.client.get("security.protocol").map(String::as_str), Some("plaintext"));
    assert_eq!((config.topics.partitions, config.topics.replication), (16, 1));
    assert_eq!(config.topics.retry_delays, ["5s", "1m", "10m", "1h"]);
    assert_eq!(config.topics.longest_window_ms, 4 * 86_400_000);
    assert_eq!(config.topics.body_limit, 32 << 20, "the largest of all limits");
    assert_eq!(config.ingest.public_url.as_deref(), Some("https://hooks.example.com"));
    assert_eq!((config.processor.group.as_str(), config.processor.instance.as_str()), ("weir", "a"));
    assert_eq!(config.processor.batch_bytes, 32 << 20);
    assert_eq!(config.processor.state_dir, PathBuf::from("target/state"));
    assert_eq!(config.retry.delays_ms(), [5000, 60_000, 600_000, 3_600_000]);
    assert_eq!((config.retry.attempts, config.retry.order), (8, RetryOrder::Park));
    assert_eq!((&config.retry.schedule, config.retry.jitter), (&Schedule::Tiers, Jitter::None));
    assert_eq!((config.retry.parked_per_resource, config.retry.parked_total), (10_000, 1_000_000));
    assert_eq!(config.retry.overflow, Overflow::Dead);

    let github = config.sources.first().unwrap();
    let secrets: Vec<&[u8]> = github.secrets.iter().map(|secret| secret.expose()).collect();
    assert_eq!(secrets, [b"the new one of GitHub".as_slice(), b"the old one of GitHub"]);
    assert_eq!(github.event_id, Place::Header("x-github-delivery".to_owned()));
    assert!(!github.event_id_signed);
    assert_eq!(github.event_type_suffix.as_deref(), Some("/action"));
    assert_eq!(github.resource, [Place::Pointer("/repository/id".to_owned())]);
    assert_eq!(github.resource_type, Place::Constant("repository".to_owned()));
    assert_eq!(github.schema.as_ref().unwrap().name(), "github-push.json");
    let pauses = [1, 30, 5].map(Duration::from_secs).to_vec();
    assert_eq!(github.schedule, Some(Schedule::Custom(pauses)), "a list of its own need not rise");
    assert_eq!((github.dedup.clone(), github.stale), (Dedup::Id, StaleMode::Drop));
    assert_eq!(github.tolerance, Duration::ZERO, "GitHub signs no timestamp");
    assert_eq!(github.type_prefix(), "github");
}

#[test]
fn a_source_of_ones_own_means_what_it_says() {
    let config = example().config;
    let billing = &config.sources[1];
    assert_eq!(
        billing.scheme,
        Scheme {
            algorithm: Algorithm::Sha512,
            encoding: Encoding::Base64,
            secret_encoding: SecretEncoding::Base64,
            headers: vec!["x-signature".to_owned()],
            format: "t={timestamp},v1={signature}".to_owned(),
            signed: "{id}.{timestamp}.{body}".to_owned(),
            timestamp_headers: Vec::new(),
            id_headers: vec!["x-id".to_owned()],
        }
    );
    assert_eq!(billing.secrets.first().unwrap().expose(), b"correct horse battery");
    assert_eq!(billing.event_id, Place::Header("x-id".to_owned()), "the signed id is the event id");
    assert!(billing.event_id_signed);
    assert_eq!(billing.event_type, Place::Pointer("/kind".to_owned()));
    assert_eq!(billing.resource_type, Place::Pointer("/invoice/type".to_owned()));
    assert_eq!(billing.resource, [Place::Header("x-invoice".to_owned()), Place::Pointer("/invoice/id".to_owned())]);
    assert_eq!(billing.occurred_at, [(Place::Pointer("/created".to_owned()), TimeUnit::Milliseconds)]);
    assert_eq!(billing.dedup, Dedup::Exclude(vec!["/sent_at".to_owned()]));
    assert_eq!(billing.dedup_window, Duration::from_secs(10));
    assert_eq!((billing.tolerance, billing.body_limit), (Duration::from_secs(60), 32 << 20));
    assert_eq!(billing.type_prefix(), "billing");
}

#[test]
fn handlers_mean_what_they_say() {
    let config = example().config;
    assert!(config.sources[0].handlers.is_empty());
    let [Handler::Filter { keep }, Handler::Map { body }, Handler::Fetch(fetch)] =
        config.sources[1].handlers.as_slice()
    else {
        panic!("three handlers, in order")
    };
    assert_eq!(keep.text(), "body.total > 0");
    let fields: Vec<&str> = body.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["a b", "id"], "as JSON writes them");
    assert_eq!(fetch.url.text(), "https://api.example.com/customers/{body.id}");
    let headers: Vec<(&str, &[u8])> =
        fetch.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("accept", b"application/json".as_slice()), ("authorization", b"Bearer t0ken")]);
    assert_eq!((fetch.timeout, fetch.concurrency), (Duration::from_millis(500), 8));
    assert_eq!((fetch.body_limit, fetch.allow_private), (1 << 20, false));
    assert_eq!(fetch.into.as_deref(), Some("/customer"));
    assert_eq!(fetch.when.as_ref().map(Expression::text), Some("event.type != 'test'"));
}

#[test]
fn an_empty_file_is_the_defaults_and_a_warning() {
    let loaded = read("", Path::new(""), &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.processor.commit_interval, Duration::from_millis(100));
    assert!(!loaded.config.processor.instance.is_empty(), "the host name");
    assert_eq!(loaded.config.topics.longest_window_ms, 4 * 86_400_000);
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "weir.toml: source: there is no [[source]]: nothing can arrive",
            "weir.toml: [topics] replication: 1: a lost disk loses events; production wants 3 or more",
        ]
    );
}

#[test]
fn what_an_operator_should_know_is_a_warning_with_its_line() {
    let warnings: Vec<String> = example()
        .warnings
        .iter()
        .map(|warning| format!("{} {}", warning.line.unwrap_or_default(), warning.key))
        .collect();
    assert_eq!(
        warnings,
        [
            "13 [topics] replication",
            "45 [[source]] github: provider",
            "58 [[source]] github: tolerance",
            "66 [[source]] billing: secrets[0]"
        ]
    );
}

#[test]
fn a_secret_that_can_be_guessed_is_a_warning() {
    let text = "[[source]]\nname = \"s\"\nprovider = \"stripe\"\nsecrets = [{ env = \"A\" }, { env = \"B\" }, { env = \"C\" }]\n";
    let variables = [("A", "a secret of its own"), ("B", "undefined"), ("C", "whsec_short")];
    let loaded = read(text, Path::new(""), &variables).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.sources[0].secrets.len(), 3, "they are used all the same");
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let of_secrets: Vec<&str> =
        warnings.iter().map(String::as_str).filter(|warning| warning.contains("secrets[")).collect();
    assert_eq!(
        of_secrets,
        [
            "weir.toml:4: [[source]] s: secrets[1]: the secret is a word that stands for one: anybody may guess it",
            "weir.toml:4: [[source]] s: secrets[2]: the secret has 11 bytes: below 16 it can be guessed",
        ]
    );
}

#[test]
fn variables_override_the_file_and_take_its_types() {
    let variables = [
        ("WEIR__SHUTDOWN_TIMEOUT", "5s"),
        ("WEIR__KAFKA__BROKERS", "a:1,b:2"),
        ("WEIR__TOPICS__PARTITIONS", "64"),
        ("WEIR__TOPICS__PREFIX", "p-"),
        ("WEIR__PROCESSOR__LEAVE", "true"),
        ("WEIR__KAFKA__CLIENT__SASL_PASSWORD", "hunter2"),
        ("WEIR_CONFIG", "not ours: one underscore"),
        ("PATH", "/bin"),
    ];
    let text = "[kafka]\nbrokers = \"file:1\"\n[topics]\npartitions = 4\n";
    let config = read(text, Path::new(""), &variables).unwrap_or_else(|problems| panic!("{problems}")).config;
    assert_eq!(config.shutdown_timeout, Duration::from_secs(5));
    assert_eq!(config.kafka.brokers, "a:1,b:2");
    assert_eq!((config.topics.partitions, config.topics.prefix.as_str()), (64, "p-"));
    assert!(config.processor.leave);
    assert_eq!(config.processor.group, "p-weir", "the prefix is part of the effective group");
    assert_eq!(config.kafka.client.get("sasl.password").map(String::as_str), Some("hunter2"));
}

#[test]
fn nothing_prints_a_secret() {
    let mut loaded = example();
    loaded.config.kafka.client.insert("sasl.password".to_owned(), "hunter2".to_owned());
    loaded.config.kafka.client.insert("ssl.key.pem".to_owned(), "hunter2".to_owned());
    for text in [show(&loaded.config), format!("{loaded:?}"), format!("{loaded:#?}")] {
        assert!(text.contains("***"), "{text}");
        for secret in ["hunter2", "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5", "t0ken", "\"new\"", "\"old\"", "[110, 101, 119]"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn properties_may_be_written_with_dots_and_without_quotes() {
    let text = "[kafka.client]\nsecurity.protocol = \"ssl\"\nsocket.keepalive.enable = true\n\"linger.ms\" = 5\n";
    let config = read(text, Path::new(""), &[]).unwrap_or_else(|problems| panic!("{problems}")).config;
    let client: Vec<(&str, &str)> = config.kafka.client.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(client, [("linger.ms", "5"), ("security.protocol", "ssl"), ("socket.keepalive.enable", "true")]);
}

#[test]
fn an_id_counts_as_signed_only_where_the_signature_covers_it() {
    let signed = |rest: &str| {
        let text = format!("[[source]]\nname = \"s\"\nsecrets = [{{ value = \"YWJj\" }}]\n{rest}");
        let loaded = read(&text, Path::new(""), &[]).unwrap_or_else(|problems| panic!("{problems}"));
        loaded.config.sources.first().unwrap().event_id_signed
    };
    assert!(!signed("provider = \"github\""));
    assert!(signed("provider = \"github\"\nevent_id = \"/id\""), "the whole body is signed");
    assert!(signed("provider = \"svix\""));
    assert!(signed("provider = \"svix\"\nevent_id = { header = \"Svix-Id\" }"));
    assert!(!signed("provider = \"svix\"\nevent_id = { header = \"X-Other\" }"));
    assert!(signed("provider = \"hmac\"\n[source.scheme]\nheader = \"X-S\""));
    assert!(!signed("provider = \"hmac\"\nevent_id = { header = \"X-Id\" }\n[source.scheme]\nheader = \"X-S\""));
}

#[test]
fn what_a_preset_knows_about_a_place_goes_with_the_place() {
    let source = |rest: &str| {
        let text = format!("[[source]]\nname = \"s\"\nprovider = \"github\"\nsecrets = [{{ value = \"a\" }}]\n{rest}");
        let loaded = read(&text, Path::new(""), &[]).unwrap_or_else(|problems| panic!("{problems}"));
        loaded.config.sources.into_iter().next().unwrap()
    };
    assert_eq!(source("").event_type_suffix.as_deref(), Some("/action"));
    assert_eq!(source("event_type = \"/kind\"").event_type_suffix, None);
    assert_eq!(source("resource = []").resource, []);
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let problems = load(&folder.path().join("none.toml")).unwrap_err().to_string();
    assert!(problems.contains("none.toml: cannot be read: "), "{problems}");
}
