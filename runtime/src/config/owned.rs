//! Properties of librdkafka that the guarantee depends on: `[kafka.client]` may not set them.

/// Property and why it is not configurable. The reason follows "is set by Weir: ".
pub const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use `[kafka] brokers`"),
    ("metadata.broker.list", "use `[kafka] brokers`"),
    ("acks", ACKS),
    ("request.required.acks", ACKS),
    ("enable.idempotence", "without it a retried send may be written twice or out of order"),
    ("enable.gapless.guarantee", "it belongs to idempotence"),
    ("max.in.flight", IN_FLIGHT),
    ("max.in.flight.requests.per.connection", IN_FLIGHT),
    ("message.send.max.retries", RETRIES),
    ("retries", RETRIES),
    ("transactional.id", "the broker fences a predecessor by it; it follows from `[processor] group` and `instance`"),
    ("transaction.timeout.ms", TIMEOUTS),
    ("message.timeout.ms", TIMEOUTS),
    ("delivery.timeout.ms", TIMEOUTS),
    ("request.timeout.ms", TIMEOUTS),
    ("socket.timeout.ms", TIMEOUTS),
    ("session.timeout.ms", "use `[processor] session_timeout`"),
    ("heartbeat.interval.ms", "it follows from `[processor] session_timeout`"),
    ("max.poll.interval.ms", "it follows from how the worker polls"),
    ("group.id", "use `[processor] group`"),
    ("group.instance.id", "use `[processor] instance`"),
    ("group.protocol", PROTOCOL),
    ("group.protocol.type", PROTOCOL),
    ("group.remote.assignor", PROTOCOL),
    ("partition.assignment.strategy", PROTOCOL),
    ("client.rack", "with it, the cooperative assignor moves partitions that could stay"),
    ("isolation.level", "reading what was not committed would emit what was taken back"),
    ("enable.auto.commit", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("auto.offset.reset", "a lost offset must stop the partition: any other start would lose or repeat events"),
    ("enable.partition.eof", "the restore of the state relies on it"),
    ("check.crcs", "a damaged record must be noticed"),
    ("partitioner", "the partition of a key is part of the contract"),
    ("partitioner_cb", "the partition of a key is part of the contract"),
    ("message.max.bytes", SIZES),
    ("max.partition.fetch.bytes", SIZES),
    ("fetch.message.max.bytes", SIZES),
    ("fetch.max.bytes", SIZES),
    ("receive.message.max.bytes", SIZES),
    ("queue.buffering.max.messages", MEMORY),
    ("queue.buffering.max.kbytes", MEMORY),
    ("queued.min.messages", MEMORY),
    ("queued.max.messages.kbytes", MEMORY),
    ("fetch.wait.max.ms", "how soon a takeover and a retry are done relies on it"),
    ("statistics.interval.ms", "the proof of a clean commit relies on the statistics"),
    ("log.connection.close", "the proof of a clean commit relies on the log of lost connections"),
    ("log.queue", "the proof of a clean commit relies on the log of lost connections"),
    ("allow.auto.create.topics", "topics are created by `weir topics apply`"),
    ("plugin.library.paths", "foreign code could change any of the other properties"),
    ("test.mock.num.brokers", "a mock cluster keeps nothing"),
];

const ACKS: &str = "an answer to a provider promises that every in-sync replica has the event";
const IN_FLIGHT: &str = "it belongs to idempotence: more would break order";
const RETRIES: &str = "it belongs to idempotence: fewer would lose events";
const TIMEOUTS: &str = "the timeouts follow from `[processor] session_timeout` and from what providers wait for";
const PROTOCOL: &str = "partitions move one by one, by the cooperative assignor of the classic protocol";
const OFFSETS: &str = "offsets are committed inside transactions only";
const MEMORY: &str = "the bounds on memory follow from `batch_events`, `batch_bytes` and `body_limit`";
const SIZES: &str = "sizes follow from `body_limit`";
