//! What can be asked for on the command line, with every default.

use clap::{Args as Flags, Parser, Subcommand, ValueEnum};

/// Measures Weir; without a command: processor, ingest, latency, failover.
#[derive(Debug, Parser)]
#[command(name = "weir-bench", version)]
pub struct Args {
    /// What to measure.
    #[command(subcommand)]
    pub what: Option<What>,
    /// How.
    #[command(flatten)]
    pub settings: Settings,
}

/// What to measure.
#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// A preloaded topic through Weir, the stateless bound and Kafka Streams.
    Processor,
    /// weir-ingest next to the smallest servers that do a part of it.
    Ingest,
    /// From the HTTP 200 to the event being visible in clean-events.
    Latency,
    /// How long events wait when a processor is killed.
    Failover,
    /// The processor with a state of many ids (`--ids`) that were written straight into its stores.
    State,
    /// `weir dead` with many dead letters (`--letters`).
    Dead,
    /// How late retries are, and intake while many events are parked (`--parked`).
    Retries,
    /// Latency of 15 partitions while the 16th restores many entries (`--moved`).
    Neighbours,
    /// A contestant; started by the benchmark.
    #[command(hide = true)]
    BoundStateless(Stateless),
    /// A contestant; started by the benchmark.
    #[command(hide = true)]
    BoundDoor(Door),
}

/// Whether Kafka Streams takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kstreams {
    /// When Maven and Java are installed.
    Auto,
    /// Yes, or fail.
    Yes,
    /// No.
    No,
}

/// How to measure.
#[derive(Debug, Clone, Flags)]
pub struct Settings {
    /// Rounds; every figure is their median.
    #[arg(long, global = true, env = "RUNS", default_value_t = 5)]
    pub runs: usize,
    /// What ids, bodies and resources follow from.
    #[arg(long, global = true, env = "SEED", default_value_t = 20_261_124)]
    pub seed: u64,
    /// Records in the preloaded topic.
    #[arg(long, global = true, env = "EVENTS", default_value_t = 2_000_000)]
    pub events: u64,
    /// How many of them are copies, in per cent.
    #[arg(long, global = true, default_value_t = 5)]
    pub duplicates: u64,
    /// How many resources they are about.
    #[arg(long, global = true, default_value_t = 200_000)]
    pub resources: u64,
    /// Share of events that carry the whole state of their resource, in per cent.
    #[arg(long, global = true, default_value_t = 100)]
    pub snapshots: u64,
    /// Size of a preloaded event's body.
    #[arg(long, global = true, default_value_t = 512)]
    pub body_bytes: usize,
    /// N.
    #[arg(long, global = true, default_value_t = 16)]
    pub partitions: i32,
    /// Whether Kafka Streams takes part.
    #[arg(long, global = true, value_enum, default_value_t = Kstreams::Auto)]
    pub kstreams: Kstreams,
    /// Stream threads of Kafka Streams.
    #[arg(long, global = true, default_value_t = 2)]
    pub kstreams_threads: usize,
    /// Rounds of Weir and the bound before those that count, for `processor`: a broker that has just started compiles
    /// its own code for minutes, on the processors that are measured.
    #[arg(long, global = true, default_value_t = 4)]
    pub warmups: usize,
    /// `[processor] recycle` of Weir. With several, `processor` runs each as a contestant of its own.
    #[arg(long, global = true, value_delimiter = ',', default_values_t = ["after_trouble".to_owned()])]
    pub recycle: Vec<String>,
    /// In how many rounds that count the state is also deleted and restored.
    #[arg(long, global = true, default_value_t = 3)]
    pub restores: usize,
    /// Seconds of each measurement over HTTP, after a warm-up of two.
    #[arg(long, global = true, default_value_t = 6)]
    pub seconds: u64,
    /// Connections of the measurements of greatest throughput.
    #[arg(long, global = true, value_delimiter = ',', default_values_t = [16, 64, 256])]
    pub connections: Vec<usize>,
    /// Events per second of the measurements at a constant rate.
    #[arg(long, global = true, value_delimiter = ',', default_values_t = [2_000, 8_000])]
    pub rates: Vec<u64>,
    /// Threads of the load generator.
    #[arg(long, global = true, default_value_t = 2)]
    pub threads: usize,
    /// Ids in the state, for `state`.
    #[arg(long, global = true, default_value_t = 50_000_000)]
    pub ids: u64,
    /// Dead letters, for `dead`.
    #[arg(long, global = true, default_value_t = 1_000_000)]
    pub letters: u64,
    /// Parked events, for `retries`.
    #[arg(long, global = true, default_value_t = 1_000_000)]
    pub parked: u64,
    /// Entries in the changelog of the partition that moves in, for `neighbours`.
    #[arg(long, global = true, default_value_t = 10_000_000)]
    pub moved: u64,
    /// More properties for the processor's and the ingest's Kafka clients: name=value.
    #[arg(long = "client", global = true, value_name = "NAME=VALUE")]
    pub client: Vec<String>,
    /// WEIR_LOG of Weir's processes; their logs lie in target/bench/weir.
    #[arg(long, global = true, default_value = "info")]
    pub log: String,
    /// Records the processor's profile with perf in its first round that counts: target/bench/perf.data.
    #[arg(long, global = true)]
    pub profile: bool,
}

impl Settings {
    /// The settings with this `recycle` only.
    pub fn with_recycle(&self, recycle: &str) -> Self {
        Self { recycle: vec![recycle.to_owned()], ..self.clone() }
    }

    /// The rate of the measurements that have one.
    pub fn rate(&self) -> u64 {
        self.rates.first().copied().unwrap_or(2_000)
    }
}

/// The stateless bound.
#[derive(Debug, Clone, Flags)]
pub struct Stateless {
    /// Bootstrap list.
    #[arg(long)]
    pub brokers: String,
    /// Topic to read.
    #[arg(long)]
    pub input: String,
    /// Topic to write, with as many partitions.
    #[arg(long)]
    pub output: String,
    /// Consumer group and transactional id.
    #[arg(long)]
    pub group: String,
}

/// What a bound of the door does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Reads the request.
    Body,
    /// And verifies its signature.
    Hmac,
    /// And produces it, acknowledged, to whatever partition fills the best batches.
    Kafka,
    /// And produces it, acknowledged, to the partition of a key.
    KafkaKeyed,
}

/// A bound of the door.
#[derive(Debug, Clone, Flags)]
pub struct Door {
    /// What it does.
    #[arg(long, value_enum)]
    pub part: Part,
    /// Where it listens.
    #[arg(long)]
    pub port: u16,
    /// Bootstrap list.
    #[arg(long, default_value = "")]
    pub brokers: String,
    /// Topic to write.
    #[arg(long, default_value = "")]
    pub topic: String,
    /// `linger.ms`.
    #[arg(long, default_value_t = 0)]
    pub linger_ms: u32,
}
