//! A producer that is connected and has no epoch yet, and the thread that makes the next one.
//!
//! Connecting takes ten times as long as taking an epoch. Who takes one for every transaction has the next producer
//! connected while a transaction runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};

use super::{POLL, Signals, TransactionContext, take_epoch};
use crate::patience::retire;

const WARM_UP: Duration = Duration::from_secs(10);

/// A producer and what its callbacks write down.
pub(super) struct Connected {
    /// A call that never came back may hold it, too.
    pub(super) producer: Arc<BaseProducer<TransactionContext>>,
    pub(super) signals: Arc<Signals>,
}

impl Connected {
    /// Whether there was trouble since it was made, or declared clean.
    pub(super) fn is_tainted(&self) -> bool {
        // Serves the client's log lines that arrived meanwhile.
        self.producer.poll(POLL);
        self.signals.is_tainted.load(Ordering::Acquire)
    }

    /// What was seen so far harms no transaction: connections come and go while a client starts.
    pub(super) fn declare_clean(&self) {
        self.producer.poll(POLL);
        self.signals.is_tainted.store(false, Ordering::Release);
    }
}

/// What producers are made from.
#[derive(Clone)]
pub(super) struct Maker {
    config: ClientConfig,
    /// They know these topics before they are used.
    topics: [String; 2],
    /// How long taking an epoch may last.
    patience: Duration,
}

impl Maker {
    pub(super) fn new(mut config: ClientConfig, topics: [String; 2], patience: Duration) -> Self {
        config.set("debug", "broker").set_log_level(RDKafkaLogLevel::Debug);
        Self { config, topics, patience }
    }

    /// Makes one and connects it.
    pub(super) fn connect(&self) -> Result<Connected, KafkaError> {
        let signals = Arc::<Signals>::default();
        let context = TransactionContext(Arc::clone(&signals));
        let producer = BaseProducer::from_config_and_context(&self.config, context)?;
        // The first answer retires the bootstrap connection, the second one needs the real one to be up. With it
        // taking an epoch lasts 5 ms; without, half a second.
        for topic in &self.topics {
            if let Err(error) = producer.client().fetch_metadata(Some(topic), WARM_UP) {
                retire(producer);
                return Err(error);
            }
        }
        Ok(Connected { producer: Arc::new(producer), signals })
    }

    /// Lets one take an epoch, which fences the one before. One that fails is closed here and not on a thread: it would go
    /// on asking, and fence who comes after it.
    pub(super) fn admit(&self, connected: Connected) -> Result<Connected, KafkaError> {
        take_epoch(&connected.producer, self.patience)?;
        connected.declare_clean();
        Ok(connected)
    }
}

/// The next producer, which a thread connects.
#[derive(Default)]
pub(super) struct Next(Option<JoinHandle<Result<Connected, KafkaError>>>);

impl Next {
    /// Has it connected, and the one before ended, whose transaction is committed.
    pub(super) fn prepare(&mut self, maker: &Maker, before: Option<Connected>) {
        retire(before);
        let maker = maker.clone();
        // Without a thread whoever needs it makes one.
        self.0 = thread::Builder::new().name("next-producer".to_owned()).spawn(move || maker.connect()).ok();
    }

    /// Waits for it. `None`: nobody prepared one, or it could not be connected.
    pub(super) fn take(&mut self) -> Option<Connected> {
        self.0.take()?.join().ok()?.ok()
    }
}
