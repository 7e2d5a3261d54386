//! Sources that are refused, and what is said about them.

use super::bad::{check, check_source};

/// A source of one's own with these lines in its scheme, after line 6.
fn check_scheme(lines: &str, expected: &[&str]) {
    let source = "[[source]]\nname = \"s\"\nprovider = \"hmac\"\nsecrets = [{ value = \"a\" }]\n[source.scheme]\nheader = \"X-S\"\n";
    check(&format!("{source}{lines}"), expected);
}

#[test]
fn a_source_that_cannot_work_is_refused() {
    check(
        "[[source]]\nname = \"Git Hub\"\nprovider = \"githib\"\nsecrets = []\n",
        &[
            "weir.toml:2: [[source]] #1: name: \"Git Hub\" is not a name: use 1 to 63 lower-case letters, digits and `-`",
            "weir.toml:3: [[source]] #1: provider: there is no preset \"githib\": known are github, hmac, shopify, slack, standard-webhooks, stripe, svix; did you mean \"github\"?",
            "weir.toml:4: [[source]] #1: secrets: has 0 entries: 1 to 8 are allowed",
        ],
    );
    check(
        "[[source]]\nname = \"s\"\nprovider = \"github\"\nsecrets = [{ env = \"NONE\" }, { file = \"none\" }, { file = \"blank\" }, { value = \"\" }, {}, { env = \"A\", value = \"b\" }]\n",
        &[
            "weir.toml:4: [[source]] s: secrets[3].value: must not be empty",
            "weir.toml:4: [[source]] s: secrets[0]: environment variable NONE is not set",
            "weir.toml:4: [[source]] s: secrets[1]: none cannot be read: No such file or directory (os error 2)",
            "weir.toml:4: [[source]] s: secrets[2]: the secret is empty or blank: anybody could sign with it",
            "weir.toml:4: [[source]] s: secrets[4]: takes exactly one of `env`, `file` and `value`",
            "weir.toml:4: [[source]] s: secrets[5]: takes exactly one of `env`, `file` and `value`",
        ],
    );
    check(
        "[[source]]\nname = \"s\"\nprovider = \"svix\"\nsecrets = [{ value = \"whsec_!!hunter2!!\" }]\n",
        &["weir.toml:4: [[source]] s: secrets[0]: the secret is not base64, with or without `whsec_` before it"],
    );
    check(
        "[[source]]\nname = \"s\"\nprovider = \"github\"\nsecrets = [{value=\"1\"},{value=\"2\"},{value=\"3\"},{value=\"4\"},{value=\"5\"},{value=\"6\"},{value=\"7\"},{value=\"8\"},{value=\"9\"}]\n",
        &["weir.toml:4: [[source]] s: secrets: has 9 entries: 1 to 8 are allowed"],
    );
}

#[test]
fn a_source_that_contradicts_itself_or_its_preset_is_refused() {
    check_source(
        "dedup_window = \"2d\"\n",
        &[
            "weir.toml:5: [[source]] s: dedup_window: \"2d\" is shorter than the time in which GitHub may deliver an event again: at least 3d, or it would be emitted twice",
        ],
    );
    check_source("dedup_window = \"1s\"\ndedup = { include = [\"/id\"] }\n", &[]);
    check_source(
        "dedup_window = \"1s\"\ndedup = \"idd\"\n",
        &["weir.toml:6: [[source]] s: dedup: \"idd\" is not one of id, body; did you mean \"id\"?"],
    );
    check_source(
        "dedup_window = \"500ms\"\ndedup = { include = [\"id\"], exclude = [\"/a~2\"] }\n",
        &[
            "weir.toml:5: [[source]] s: dedup_window: \"500ms\" is out of range: 1s to 32d",
            "weir.toml:6: [[source]] s: dedup.include[0]: \"id\" is not a JSON pointer: it begins with \"/\", as in \"/data/id\"",
            "weir.toml:6: [[source]] s: dedup.exclude[0]: \"/a~2\" is not a JSON pointer: \"~\" is written \"~0\", and \"/\" in a name \"~1\"",
        ],
    );
    check_source(
        "dedup = { include = [\"/a\"], exclude = [\"/b\"] }\n",
        &["weir.toml:5: [[source]] s: dedup: takes exactly one of `include` and `exclude`"],
    );
    check_source(
        "dedup = \"hash\"\nstale = \"dorp\"\n",
        &[
            "weir.toml:5: [[source]] s: dedup: \"hash\" is not one of id, body",
            "weir.toml:6: [[source]] s: stale: \"dorp\" is not one of drop, flag, route, off; did you mean \"drop\"?",
        ],
    );
    check_source(
        "event_id = \"id\"\nevent_type = { header = \"a b\" }\nresource = { haeder = \"X\" }\nresource_type = 3\n",
        &[
            "weir.toml:5: [[source]] s: event_id: \"id\" is not a JSON pointer: it begins with \"/\", as in \"/data/id\"",
            "weir.toml:6: [[source]] s: event_type.header: \"a b\" is not the name of an HTTP header",
            "weir.toml:7: [[source]] s: resource.haeder: is not a key; did you mean \"header\"?",
            "weir.toml:7: [[source]] s: resource[0].header: is missing",
            "weir.toml:8: [[source]] s: resource_type: takes a text or a table, not a number",
        ],
    );
}

