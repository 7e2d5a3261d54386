//! One test's installation: its topics, its input, its workers, and the comparison with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use processor::books::{Place, Tallies};
use processor::state::rocks::RocksStores;
use processor::state::{Store as _, Stores as _};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use runtime::config::Config;
use schemas::{Topic, headers, partition};
use tempfile::TempDir;
use weir_tests::broker;
use weir_tests::cluster::Cluster;
use weir_tests::history::{self, Input, Variety, Verified};
use weir_tests::place;
use weir_tests::process::Process;
use weir_tests::seed;
use weir_tests::stepper::{FLAKY, STAYS};
use weir_tests::wait::wait_until;

use crate::PATIENCE;

pub const PARTITIONS: i32 = 4;
/// Small batches and short pauses, so that little input meets every call many times.
/// Retries and transactions that are over soon. Ends in `[processor]`.
pub const SETTINGS: &str = "[retry]\ndelays = [\"20ms\", \"100ms\"]\nattempts = 50\n\
    [processor]\nsession_timeout = \"6s\"\ncommit_interval = \"20ms\"\nbatch_events = 25\n";
const VARIETY: Variety = Variety { partitions: PARTITIONS, resources: 12, ids: 25, window_ms: history::WINDOW_MS };

/// How a worker ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited {
    /// By SIGKILL.
    Killed,
    /// By itself.
    Code(i32),
}

/// One test's installation.
pub struct Rig {
    pub(crate) brokers: String,
    folder: TempDir,
    pub(crate) config: Config,
    seed: u64,
    fed: u64,
    /// Events fail at first.
    is_flaky: bool,
    /// More environment for every worker.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
}

/// A record of an output.
struct Found {
    key: Vec<u8>,
    src: (i32, i64),
    seq: Option<u64>,
}

impl Rig {
    /// Topics of its own, and no input yet.
    pub async fn new(name: &str) -> Self {
        Self::with(name, false, SETTINGS).await
    }

    /// The same on another broker, which workers reach by an address of their own.
    pub async fn behind(name: &str, broker: &str, told: &str) -> Self {
        Self::behind_with_settings(name, broker, told, SETTINGS).await
    }

    /// The same, with these settings besides those that every rig has.
    pub async fn behind_with_settings(name: &str, broker: &str, told: &str, settings: &str) -> Self {
        Self::on((broker, told), name, false, settings).await
    }

    /// The same, with a handler in which every other event fails once or twice.
    pub async fn flaky(name: &str) -> Self {
        Self::with(name, true, SETTINGS).await
    }

    /// Topics of its own, no input yet, and these settings besides those that every rig has.
    pub async fn with_settings(name: &str, settings: &str) -> Self {
        Self::with(name, false, settings).await
    }

    /// Topics of its own, no input yet, and members that may be away for this long.
    pub async fn with_session(name: &str, session: &str) -> Self {
        let settings = SETTINGS.replace("\"6s\"", &format!("{session:?}"));
        assert!(settings.contains(session), "{settings}");
        Self::with_settings(name, &settings).await
    }

    async fn with(name: &str, is_flaky: bool, settings: &str) -> Self {
        let broker = broker::shared();
        Self::on((broker, broker), name, is_flaky, settings).await
    }

