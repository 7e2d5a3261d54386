//! How every client of Kafka is configured, and waiting for the cluster at start.
//!
//! What the guarantee depends on is set by the code that depends on it and cannot be configured:
//! [`OWNED`] says which properties and why.

use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use crate::config;
use crate::report::{Failure, chain};
use crate::shutdown::Shutdown;
use crate::silence::{LastWord, explain};

/// How long one attempt to read metadata may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

pub use crate::config::OWNED;

/// Properties that have another name, too.
const ALIASES: [(&str, &str); 2] = [("compression.type", "compression.codec"), ("linger.ms", "queue.buffering.max.ms")];

/// What every client starts from: brokers, `[kafka.client]`, log level.
pub fn client(kafka: &config::Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (property, value) in &kafka.client {
        client.set(property, value);
    }
    client.set("bootstrap.servers", &kafka.brokers);
    // Asking for a topic would create it, with one partition and a clock of the senders: producers do unless told not to.
    client.set("allow.auto.create.topics", "false");
    client.set_log_level(RDKafkaLogLevel::Info);
    client
}

/// Values that suit a client of [`client`], where `[kafka.client]` says nothing else. What may not be said there is
/// [`OWNED`].
pub fn prefer(client: &mut ClientConfig, values: &[(&str, &str)]) {
    for (property, value) in values {
        let alias = ALIASES.iter().find(|(name, _)| name == property).map_or(*property, |(_, alias)| *alias);
        if client.get(property).is_none() && client.get(alias).is_none() {
            client.set(*property, *value);
        }
    }
}

/// Logs what a client says. That a property is for the other kind of client is no news: `[kafka.client]` is for both.
pub fn said(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, message, "client log");
        }
        RDKafkaLogLevel::Warning if facility != "CONFWARN" => {
            tracing::warn!(target: "librdkafka", facility, message, "client log");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, message, "client log");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Debug => {
            tracing::debug!(target: "librdkafka", facility, message, "client log");
        }
    }
}

/// Why librdkafka does not take this property, if it does not.
pub fn refuses(property: &str, value: &str) -> Option<String> {
    let created = ClientConfig::new().set(property, value).create_native_config();
    match created {
        Ok(_) => None,
        // The description alone: it names the property, and the value may be a password.
        Err(KafkaError::ClientConfig(_, description, _, _)) => Some(description),
        Err(error) => Some(error.to_string()),
    }
}

/// Waits until the cluster answers. `Ok(true)`: it does. `Ok(false)`: not within `[kafka] wait`, or stopping;
/// the service goes on, not ready. An error (69) only when waiting is switched off.
pub async fn await_cluster(kafka: &config::Kafka, shutdown: &Shutdown) -> Result<bool, Failure> {
    await_with(ATTEMPT, kafka, shutdown).await
}

async fn await_with(attempt_time: Duration, kafka: &config::Kafka, shutdown: &Shutdown) -> Result<bool, Failure> {
    let deadline = Instant::now() + kafka.wait;
    loop {
        let attempt = tokio::select! {
            attempt = reach(kafka, attempt_time) => attempt,
            () = shutdown.wait() => return Ok(false),
        };
        let error = match attempt {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        if kafka.wait.is_zero() {
            return Err(Failure::unavailable(error));
        }
        if Instant::now() + PAUSE >= deadline {
            tracing::warn!(error = chain(error.as_ref()), "the cluster does not answer: not ready until it does");
            return Ok(false);
        }
        tracing::info!(error = chain(error.as_ref()), "waiting for the cluster");
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.wait() => return Ok(false),
        }
    }
}

