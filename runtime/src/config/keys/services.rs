//! Keys of `[kafka]`, `[topics]`, `[ingest]`, `[processor]` and `[retry]`.

use super::{Default, Form, Key, Kind, SCHEDULE, key, later};

pub(super) const KAFKA: &[Key] = &[
    key(
        "brokers",
        Kind::Text(Form::Brokers),
        Default::Is("\"127.0.0.1:9092\""),
        "Brokers to ask first, `host:port`, separated by commas.",
    ),
    key(
        "wait",
        Kind::Text(Form::Length("0s", "1d")),
        Default::Is("\"60s\""),
        "How long a service waits for the cluster at start; after that it stays up, not ready, and keeps trying. \
         With `\"0s\"` it does not wait and exits 69.",
    ),
    key(
        "client",
        Kind::Properties,
        Default::Section,
        "Any librdkafka property, for security and tuning: `\"security.protocol\" = \"sasl_ssl\"`. Those the guarantee \
         depends on are refused, see below. Passwords print as `***`.",
    ),
];

pub(super) const TOPICS: &[Key] = &[
    key(
        "prefix",
        Kind::Text(Form::Prefix),
        Default::Is("\"\""),
        "Put before the name of every topic and of the consumer group.",
    ),
    key(
        "partitions",
        Kind::PowerOfTwo(1, 4096),
        Default::Is("16"),
        "Partitions of every topic that is keyed by resource. It cannot be changed later in this version.",
    ),
    key(
        "replication",
        Kind::Integer(1, 15),
        Default::Is("1"),
        "Copies of every partition. Production wants 3; from 3 on, topics get `min.insync.replicas=2`.",
    ),
];

pub(super) const INGEST: &[Key] = &[
    key(
        "listen",
        Kind::Text(Form::Address),
        Default::Is("\"127.0.0.1:8080\""),
        "Where webhooks arrive: IP address and port.",
    ),
    key(
        "admin_listen",
        Kind::Text(Form::Address),
        Default::Is("\"127.0.0.1:9464\""),
        "Where `/healthz`, `/readyz` and `/metrics` are served. Not for the public.",
    ),
    key(
        "body_limit",
        Kind::Text(Form::Size("1B", "32MiB")),
        Default::Is("\"1MiB\""),
        "Largest body; a larger one gets 413. Topics are sized by the largest limit of all: run `weir topics apply` after raising it.",
    ),
    key(
        "public_url",
        Kind::Text(Form::Url),
        Default::Else("none"),
        "Address under which providers reach this ingest, for schemes that sign it. No preset of this version does, so it \
         has no effect yet.",
    ),
    key(
        "linger",
        Kind::Text(Form::Length("0s", "5m")),
        Default::Is("\"3s\""),
        "How long requests are still served after SIGTERM, while `/readyz` already says `draining`: longer than your load \
         balancer takes to notice. At most a third of `shutdown_timeout` is used.",
    ),
    later("tls", Kind::Table(TLS), Default::Else("none"), "Serve HTTPS. Until then put a proxy in front."),
];

const TLS: &[Key] = &[
    key("cert_file", Kind::Text(Form::Path), Default::Required, "PEM file of the certificate chain."),
    key("key_file", Kind::Text(Form::Path), Default::Required, "PEM file of the private key."),
];