    async fn on((broker, told): (&str, &str), name: &str, is_flaky: bool, settings: &str) -> Self {
        let seed = seed::seed();
        let brokers = broker.to_owned();
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "[kafka]\nbrokers = {told:?}\n[topics]\nprefix = {:?}\npartitions = {PARTITIONS}\n\
             {settings}\
             [[source]]\nname = \"alpha\"\nprovider = \"github\"\nsecrets = [{{ value = \"0123456789abcdef\" }}]\n",
            broker::prefix(name)
        );
        let path = folder.path().join("weir.toml");
        std::fs::write(&path, &text).expect("writable");
        let config = runtime::config::parse(&text, &path, std::env::vars().take(0)).expect("a good file").config;
        let rig = Self { brokers, folder, config, seed, fed: 0, is_flaky, environment: Vec::new() };
        rig.create_missing().await;
        rig
    }

    /// Makes the topics that are missing.
    pub async fn create_missing(&self) {
        let changes = runtime::topics::plan(&self.config.kafka, &self.config.topics).await.expect("a plan");
        runtime::topics::apply(&self.config.kafka, &changes).await.expect("topics");
    }

    /// The `transactional.id` of an instance's worker.
    pub fn transactional_id(&self, instance: &str) -> String {
        format!("{}-{instance}-0", self.config.processor.group)
    }

    pub(crate) fn topic(&self, topic: &Topic) -> String {
        self.config.topics.name(topic)
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        client
    }

    /// Appends records to the input, with copies of what was there before.
    pub fn feed(&mut self, count: usize) {
        self.fed += 1;
        let seed = self.seed.wrapping_mul(1000).wrapping_add(self.fed);
        // No window may end while an event waits, or what is right would hang on when it was through.
        let window_ms = if self.is_flaky { 100 * history::WINDOW_MS } else { history::WINDOW_MS };
        let fed = history::random(seed, count, Variety { window_ms, ..VARIETY });
        self.append(fed.into_iter().flat_map(|(partition, records)| {
            records.into_iter().map(move |record| (partition, record.key, record.value))
        }));
    }

    /// Appends these records to the input: partition, key, value.
    pub fn append(&self, records: impl IntoIterator<Item = (i32, Vec<u8>, Vec<u8>)>) {
        let producer: BaseProducer =
            self.client().set("enable.idempotence", "true").set("linger.ms", "1").create().expect("a producer");
        let topic = self.topic(&Topic::Verified);
        for (partition, key, value) in records {
            let mut next = BaseRecord::to(&topic).partition(partition).key(&key).payload(&value);
            // As fast as the queue is emptied.
            while let Err((error, record)) = producer.send(next) {
                assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
                producer.poll(Duration::from_millis(10));
                next = record;
            }
        }
        producer.flush(PATIENCE).expect("a reachable broker");
    }

    /// `weir` with this installation's configuration.
    pub fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(place::program("weir").expect("built before"));
        command.env("WEIR_CONFIG", self.folder.path().join("weir.toml"));
        command.env("WEIR_DRAFTS", self.folder.path().join("drafts"));
        command.args(arguments);
        command
    }

    /// A file of this test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How many records of the input are not committed.
    pub fn lag(&self) -> u64 {
        let topic = self.topic(&Topic::Verified);
        patiently(|| Cluster::new(&self.brokers).lag(&self.config.processor.group, &topic))
    }

    /// Waits until every record of a topic is decided: a commit is confirmed before all of its partitions show it.
    pub fn settle(&self, topic: &Topic) {
        Cluster::new(&self.brokers).settled_ends(&self.topic(topic)).expect("no transaction stays open");
    }

    /// Waits until everything is committed, by workers of this instance and others.
    pub async fn wait_for_no_lag(&self, instance: &str) {
        let lags = || {
            let lag = self.lag();
            std::future::ready(if lag == 0 { Ok(()) } else { Err(format!("{lag} records")) })
        };
        let waited = wait_until("no lag", PATIENCE, lags).await;
        waited.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log(instance)));
    }

    fn state(&self, instance: &str) -> PathBuf {
        self.folder.path().join(instance)
    }

    fn log_path(&self, instance: &str) -> PathBuf {
        self.folder.path().join(format!("{instance}.log"))
    }

    /// What the workers of an instance said.
    pub fn log(&self, instance: &str) -> String {
        std::fs::read_to_string(self.log_path(instance)).unwrap_or_default()
    }

    /// Starts a worker.
    pub fn start(&self, instance: &str, trouble: &str, control: &str) -> Process {
        self.spawn(instance, instance, (trouble, control), &self.environment)
    }

    /// Starts a worker of an instance on another disk.
    pub fn start_elsewhere(&self, instance: &str, folder: &str) -> Process {
        self.spawn(instance, folder, ("-", "-"), &self.environment)
    }

    /// Starts a worker with this environment.
    pub fn start_with(&self, instance: &str, environment: &[(&str, &str)]) -> Process {
        self.spawn(instance, instance, ("-", "-"), environment)
    }

    fn spawn(&self, instance: &str, folder: &str, told: (&str, &str), environment: &[(&str, &str)]) -> Process {
        let (trouble, control) = told;
        let mut command = Command::new(place::program("weir-stepper").expect("built before"));
        command.arg(self.folder.path().join("weir.toml")).args([trouble, control]);
        command.env("WEIR__PROCESSOR__INSTANCE", instance);
        command.env("WEIR__PROCESSOR__STATE_DIR", self.state(folder));
        if self.is_flaky {
            command.env(FLAKY, "1");
        }
        command.envs(environment.iter().copied());
        Process::start(&format!("{instance} {trouble}"), command, &self.log_path(folder)).expect("built before")
    }

    /// Waits for the end of a worker.
    pub async fn finish(&self, process: &mut Process) -> Waited {
        let status = process.wait(PATIENCE).await.expect("an end");
        match status.code() {
            Some(code) => Waited::Code(code),
            None => Waited::Killed,
        }
    }

    /// Runs a worker to its end.
    pub async fn run(&self, instance: &str, trouble: &str, control: &str) -> Waited {
        let mut process = self.start(instance, trouble, control);
        let waited = self.finish(&mut process).await;
        if !matches!(waited, Waited::Killed | Waited::Code(0 | 70)) {
            eprintln!("{}", process.last_words());
        }
        waited
    }

    /// Runs a worker until everything is committed. What it said.
    pub async fn run_aloud(&self, instance: &str) -> String {
        let before = self.log(instance).len();
        assert_eq!(self.run(instance, "-", "-").await, Waited::Code(0));
        self.log(instance).split_off(before)
    }

    /// Runs a worker that ends by itself only when a partition needs a person, and does so with these words. One that
    /// also ends when everything is committed may do so before it has found out.
    pub async fn halts_saying(&self, instance: &str, words: &str) {
        let mut process = self.start_with(instance, &[(STAYS, "1")]);
        assert_eq!(self.finish(&mut process).await, Waited::Code(70));
        assert!(self.log(instance).contains(words), "{}", self.log(instance));
    }

    /// Waits until a worker has stopped itself.
    pub async fn wait_asleep(&self, process: &Process) {
        let path = format!("/proc/{}/status", process.id());
        wait_until("a worker falls asleep", PATIENCE, || async {
            let status = std::fs::read_to_string(&path).unwrap_or_default();
            let is_asleep = status.lines().any(|line| line.starts_with("State:") && line.contains('T'));
            if is_asleep { Ok(()) } else { Err(process.last_words()) }
        })
        .await
        .expect("asleep");
    }

    /// Waits until a second member is known to the group.
    pub async fn wait_for_join_request(&self) {
        let consumer = Cluster::new(&self.brokers).consumer("weir-tests-watch").expect("a consumer");
        let group = self.config.processor.group.clone();
        wait_until("a second member asks to join", PATIENCE, || async {
            let list = consumer.fetch_group_list(Some(&group), PATIENCE).map_err(|error| error.to_string())?;
            match list.groups().first() {
                Some(group) if group.members().len() >= 2 || group.state() == "PreparingRebalance" => Ok(()),
                Some(group) => Err(format!("{} with {} members", group.state(), group.members().len())),
                None => Err("no group".to_owned()),
            }
        })
        .await
        .expect("joined");
    }

    /// Removes the state of an instance.
    pub fn wipe(&self, instance: &str) {
        std::fs::remove_dir_all(self.state(instance)).expect("it was there");
    }

    /// Puts another installation's state in the place of an instance's.
    pub fn adopt_state(&self, instance: &str, other: &Rig) {
        self.wipe(instance);
        std::fs::rename(other.state(instance), self.state(instance)).expect("on the same disk");
    }

    /// Every record that a reader of committed records finds in a topic.
    pub fn read<T>(&self, topic: &Topic, mut each: impl FnMut(&rdkafka::message::BorrowedMessage<'_>) -> T) -> Vec<T> {
        let topic = self.topic(topic);
        let cluster = Cluster::new(&self.brokers);
        let ends = patiently(|| cluster.ends(&topic)).expect("the topic");
        let consumer = cluster.consumer("weir-tests-read").expect("a consumer");
        let mut list = TopicPartitionList::new();
        for (partition, (first, _)) in &ends {
            list.add_partition_offset(&topic, *partition, Offset::Offset(*first)).expect("an offset");
        }
        consumer.assign(&list).expect("assigned");
        let mut found = Vec::new();
        let mut ended = BTreeSet::new();
        let deadline = Instant::now() + PATIENCE;
        while ended.len() < ends.len() {
            assert!(Instant::now() < deadline, "{topic} does not end");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => found.push(each(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ended.insert(partition);
                }
                Some(Err(error)) => panic!("{topic}: {error}"),
                None => {}
            }
        }
        found
    }

    /// The input with the append times that the broker gave it.
    fn input(&self) -> Input {
        let mut input: Input = (0..PARTITIONS).map(|partition| (partition, Vec::new())).collect();
        let records = self.read(&Topic::Verified, |message| {
            let record = Verified {
                timestamp: message.timestamp().to_millis().expect("the broker sets it"),
                key: message.key().unwrap_or_default().to_vec(),
                value: message.payload().unwrap_or_default().to_vec(),
            };
            (message.partition(), record)
        });
        for (partition, record) in records {
            input.entry(partition).or_default().push(record);
        }
        input
    }

    fn output(&self, topic: &Topic) -> Vec<Found> {
        self.settle(topic);
        self.read(topic, |message| {
            let header = |name: &str| {
                let headers = message.headers()?;
                let found = headers.iter().find(|header| header.key == name)?;
                found.value.and_then(|value| std::str::from_utf8(value).ok()).map(str::to_owned)
            };
            let src = header(headers::WEIR_SRC).expect("every output says where it came from");
            let (from, offset) = src.split_once(':').expect("partition:offset");
            let key = message.key().unwrap_or_default().to_vec();
            if *topic == Topic::Clean {
                assert_eq!(message.partition(), partition::partition(&key, PARTITIONS));
            }
            Found {
                key,
                src: (from.parse().expect("a number"), offset.parse().expect("a number")),
                seq: header(headers::WEIR_SEQ).map(|seq| seq.parse().expect("a number")),
            }
        })
    }

    /// Compares what came out with the model.
    pub fn check(&self) -> Result<(), String> {
        let expected = history::expect(&self.input());
        let mut found = BTreeMap::new();
        let mut seqs: BTreeMap<i32, BTreeSet<u64>> = BTreeMap::new();
        let mut last: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for (topic, place) in [(Topic::Clean, Place::Clean), (Topic::Stale, Place::Stale), (Topic::Dead, Place::Dead)] {
            for record in self.output(&topic) {
                if found.insert(record.src, place).is_some() {
                    return Err(format!("SEED={}: {:?} came out twice", self.seed, record.src));
                }
                if place != Place::Clean {
                    continue;
                }
                if last.insert(record.key, record.src.1).is_some_and(|before| before > record.src.1) {
                    return Err(format!("SEED={}: {:?} is out of order", self.seed, record.src));
                }
                seqs.entry(record.src.0).or_default().insert(record.seq.ok_or("a clean record without weir-seq")?);
            }
        }
        let lost: Vec<_> = expected.places.iter().filter(|(src, _)| !found.contains_key(src)).take(5).collect();
        let unexpected: Vec<_> =
            found.iter().filter(|(src, place)| expected.places.get(src) != Some(place)).take(5).collect();
        if !lost.is_empty() || !unexpected.is_empty() {
            return Err(format!("SEED={}: lost {lost:?}, unexpected {unexpected:?}", self.seed)
                .replace("lost []", "none missing")
                .replace("unexpected []", "none too many"));
        }
        for (partition, seqs) in seqs {
            if !seqs.iter().copied().eq(1..=seqs.len() as u64) {
                return Err(format!("SEED={}: weir-seq of partition {partition} has gaps", self.seed));
            }
        }
        Ok(())
    }

    /// How many records are in the retry topics.
    pub fn retries(&self) -> usize {
        self.tiers().iter().map(|tier| self.read(tier, |_| ()).len()).sum()
    }

    /// The retry topics.
    pub fn tiers(&self) -> Vec<Topic> {
        self.config.topics.retry_delays.iter().map(|delay| Topic::Retry(delay.clone())).collect()
    }

    /// Checks that a record became a dead letter, that other partitions are as if nothing had been, and that its own
    /// was read to the end.
    pub fn check_given_up(&self, poison: (i32, i64)) {
        let expected = history::expect(&self.input());
        let mut found = BTreeMap::new();
        for (topic, place) in [(Topic::Clean, Place::Clean), (Topic::Stale, Place::Stale), (Topic::Dead, Place::Dead)] {
            for record in self.output(&topic) {
                assert_eq!(found.insert(record.src, place), None, "{:?} came out twice", record.src);
            }
        }
        assert_eq!(found.get(&poison), Some(&Place::Dead), "SEED={}", self.seed);
        let elsewhere = |places: &BTreeMap<(i32, i64), Place>| {
            places.iter().filter(|((of, _), _)| *of != poison.0).map(|(src, place)| (*src, *place)).collect::<Vec<_>>()
        };
        assert_eq!(elsewhere(&found), elsewhere(&expected.places), "SEED={}", self.seed);
        let last = expected.places.keys().filter(|(of, _)| *of == poison.0).max().expect("it has some");
        assert!(found.contains_key(last), "SEED={}: its partition stops before {last:?}", self.seed);
    }

    /// The tallies in an instance's stores, by partition.
    pub fn store_tallies(&self, instance: &str) -> BTreeMap<i32, Tallies> {
        let mut stores = RocksStores::new(self.state(instance));
        let tallies = |partition| {
            let store = stores.open(partition).expect("nobody holds it");
            (partition, store.tallies().expect("readable"))
        };
        (0..PARTITIONS).map(tallies).collect()
    }

    /// Compares the tallies of an instance that owned every partition with the model.
    pub fn check_tallies(&self, instance: &str) {
        let expected = history::expect(&self.input()).tallies;
        assert_eq!(self.store_tallies(instance), expected, "SEED={}", self.seed);
    }
}

/// Asks until there is an answer: a topic or a group that is new has nobody to answer for it at first.
#[expect(clippy::disallowed_methods, reason = "between two looks, with a deadline")]
fn patiently<T>(ask: impl Fn() -> anyhow::Result<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "no answer: {error:#}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
