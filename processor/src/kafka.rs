//! The real log: group, reader and transactions of one worker behind the [`Log`] trait.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use runtime::config::Recycle;

use crate::batch::Batch;
use crate::command_reader::CommandReader;
use crate::commit::{OutTopics, Transactions};
use crate::consume::Group;
use crate::emit::{Out, Record};
use crate::fetcher::{Fetcher, ReadTopics};
use crate::log::{Acks, Bounds, Ends, Fault, Found, Heard, Log, Loose, Polled, Scan, Scanned, Stored, Want};
use crate::reader::Reader;

/// What a worker's clients are made from.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Member of the group.
    pub group: ClientConfig,
    /// Transactional producer.
    pub producer: ClientConfig,
    /// Reads committed records, reports ends of partitions; of the same group, never subscribed.
    pub committed: ClientConfig,
    /// Sees where logs really end.
    pub raw: ClientConfig,
    /// Reads commands.
    pub commands: ClientConfig,
    /// Reads records of waiting events.
    pub records: ClientConfig,
    /// Names of the topics of such records.
    pub read: ReadTopics,
    /// Transaction timeout.
    pub transaction_timeout: Duration,
    /// When the producer is recycled.
    pub recycle: Recycle,
    /// How long the member of the group may be none.
    pub absent_most: Duration,
    /// Full name of `verified-events`.
    pub input: String,
    /// Full names of what is written.
    pub outputs: OutTopics,
}

/// One worker's Kafka.
pub struct KafkaLog {
    input: String,
    group: Group,
    reader: Reader,
    transactions: Transactions,
    fetcher: Fetcher,
    command_reader: CommandReader,
    clean_partitions: i32,
    input_partitions: i32,
}

impl KafkaLog {
    /// Connects everything but the producer, which the life cycle asks for.
    pub fn connect(clients: Clients) -> Result<Self, KafkaError> {
        let reader = Reader::connect(&clients.committed, &clients.raw)?;
        let clean_partitions = reader.partitions(&clients.outputs.clean)?;
        let input_partitions = reader.partitions(&clients.input)?;
        let first = format!("{}{}", clients.read.retry, clients.read.first);
        // Without a thread there is no process either.
        let fetcher = Fetcher::start(clients.records, clients.read)
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self {
            fetcher,
            command_reader: CommandReader::new(clients.commands, first),
            group: Group::join(clients.group, clients.raw, clients.input.clone(), clients.absent_most)?,
            reader,
            transactions: Transactions::new(
                clients.producer,
                clients.outputs,
                clients.transaction_timeout,
                clients.recycle,
            ),
            input: clients.input,
            clean_partitions,
            input_partitions,
        })
    }

    /// Whether the group counts us as a member right now.
    pub fn is_member(&self) -> bool {
        crate::group::membership(self.group.consumer()).is_some()
    }

    /// What the group knows us as right now.
    pub fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.group.consumer().group_metadata()
    }

    fn topic(&self, out: Out) -> String {
        self.transactions.topics().name(out).to_owned()
    }

    fn all_ends(&self, wanted: &[(String, i32)]) -> Result<Vec<Ends>, Fault> {
        self.reader.ends(wanted).map_err(|error| {
            // The client does not say of which topic.
            let topics: BTreeSet<&str> = wanted.iter().map(|(topic, _)| topic.as_str()).collect();
            let topics = Vec::from_iter(topics).join(", ");
            Fault::Unsure { doing: "ask where partitions end", detail: format!("one of {topics}: {error}") }
        })
    }

    fn one_end(&self, topic: String, partition: i32) -> Result<Ends, Fault> {
        let answer = self.all_ends(&[(topic, partition)])?;
        answer.first().copied().ok_or_else(|| Fault::unsure("ask where partitions end", &KafkaError::Canceled))
    }

    fn read_back(
        &mut self,
        out: Out,
        from: &[(i32, i64)],
        budget_ms: u64,
        each: &mut dyn FnMut(i32, Found<'_>) -> Scan,
    ) -> Result<BTreeMap<i32, Scanned>, Fault> {
        let topic = self.topic(out);
        let scanned = self.reader.scan(&topic, from, Duration::from_millis(budget_ms), each);
        scanned.map_err(|error| Fault::unsure("read back", &error))
    }
}

impl Log for KafkaLog {
    fn collect(&mut self, batch: &mut Batch, bounds: Bounds) -> Result<Polled, Fault> {
        self.group.collect(batch, bounds)
    }

    fn run(&mut self, next: &[(i32, i64)]) -> Result<(), Fault> {
        self.group.run(next).map_err(|error| Fault::unsure("let records flow", &error))
    }

