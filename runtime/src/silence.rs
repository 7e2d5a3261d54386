//! Why a cluster gave no answer: nobody is there, or somebody refuses.
//!
//! The client's calls return only that they failed; why, it says in its log, before or after. What is told here once
//! is not logged besides.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::kafka::said;

/// How long, and how often, the client is asked for what it has said.
const WORD: Duration = Duration::from_millis(20);
const WORDS_MAX: u32 = 16;

/// Keeps why the client's last connection failed: its calls return only that they failed, and not that a password is
/// wrong or a name unknown.
#[derive(Debug, Default)]
pub struct LastWord(Mutex<Option<String>>);

impl ClientContext for LastWord {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility != "FAIL" {
            return said(level, facility, message);
        }
        // Without the thread's name, which stands in brackets before it.
        let text = message.split_once("]: ").map_or(message, |(_, text)| text);
        tracing::debug!(target: "librdkafka", ?level, text, "client log");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Whoever asks hears of it in the answer.
        tracing::debug!(target: "librdkafka", %error, reason, "client error");
    }
}

impl ConsumerContext for LastWord {}

/// What to tell a person of a question that failed.
pub fn explain(client: &BaseConsumer<LastWord>, brokers: &str, error: KafkaError) -> anyhow::Error {
    if !is_silence(&error) {
        return anyhow!(error).context(format!("Kafka at {brokers} refuses"));
    }
    // What the client says waits in its queue.
    for _ in 0..WORDS_MAX {
        if client.poll(WORD).is_none() {
            break;
        }
    }
    let last = client.context().0.lock().unwrap_or_else(PoisonError::into_inner).take();
    let last = last.map(|last| format!(": {last}")).unwrap_or_default();
    anyhow!("no Kafka broker answers at {brokers} ([kafka] brokers): {error}{last}")
}

/// No connection, or no answer over it.
pub fn is_unheard(error: &KafkaError) -> bool {
    const UNHEARD: [RDKafkaErrorCode; 5] = [
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::AllBrokersDown,
        RDKafkaErrorCode::Resolve,
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::RequestTimedOut,
    ];
    error.rdkafka_error_code().is_some_and(|code| UNHEARD.contains(&code))
}

/// Whether nobody has answered at all, as opposed to somebody with a refusal.
fn is_silence(error: &KafkaError) -> bool {
    let unserved = [RDKafkaErrorCode::Authentication, RDKafkaErrorCode::WaitingForCoordinator];
    is_unheard(error) || error.rdkafka_error_code().is_some_and(|code| unserved.contains(&code))
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    #[test]
    fn silence_is_told_from_a_refusal() {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", "127.0.0.1:1");
        let client: BaseConsumer<LastWord> = settings.create_with_context(LastWord::default()).unwrap();
        let explained = |code| explain(&client, "127.0.0.1:1", KafkaError::MetadataFetch(code)).to_string();
        let silent = explained(RDKafkaErrorCode::BrokerTransportFailure);
        assert!(silent.starts_with("no Kafka broker answers at 127.0.0.1:1 ([kafka] brokers): "), "{silent}");
        assert_eq!(explained(RDKafkaErrorCode::GroupAuthorizationFailed), "Kafka at 127.0.0.1:1 refuses");
    }

    #[test]
    fn a_last_word_is_about_a_connection_and_without_its_thread() {
        let word = LastWord::default();
        word.log(RDKafkaLogLevel::Error, "FAIL", "[thrd:sasl_plaintext://a:1/bootstrap]: a:1: wrong password");
        word.log(RDKafkaLogLevel::Error, "ERROR", "[thrd:app]: 1/1 brokers are down");
        assert_eq!(word.0.into_inner().unwrap().as_deref(), Some("a:1: wrong password"));
    }
}