pub(super) const PROCESSOR: &[Key] = &[
    key(
        "group",
        Kind::Text(Form::KafkaName),
        Default::Is("\"weir\""),
        "Consumer group; `[topics] prefix` is put before it.",
    ),
    key(
        "session_timeout",
        Kind::Text(Form::Length("6s", "30m")),
        Default::Is("\"15s\""),
        "How long the broker waits for a silent process before its partitions move. Heartbeats (1/15) and the \
         transaction timeout (2/3, at most 10 s) follow from it. The broker's `group.min.session.timeout.ms` and \
         `group.max.session.timeout.ms` must allow it.",
    ),
    key(
        "instance",
        Kind::Text(Form::KafkaName),
        Default::Else("host name"),
        "Stable name of this process, different for each: it names the group member and the transactional id, so that \
         a restart takes over from itself. Set it where host names change with every start (containers).",
    ),
    key(
        "workers",
        Kind::Integer(1, 64),
        Default::Is("1"),
        "Worker threads. Each is a member of the group with its own transactions.",
    ),
    key(
        "state_dir",
        Kind::Text(Form::Path),
        Default::Is("\"target/state\""),
        "Folder of the state, from the working directory. One process at a time: the second exits 78. Losing it costs \
         time, not events: the state is restored from its changelog. In production use a disk of its own, such as `/var/lib/weir`.",
    ),
    key(
        "admin_listen",
        Kind::Text(Form::Address),
        Default::Is("\"127.0.0.1:9465\""),
        "Where `/healthz`, `/readyz` and `/metrics` are served. Not for the public.",
    ),
    key(
        "commit_interval",
        Kind::Text(Form::Length("1ms", "5s")),
        Default::Is("\"100ms\""),
        "Longest time a transaction collects events; what is emitted becomes visible when it commits. At most a third \
         of the transaction timeout.",
    ),
    key("batch_events", Kind::Integer(1, 1_000_000), Default::Is("50000"), "Most events in a transaction."),
    key(
        "batch_bytes",
        Kind::Text(Form::Size("64KiB", "1GiB")),
        Default::Is("\"32MiB\""),
        "Most bytes in a transaction; bounds the memory of a worker. One event always fits.",
    ),
    key(
        "leave",
        Kind::Flag,
        Default::Is("false"),
        "Leave the group on SIGTERM, so that partitions move at once. False: a restart within `session_timeout` keeps them.",
    ),
    key(
        "recycle",
        Kind::Text(Form::OneOf(&["after_trouble", "every_commit"])),
        Default::Is("\"after_trouble\""),
        "When a worker replaces its producer, which fences every request that is still on the wire: after a transaction \
         in which a connection broke or a request was sent again, or after each one. The second also covers trouble \
         that the client did not report; it costs each broker up to three connections per transaction and worker. See \
         [controls.md](controls.md).",
    ),
];

pub(super) const RETRY: &[Key] = &[
    key(
        "delays",
        Kind::Texts(Form::Length("1ms", "1d"), 1, 16),
        Default::Is(r#"["5s", "1m", "10m", "1h"]"#),
        "Pauses before a further attempt, strictly rising; `schedule` says which one is taken when. Each text names a \
         topic, `retry-events-<delay>`, in which events wait.",
    ),
    key("attempts", Kind::Integer(1, 50), Default::Is("8"), "Attempts before an event is dead, the first included."),
    key(
        "order",
        Kind::Text(Form::OneOf(&["park", "overtake"])),
        Default::Is("\"park\""),
        "`park`: a failing event holds back the later ones of its resource, and only those. `overtake`: nothing waits \
         for it; the later ones pass it by.",
    ),
    key(
        "schedule",
        SCHEDULE,
        Default::Is("\"tiers\""),
        "How the pause grows from attempt to attempt. `tiers`: the delays in turn, the last one repeats. `fixed`: always \
         the first delay. `linear`: the first delay times 1, 2, 3, …; `exponential`: times 1, 2, 4, …; both at most the \
         last delay. A list: its own pauses in turn, the last one repeats. All attempts together, and a day to spare, \
         must fit into the 7 d for which `verified-events` keeps an event.",
    ),
    key(
        "jitter",
        Kind::Text(Form::OneOf(&["none", "full", "equal", "decorrelated"])),
        Default::Is("\"none\""),
        "How the pause is spread, so that what failed together does not come back together. `full`: from nothing to the \
         whole pause. `equal`: from half of it to the whole. `decorrelated`: whatever the schedule says, from the first \
         delay to three times the pause before, at most the last delay.",
    ),
    key(
        "parked_per_resource",
        Kind::Integer(1, 1_000_000),
        Default::Is("10000"),
        "Most events held back for one resource.",
    ),
    key(
        "parked_total",
        Kind::Integer(1, 100_000_000),
        Default::Is("1000000"),
        "Most events held back in one partition.",
    ),
    key(
        "overflow",
        Kind::Text(Form::OneOf(&["dead", "stop"])),
        Default::Is("\"dead\""),
        "What happens to an event that finds no room to be held back. `dead`: it is a dead letter, `park_overflow`. \
         `stop`: its partition waits for room.",
    ),
];