    fn pause(&mut self, partition: i32) -> Result<(), Fault> {
        self.group.pause(partition).map_err(|error| Fault::unsure("pause a partition", &error))
    }

    fn follow(&mut self, from: &[(i32, i64)]) -> Result<(), Fault> {
        self.command_reader.follow(from, &self.reader).map_err(|error| Fault::unsure("read commands", &error))
    }

    fn unfollow(&mut self, partition: i32) {
        self.command_reader.unfollow(partition);
    }

    fn heard(&mut self) -> Vec<Heard> {
        self.command_reader.heard()
    }

    fn want(&mut self, wants: Vec<Want>) {
        self.fetcher.want(wants);
    }

    fn fetched(&mut self) -> Vec<(Want, Option<Loose>)> {
        self.fetcher.fetched()
    }

    fn positions(&mut self, partitions: &[i32]) -> Result<Vec<(i32, Option<Stored>)>, Fault> {
        let doing = "read committed offsets";
        // Someone may have added partitions since we connected.
        self.input_partitions = self.reader.partitions(&self.input).map_err(|error| Fault::unsure(doing, &error))?;
        self.reader.positions(&self.input, partitions).map_err(|error| Fault::unsure(doing, &error))
    }

    fn glance(&mut self, partitions: &[i32]) -> Result<Vec<(i32, Option<Stored>)>, Fault> {
        self.reader
            .glance(&self.input, partitions)
            .map_err(|error| Fault::unsure("glance at committed offsets", &error))
    }

    fn input_ends(&mut self, partition: i32) -> Result<Ends, Fault> {
        self.one_end(self.input.clone(), partition)
    }

    fn input_ends_of(&mut self, partitions: &[i32]) -> Result<BTreeMap<i32, Ends>, Fault> {
        let wanted: Vec<_> = partitions.iter().map(|partition| (self.input.clone(), *partition)).collect();
        Ok(partitions.iter().copied().zip(self.all_ends(&wanted)?).collect())
    }

    fn first_after(&mut self, times: &[(i32, i64)]) -> Result<BTreeMap<i32, i64>, Fault> {
        self.reader.first_after(&self.input, times).map_err(|error| Fault::unsure("look for a time", &error))
    }

    fn ends(&mut self, out: Out, partition: i32) -> Result<Ends, Fault> {
        self.one_end(self.topic(out), partition)
    }

    fn ends_of(&mut self, wanted: &[(Out, i32)]) -> Result<BTreeMap<(Out, i32), Ends>, Fault> {
        let named: Vec<_> = wanted.iter().map(|(out, partition)| (self.topic(*out), *partition)).collect();
        Ok(wanted.iter().copied().zip(self.all_ends(&named)?).collect())
    }

    fn scan(
        &mut self,
        out: Out,
        partition: i32,
        from: i64,
        budget_ms: u64,
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<Scanned, Fault> {
        let scanned = self.read_back(out, &[(partition, from)], budget_ms, &mut |_, found| {
            if each(found).is_break() { Scan::Stop } else { Scan::On }
        })?;
        Ok(scanned.into_values().next().unwrap_or(Scanned { next: from, is_end: false }))
    }

    fn scan_all(
        &mut self,
        out: Out,
        from: &[(i32, i64)],
        budget_ms: u64,
        each: &mut dyn FnMut(i32, Found<'_>) -> Scan,
    ) -> Result<(), Fault> {
        self.read_back(out, from, budget_ms, each).map(drop)
    }

    fn rest(&mut self) -> Result<(), Fault> {
        self.reader.rest().map_err(|error| Fault::unsure("stop reading back", &error))
    }

    fn recycle(&mut self) -> Result<(), Fault> {
        self.transactions.recycle()
    }

    fn begin(&mut self) -> Result<(), Fault> {
        self.transactions.begin(self.group.consumer())
    }

    fn produce(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        self.transactions.produce(record)
    }

    fn settle(&mut self) -> Result<Acks, Fault> {
        self.transactions.settle()
    }

    fn send_offsets(&mut self, offsets: &[(i32, i64, String)]) -> Result<(), Fault> {
        self.transactions.send_offsets(&self.input, offsets)
    }

    fn commit(&mut self) -> Result<bool, Fault> {
        self.transactions.commit()
    }

    fn clean_partitions(&self) -> i32 {
        self.clean_partitions
    }

    fn input_partitions(&self) -> i32 {
        self.input_partitions
    }

    fn now_ms(&self) -> i64 {
        runtime::clock::now_ms()
    }

    fn nonce(&mut self) -> u64 {
        rand::random()
    }
}
