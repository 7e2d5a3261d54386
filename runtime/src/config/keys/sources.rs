//! Keys of `[[source]]` and `[source.scheme]`.

use super::{Default, Form, Key, Kind, SCHEDULE, key, later};

const FROM_PRESET: Default = Default::Else("from the preset");

pub(in crate::config) const SOURCE: &[Key] = &[
    key(
        "name",
        Kind::Text(Form::Name),
        Default::Required,
        "Name of the door, unique: `POST /hooks/<name>`, `ce_source`, the label of every metric.",
    ),
    key(
        "provider",
        Kind::Text(Form::Provider),
        Default::Required,
        "A preset (`weir providers list`), or `hmac` with its own `[source.scheme]`.",
    ),
    key(
        "secrets",
        Kind::Tables(SECRET, 1, 8),
        Default::Required,
        "Signing secrets, each a table with exactly one of `env`, `file`, `value`; any of them may match, so that one can be replaced without a gap.",
    ),
    key(
        "dedup",
        Kind::TextOr(Form::OneOf(&["id", "body"]), DEDUP),
        Default::Is("\"id\""),
        "What makes two deliveries the same event. `id`: the event id, together with the body where the signature does \
         not cover the id. `body`: the body alone. Or a table: only some parts of the body, or all but some.",
    ),
    key(
        "dedup_window",
        Kind::Text(Form::Length("1s", "32d")),
        FROM_PRESET,
        "How long an event is remembered, by the broker's clock. At least as long as the provider retries, unless \
         `dedup` takes parts of the body. Lengthening it does not bring back what was already forgotten. \
         `state-changelog` keeps the longest of all windows: run `weir topics apply` after lengthening it.",
    ),
    key(
        "stale",
        Kind::Text(Form::OneOf(&["drop", "flag", "route", "off"])),
        Default::Is("\"drop\""),
        "What becomes of a snapshot older than the last one emitted for its resource: dropped and counted, emitted with \
         `ce_stale`, written to `stale-events`, or not looked at. Looks back one `dedup_window`.",
    ),
    later(
        "quarantine",
        Kind::Flag,
        Default::Is("false"),
        "Keep requests that fail verification in `quarantine-events`.",
    ),
    key(
        "event_id",
        Kind::TextOr(Form::Pointer, PLACE),
        FROM_PRESET,
        "Where the event id stands: a JSON pointer into the body, or a header.",
    ),
    key(
        "event_type",
        Kind::TextOr(Form::Pointer, PLACE),
        FROM_PRESET,
        "Where the event type stands: a JSON pointer, or a header.",
    ),
    key(
        "resource",
        Kind::Several(Form::Pointer, PLACE, 8),
        FROM_PRESET,
        "Where the id of the resource stands, within which order is kept: a JSON pointer, a header, or a list of them \
         that are tried in order. An empty list: no order.",
    ),
    key(
        "resource_type",
        Kind::TextOr(Form::Any, PLACE),
        FROM_PRESET,
        "Type of the resource: a constant, a JSON pointer (begins with `/`), or a header.",
    ),
    key(
        "occurred_at",
        Kind::Several(Form::Pointer, TIME, 8),
        FROM_PRESET,
        "When it happened, for `ce_time` and the stale rule: a JSON pointer to an RFC 3339 text, a table with the unit \
         of a number, or a list of them that are tried in order.",
    ),
    key(
        "snapshots",
        Kind::Texts(Form::Glob, 0, 100),
        FROM_PRESET,
        "Event types (`*` matches any text) that carry the whole state of their resource: only these can be stale, and they advance its last timestamp.",
    ),
    key(
        "terminal",
        Kind::Texts(Form::Glob, 0, 100),
        FROM_PRESET,
        "Event types that end their resource: never stale, but they advance its last timestamp.",
    ),
    key(
        "tolerance",
        Kind::Text(Form::Length("1s", "1d")),
        FROM_PRESET,
        "How far the signed timestamp may be from this machine's clock, either way. Only for schemes that sign one.",
    ),
    key(
        "body_limit",
        Kind::Text(Form::Size("1B", "32MiB")),
        Default::Else("`[ingest] body_limit`"),
        "Largest body of this source.",
    ),
    key(
        "schema",
        Kind::Text(Form::Path),
        Default::Else("none"),
        "JSON Schema file, from the configuration file's folder; an event whose body fails it is dead at once.",
    ),
    key("schedule", SCHEDULE, Default::Else("`[retry] schedule`"), "`[retry] schedule` of this source."),
    key(
        "scheme",
        Kind::Table(SCHEME),
        Default::Else("from the preset"),
        "How the requests are signed; only with `provider = \"hmac\"`, and required there.",
    ),
    key(
        "handlers",
        Kind::Tables(HANDLERS, 0, 16),
        Default::Else("none"),
        "What is done with each event, asked in order, after the JSON Schema: see [handlers.md](handlers.md). Which \
         keys a handler takes follows from its `kind`; expressions are CEL and see `event`, `body` and `headers`.",
    ),
];