async fn reach(kafka: &config::Kafka, attempt_time: Duration) -> anyhow::Result<()> {
    let client = client(kafka);
    let brokers = kafka.brokers.clone();
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer<_> = client.create_with_context(LastWord::default()).context("[kafka.client]")?;
        let answer = consumer.fetch_metadata(None, attempt_time);
        answer.map(drop).map_err(|error| explain(&consumer, &brokers, error))
    })
    .await
    .context("wait for the cluster's answer")?
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::report::Exit;

    fn kafka(brokers: &str, wait: Duration) -> config::Kafka {
        config::Kafka { brokers: brokers.to_owned(), wait, client: BTreeMap::new() }
    }

    #[test]
    fn a_client_has_the_brokers_and_what_is_passed_through() {
        let mut kafka = kafka("a:1,b:2", Duration::ZERO);
        kafka.client.insert("linger.ms".to_owned(), "3".to_owned());
        let client = client(&kafka);
        assert_eq!(client.get("bootstrap.servers"), Some("a:1,b:2"));
        assert_eq!(client.get("linger.ms"), Some("3"));
        assert_eq!(client.get("allow.auto.create.topics"), Some("false"), "a producer's own default is true");
    }

    #[test]
    fn what_is_configured_stands_before_what_suits_a_client_under_either_name() {
        let mut kafka = kafka("a:1", Duration::ZERO);
        kafka.client.insert("queue.buffering.max.ms".to_owned(), "3".to_owned());
        let mut client = client(&kafka);
        prefer(&mut client, &[("linger.ms", "10"), ("compression.type", "lz4")]);
        assert_eq!((client.get("linger.ms"), client.get("queue.buffering.max.ms")), (None, Some("3")));
        assert_eq!(client.get("compression.type"), Some("lz4"));
        kafka.client.insert("compression.codec".to_owned(), "zstd".to_owned());
        let mut client = super::client(&kafka);
        prefer(&mut client, &[("compression.type", "lz4")]);
        assert_eq!((client.get("compression.type"), client.get("compression.codec")), (None, Some("zstd")));
    }

    #[test]
    fn librdkafka_says_what_it_does_not_take() {
        assert_eq!(refuses("linger.ms", "3"), None);
        assert!(refuses("no.such", "3").is_some_and(|reason| reason.contains("No such configuration property")));
        assert!(refuses("security.protocol", "magic").is_some_and(|reason| reason.contains("Invalid value")));
    }

    #[test]
    fn every_owned_property_is_one_that_could_be_set() {
        for (property, reason) in OWNED {
            let refused = refuses(property, "1").unwrap_or_default();
            assert!(!refused.contains("No such configuration property"), "{property}: {refused}");
            assert!(!reason.is_empty(), "{property}");
        }
    }

    #[tokio::test]
    async fn a_cluster_that_answers_ends_the_wait() {
        let cluster = MockCluster::new(1).unwrap();
        let kafka = kafka(&cluster.bootstrap_servers(), Duration::from_secs(30));
        assert!(await_cluster(&kafka, &Shutdown::new()).await.unwrap());
    }

    #[tokio::test]
    async fn a_cluster_that_is_not_there_is_an_error_only_without_waiting() {
        // Port 1 of this machine: nothing listens there.
        let (long, short) = (Duration::from_secs(5), Duration::from_millis(100));
        let failure = await_with(long, &kafka("127.0.0.1:1", Duration::ZERO), &Shutdown::new()).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        let said = failure.to_string();
        assert!(said.starts_with("no Kafka broker answers at 127.0.0.1:1 ([kafka] brokers): "), "{said}");
        assert!(said.contains("Connection refused"), "{said}");
        let patient = kafka("127.0.0.1:1", Duration::from_millis(1));
        assert!(!await_with(short, &patient, &Shutdown::new()).await.unwrap());
    }

    #[tokio::test]
    async fn stopping_ends_the_wait() {
        let shutdown = Shutdown::new();
        shutdown.trigger();
        let patient = kafka("127.0.0.1:1", Duration::from_secs(3600));
        assert!(!await_with(Duration::from_millis(100), &patient, &shutdown).await.unwrap());
    }
}