#[test]
fn a_time_a_schema_or_a_scheme_that_makes_no_sense_is_refused() {
    check_source(
        "occurred_at = { pointer = \"/a\", header = \"b\" }\n",
        &["weir.toml:5: [[source]] s: occurred_at: takes exactly one of `pointer` and `header`"],
    );
    check_source(
        "occurred_at = { pointer = \"/a\", unit = \"ns\" }\nsnapshots = [\"a b\"]\nterminal = \"*\"\n",
        &[
            "weir.toml:5: [[source]] s: occurred_at.unit: \"ns\" is not one of s, ms, us; did you mean \"s\"?",
            "weir.toml:6: [[source]] s: snapshots[0]: \"a b\" is not an event type with `*`: use 1 to 256 characters without white space",
            "weir.toml:7: [[source]] s: terminal: takes a list of texts, not a text",
        ],
    );
    check_source(
        "schema = \"none.json\"\n",
        &["weir.toml:5: [[source]] s: schema: none.json cannot be read: No such file or directory (os error 2)"],
    );
    check_source(
        "schema = \"broken.json\"\nbody_limit = \"64MiB\"\n",
        &[
            "weir.toml:5: [[source]] s: schema: broken.json is not JSON: EOF while parsing an object at line 1 column 1",
            "weir.toml:6: [[source]] s: body_limit: \"64MiB\" is out of range: 1B to 32MiB",
        ],
    );
    check_source(
        "[source.scheme]\nheader = \"X-S\"\n",
        &[
            "weir.toml:5: [[source]] s: scheme: provider \"github\" knows how it signs: leave it out, or use provider = \"hmac\"",
        ],
    );
    check(
        "[[source]]\nname = \"s\"\nprovider = \"hmac\"\nsecrets = [{ value = \"a\" }]\n",
        &[
            "weir.toml:1: [[source]] s: scheme: is missing: provider \"hmac\" needs [source.scheme] with at least `header`",
        ],
    );
}