pub(in crate::config) const HANDLERS: &[Key] = &[
    key(
        "kind",
        Kind::Text(Form::OneOf(&["filter", "map", "fetch"])),
        Default::Required,
        "`filter` leaves events out, `map` makes a new body, `fetch` asks another service.",
    ),
    key(
        "keep",
        Kind::Text(Form::Expression),
        Default::Else("required by `filter`"),
        "`filter`: an event for which it is false is left out, and counts as discarded.",
    ),
    key(
        "body",
        Kind::Entries(Form::Any, Form::Expression, &[], 256),
        Default::Else("required by `map`"),
        "`map`: the fields of the new body, a JSON object, each with the expression that makes its value.",
    ),
    key(
        "url",
        Kind::Text(Form::Template),
        Default::Else("required by `fetch`"),
        "`fetch`: what is asked for, by GET. The host is written out; the value of each `{expression}` is \
         percent-encoded, so that it stays one segment of the path or one value of the query.",
    ),
    key(
        "headers",
        Kind::Entries(Form::Header, Form::Any, SECRET, 32),
        Default::Else("none"),
        "`fetch`: header fields of the request, each a text or a table like those of `secrets`. Values never print.",
    ),
    key(
        "timeout",
        Kind::Text(Form::Length("100ms", "30s")),
        Default::Else("`\"5s\"`"),
        "`fetch`: longest time of a call, from the connection to the end of the answer.",
    ),
    key(
        "concurrency",
        Kind::Integer(1, 256),
        Default::Else("`8`"),
        "`fetch`: most calls at once to the host from one process; the others queue.",
    ),
    key(
        "body_limit",
        Kind::Text(Form::Size("1B", "32MiB")),
        Default::Else("`\"1MiB\"`"),
        "`fetch`: longest answer. The body that is made with it must fit into the largest `body_limit` of all sources.",
    ),
    key(
        "allow_private",
        Kind::Flag,
        Default::Else("`false`"),
        "`fetch`: call addresses of private networks too, this machine's among them.",
    ),
    key(
        "into",
        Kind::Text(Form::Pointer),
        Default::Else("the whole body"),
        "`fetch`: where the answer is put into the body; objects on the way are made. Without it the answer is the \
         new body.",
    ),
    key(
        "when",
        Kind::Text(Form::Expression),
        Default::Else("always"),
        "`fetch`: an event for which it is false passes without a call.",
    ),
];

const SECRET: &[Key] = &[
    key("env", Kind::Text(Form::Any), Default::Else("none"), "Environment variable that holds the secret."),
    key(
        "file",
        Kind::Text(Form::Path),
        Default::Else("none"),
        "File that holds the secret, from the configuration file's folder; one line end at its end is left out.",
    ),
    key("value", Kind::Text(Form::Any), Default::Else("none"), "The secret itself: for trials only, gives a warning."),
];

const DEDUP: &[Key] = &[
    key(
        "include",
        Kind::Texts(Form::Pointer, 1, 32),
        Default::Else("none"),
        "JSON pointers to the only parts of the body that count.",
    ),
    key(
        "exclude",
        Kind::Texts(Form::Pointer, 1, 32),
        Default::Else("none"),
        "JSON pointers to the parts of the body that do not count.",
    ),
];

const PLACE: &[Key] = &[key("header", Kind::Text(Form::Header), Default::Required, "Name of an HTTP header.")];

const TIME: &[Key] = &[
    key(
        "pointer",
        Kind::Text(Form::Pointer),
        Default::Else("none"),
        "JSON pointer; exactly one of `pointer` and `header`.",
    ),
    key(
        "header",
        Kind::Text(Form::Header),
        Default::Else("none"),
        "Name of an HTTP header. Its time is not signed, so it never makes an event stale.",
    ),
    key(
        "unit",
        Kind::Text(Form::OneOf(&["s", "ms", "us"])),
        Default::Else("RFC 3339"),
        "Unit of a number since 1970: seconds, milliseconds or microseconds.",
    ),
];

pub(in crate::config) const SCHEME: &[Key] = &[
    key(
        "algorithm",
        Kind::Text(Form::OneOf(&["sha1", "sha256", "sha512"])),
        Default::Is("\"sha256\""),
        "Digest of the HMAC.",
    ),
    key(
        "encoding",
        Kind::Text(Form::OneOf(&["hex", "base64"])),
        Default::Is("\"hex\""),
        "How the signature is written.",
    ),
    key("header", Kind::Text(Form::Header), Default::Required, "Header that carries the signature."),
    key(
        "format",
        Kind::Text(Form::Any),
        Default::Is("\"{signature}\""),
        "Content of that header: `{signature}` once, `{timestamp}` at most once, such as `sha256={signature}` or `t={timestamp},v1={signature}`.",
    ),
    key(
        "signed",
        Kind::Text(Form::Any),
        Default::Is("\"{body}\""),
        "The text that is signed: `{body}` once, `{timestamp}` and `{id}` at most once, such as `v0:{timestamp}:{body}` or `{id}.{timestamp}.{body}`.",
    ),
    key(
        "timestamp_header",
        Kind::Text(Form::Header),
        Default::Else("none"),
        "Header that carries `{timestamp}`, when `format` does not.",
    ),
    key(
        "id_header",
        Kind::Text(Form::Header),
        Default::Else("none"),
        "Header that carries `{id}`; it is the event id unless `event_id` says otherwise.",
    ),
    key(
        "secret_encoding",
        Kind::Text(Form::OneOf(&["raw", "base64", "hex"])),
        Default::Is("\"raw\""),
        "How a secret becomes the key: its bytes as they are, or decoded (`base64` after an optional `whsec_`).",
    ),
];