#[test]
fn a_scheme_that_cannot_work_is_refused() {
    check_scheme(
        "format = \"v1=\"\nsigned = \"{timestamp}\"\n",
        &[
            "weir.toml:7: [[source]] s: scheme.format: has no {signature}",
            "weir.toml:8: [[source]] s: scheme.signed: has no {body}",
        ],
    );
    check_scheme(
        "format = \"{signature}{timestamp}\"\nsigned = \"{body}.{body}\"\n",
        &[
            "weir.toml:7: [[source]] s: scheme.format: has two placeholders with nothing between them",
            "weir.toml:8: [[source]] s: scheme.signed: has {body} more than once",
        ],
    );
    check_scheme(
        "format = \"{sig}\"\nsigned = \"{body\"\n",
        &[
            "weir.toml:7: [[source]] s: scheme.format: {sig} has no meaning here: known are {signature} {timestamp}",
            "weir.toml:8: [[source]] s: scheme.signed: has a { without its }",
        ],
    );
    check_scheme(
        "signed = \"{timestamp}.{body}\"\n",
        &[
            "weir.toml:7: [[source]] s: scheme.signed: signs {timestamp}, but nothing carries it: put it into `format` or name its `timestamp_header`",
        ],
    );
    check_scheme(
        "signed = \"{timestamp}.{body}\"\nformat = \"t={timestamp},v1={signature}\"\ntimestamp_header = \"X-T\"\n",
        &["weir.toml:9: [[source]] s: scheme.timestamp_header: `format` already carries {timestamp}: keep one of them"],
    );
    check_scheme(
        "signed = \"{id}.{body}\"\n",
        &["weir.toml:7: [[source]] s: scheme.signed: signs {id}, but nothing carries it: name its `id_header`"],
    );
    check_scheme(
        "id_header = \"X-I\"\ntimestamp_header = \"X-T\"\n",
        &[
            "weir.toml:7: [[source]] s: scheme.id_header: `signed` has no {id}: for an id that is not signed use `event_id = { header = … }`",
            "weir.toml:8: [[source]] s: scheme.timestamp_header: `signed` has no {timestamp}: a time that is not signed proves nothing, leave it out",
        ],
    );
    check_scheme(
        "algorithm = \"md5\"\nencoding = \"base32\"\nsecret_encoding = \"utf8\"\n",
        &[
            "weir.toml:7: [[source]] s: scheme.algorithm: \"md5\" is not one of sha1, sha256, sha512",
            "weir.toml:8: [[source]] s: scheme.encoding: \"base32\" is not one of hex, base64; did you mean \"base64\"?",
            "weir.toml:9: [[source]] s: scheme.secret_encoding: \"utf8\" is not one of raw, base64, hex",
        ],
    );
    check(
        "[[source]]\nname = \"s\"\nprovider = \"hmac\"\nsecrets = [{ value = \"xyz\" }]\nscheme = { secret_encoding = \"hex\" }\n",
        &["weir.toml:5: [[source]] s: scheme.header: is missing"],
    );
}

#[test]
fn a_handler_that_cannot_work_is_refused() {
    check_source(
        "[[source.handlers]]\nkind = \"filter\"\nkeep = \"bdy.id\"\n[[source.handlers]]\nkind = \"map\"\nbody = { a = \"body.a\", b = \"nope()\" }\n",
        &[
            "weir.toml:7: [[source]] s: handlers[0].keep: there is no variable `bdy`: known are event, body, headers",
            "weir.toml:10: [[source]] s: handlers[1].body.b: there is no function `nope`: known are bool, bytes, contains, double, dyn, endsWith, int, matches, size, startsWith, string, type, uint",
        ],
    );
    check_source(
        "[[source.handlers]]\nkind = \"filter\"\nurl = \"http://a/\"\n[[source.handlers]]\nkind = \"fetch\"\ntimeout = \"1m\"\n[[source.handlers]]\nkeep = \"true\"\n",
        &[
            "weir.toml:5: [[source]] s: handlers[0].keep: is missing: kind = \"filter\" needs it",
            "weir.toml:7: [[source]] s: handlers[0].url: has no use with kind = \"filter\": leave it out",
            "weir.toml:8: [[source]] s: handlers[1].url: is missing: kind = \"fetch\" needs it",
            "weir.toml:10: [[source]] s: handlers[1].timeout: \"1m\" is out of range: 100ms to 30s",
            "weir.toml:11: [[source]] s: handlers[2].kind: is missing",
        ],
    );
    check_source(
        "[[source.handlers]]\nkind = \"fetch\"\nurl = \"https://{body.host}/\"\nheaders = { Host = \"a\", x = { env = \"NONE\" }, y = \"a\\nb\", \"a b\" = \"c\" }\n",
        &[
            "weir.toml:7: [[source]] s: handlers[0].url: the host is written out, and a / stands behind it before the first {",
            "weir.toml:8: [[source]] s: handlers[0].headers.a b: \"a b\" is not the name of an HTTP header",
        ],
    );
    check_source(
        "[[source.handlers]]\nkind = \"fetch\"\nurl = \"https://a/\"\nheaders = { Host = \"a\", x = { env = \"NONE\" }, y = \"a\\nb\" }\n",
        &[
            "weir.toml:8: [[source]] s: handlers[0].headers.Host: is set by the connection: leave it out",
            "weir.toml:8: [[source]] s: handlers[0].headers.x: environment variable NONE is not set",
            "weir.toml:8: [[source]] s: handlers[0].headers.y: its value cannot stand in a header",
        ],
    );
}
