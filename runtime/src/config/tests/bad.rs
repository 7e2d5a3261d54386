//! What is refused: each configuration with everything that is said about it, line by line.

use super::*;

/// Everything said about a text, or nothing.
fn said(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("blank"), " \n").unwrap();
    std::fs::write(folder.path().join("broken.json"), "{").unwrap();
    let place = format!("{}/", folder.path().display());
    match read(text, folder.path(), variables) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().replace(&place, "").lines().map(str::to_owned).collect(),
    }
}

pub(super) fn check(text: &str, expected: &[&str]) {
    assert_eq!(said(text, &[]), expected, "\n{text}");
}

/// A source with these lines after line 4.
pub(super) fn check_source(lines: &str, expected: &[&str]) {
    check(
        &format!("[[source]]\nname = \"s\"\nprovider = \"github\"\nsecrets = [{{ value = \"a\" }}]\n{lines}"),
        expected,
    );
}

#[test]
fn what_is_not_a_configuration_is_refused() {
    check("[kafka\n", &["weir.toml:1: is not TOML: unclosed table, expected `]`"]);
    check(
        "colour = 1\n[ingest]\nbody_limt = \"1MiB\"\npartitions = 3\nname = \"a\"\n[ingset]\n",
        &[
            "weir.toml:1: colour: is not a key",
            "weir.toml:3: [ingest] body_limt: is not a key; did you mean \"body_limit\"?",
            "weir.toml:4: [ingest] partitions: is not a key here: it belongs in [topics]",
            "weir.toml:5: [ingest] name: is not a key here: it belongs in [[source]]",
            "weir.toml:6: ingset: is not a key; did you mean \"ingest\"?",
        ],
    );
    check(
        "[source]\nname = \"a\"\n",
        &["weir.toml:1: source: takes a list of tables, each headed [[source]], not a table"],
    );
    check(
        "ingest = 3\nsource = 4\n",
        &[
            "weir.toml:1: ingest: takes a table, not a number",
            "weir.toml:2: source: takes a list of tables, each headed [[source]], not a number",
        ],
    );
    check(
        "[kafka]\nbrokers = 9092\nwait = 60\n[ingest]\nbody_limit = 1048576\n[processor]\nleave = \"yes\"\nworkers = 1.5\n",
        &[
            "weir.toml:2: [kafka] brokers: takes a text, not a number",
            "weir.toml:3: [kafka] wait: takes a text such as \"5s\", not a number",
            "weir.toml:5: [ingest] body_limit: takes a text such as \"1MiB\", not a number",
            "weir.toml:7: [processor] leave: takes true or false, not a text",
            "weir.toml:8: [processor] workers: takes a whole number, not a number with a fraction",
        ],
    );
    check(
        "[retry]\ndelays = [\"5s\", 60]\n",
        &["weir.toml:2: [retry] delays[1]: takes a text such as \"5s\", not a number"],
    );
    check(
        "[[source]]\n",
        &[
            "weir.toml:1: [[source]] #1: name: is missing",
            "weir.toml:1: [[source]] #1: provider: is missing",
            "weir.toml:1: [[source]] #1: secrets: is missing",
        ],
    );
    check(
        "[[source]]\nname = \"a\"\nprovider = \"github\"\nsecrets = [{ env = \"UNSET\" }]\nnmae = 1\n[[source]]\nname = \"b\"\n",
        &[
            "weir.toml:4: [[source]] a: secrets[0]: environment variable UNSET is not set",
            "weir.toml:5: [[source]] a: nmae: is not a key; did you mean \"name\"?",
            "weir.toml:6: [[source]] b: provider: is missing",
            "weir.toml:6: [[source]] b: secrets: is missing",
        ],
    );
}

#[test]
fn values_out_of_range_are_refused() {
    check("shutdown_timeout = \"500ms\"\n", &["weir.toml:1: shutdown_timeout: \"500ms\" is out of range: 1s to 10m"]);
    check("[topics]\npartitions = 12\n", &["weir.toml:2: [topics] partitions: 12 is not a power of two: use 8 or 16"]);
    check("[topics]\npartitions = 8192\n", &["weir.toml:2: [topics] partitions: 8192 is out of range: 1 to 4096"]);
    check(
        "[topics]\npartitions = 0\nreplication = 0\nprefix = \"a b\"\n",
        &[
            "weir.toml:2: [topics] partitions: 0 is out of range: 1 to 4096",
            "weir.toml:3: [topics] replication: 0 is out of range: 1 to 15",
            "weir.toml:4: [topics] prefix: \"a b\" cannot begin a topic's name: use at most 128 letters, digits, `.`, `_` and `-`",
        ],
    );
    check(
        "[processor]\nsession_timeout = \"5s\"\n",
        &["weir.toml:2: [processor] session_timeout: \"5s\" is out of range: 6s to 30m"],
    );
    check(
        "[processor]\nsession_timeout = \"1h\"\ninstance = \"a/b\"\ngroup = \"\"\n",
        &[
            "weir.toml:2: [processor] session_timeout: \"1h\" is out of range: 6s to 30m",
            "weir.toml:3: [processor] instance: \"a/b\" is not a name: use 1 to 63 letters, digits, `.`, `_` and `-`",
            "weir.toml:4: [processor] group: \"\" is not a name: use 1 to 63 letters, digits, `.`, `_` and `-`",
        ],
    );
    check(
        "[ingest]\nbody_limit = \"33MiB\"\nlisten = \"localhost:8080\"\npublic_url = \"hooks.example.com\"\n",
        &[
            "weir.toml:2: [ingest] body_limit: \"33MiB\" is out of range: 1B to 32MiB",
            "weir.toml:3: [ingest] listen: \"localhost:8080\" is not an IP address and port, as in \"127.0.0.1:8080\"",
            "weir.toml:4: [ingest] public_url: \"hooks.example.com\" is not an address: write it with http:// or https://",
        ],
    );
    check(
        "[kafka]\nbrokers = \"a\"\n",
        &["weir.toml:2: [kafka] brokers: \"a\" is not a list of brokers: write host:port, separated by commas"],
    );
    check(
        "[kafka]\nbrokers = \"a:1,,b:2\"\nwait = \"1 minute\"\n",
        &[
            "weir.toml:2: [kafka] brokers: \"a:1,,b:2\" is not a list of brokers: write host:port, separated by commas",
            "weir.toml:3: [kafka] wait: \"1 minute\" is not a length of time: write a whole number and ms, s, m, h or d, as in \"5s\"",
        ],
    );
    check(
        "[retry]\norder = \"parks\"\nschedule = [\"2d\", \"1s\"]\njitter = \"half\"\nparked_total = 0\noverflow = 1\n",
        &[
            "weir.toml:2: [retry] order: \"parks\" is not one of park, overtake; did you mean \"park\"?",
            "weir.toml:3: [retry] schedule[0]: \"2d\" is out of range: 1ms to 1d",
            "weir.toml:4: [retry] jitter: \"half\" is not one of none, full, equal, decorrelated",
            "weir.toml:5: [retry] parked_total: 0 is out of range: 1 to 100000000",
            "weir.toml:6: [retry] overflow: takes a text, not a number",
        ],
    );
    check_source(
        "schedule = \"tier\"\n",
        &[
            "weir.toml:5: [[source]] s: schedule: \"tier\" is not one of tiers, fixed, linear, exponential; did you mean \"tiers\"?",
        ],
    );
    check_source(
        "schedule = 5\n",
        &["weir.toml:5: [[source]] s: schedule: takes a text or a list of texts, not a number"],
    );
    check_source("schedule = []\n", &["weir.toml:5: [[source]] s: schedule: has 0 entries: 1 to 16 are allowed"]);
    check("[retry]\nattempts = 51\n", &["weir.toml:2: [retry] attempts: 51 is out of range: 1 to 50"]);
}

#[test]
fn keys_that_must_agree_are_checked_together() {
    check(
        "[processor]\nsession_timeout = \"6s\"\ncommit_interval = \"2s\"\n",
        &[
            "weir.toml:3: [processor] commit_interval: \"2s\" is more than a third of the transaction timeout, which is 4s with a session_timeout of 6s: shorten it or lengthen session_timeout",
        ],
    );
    check(
        "[ingest]\nlisten = \"127.0.0.1:80\"\nadmin_listen = \"127.0.0.1:80\"\n",
        &[
            "weir.toml:3: [ingest] admin_listen: 127.0.0.1:80 is already `[ingest] listen`: health and metrics need a port of their own",
        ],
    );
    check(
        "[retry]\ndelays = [\"60s\", \"1m\"]\n",
        &["weir.toml:2: [retry] delays[1]: \"1m\" and \"60s\" are the same delay: keep one"],
    );
    check(
        "[retry]\ndelays = [\n  \"1m\",\n  \"10m\",\n  \"5s\",\n]\n",
        &["weir.toml:5: [retry] delays[2]: \"5s\" is shorter than \"10m\" before it: delays rise"],
    );
    check(
        "[retry]\ndelays = [\"1d\"]\nattempts = 8\n",
        &[
            "weir.toml:3: [retry] attempts: 8 attempts with these delays last 7d; with a day to spare that must be below the 7d for which verified-events keeps an event: use fewer attempts or shorter delays",
        ],
    );
    check(
        "[retry]\ndelays = [\"1s\", \"1d\"]\nattempts = 50\njitter = \"decorrelated\"\nschedule = \"fixed\"\n",
        &[
            "weir.toml:3: [retry] attempts: 50 attempts with these delays last 3458172s; with a day to spare that must be below the 7d for which verified-events keeps an event: use fewer attempts or shorter delays",
        ],
    );
    check_source(
        "schedule = [\"1h\", \"1d\"]\n",
        &[
            "weir.toml:5: [[source]] s: schedule: 8 attempts with these pauses last 145h; with a day to spare that must be below the 7d for which verified-events keeps an event: use shorter pauses, or fewer `[retry] attempts`",
        ],
    );
    check("[retry]\ndelays = []\n", &["weir.toml:2: [retry] delays: has 0 entries: 1 to 16 are allowed"]);
    let two = "[[source]]\nname = \"s\"\nprovider = \"github\"\nsecrets = [{ value = \"a\" }]\n";
    check(
        &format!("{two}{two}"),
        &["weir.toml:6: [[source]] s: name: \"s\" is already taken on line 2: names are unique"],
    );
}

#[test]
fn what_is_not_built_is_refused_unless_it_holds_its_default() {
    check(
        "[ingest]\ntls = { cert_file = \"a\", key_file = \"b\" }\n",
        &["weir.toml:2: [ingest] tls: not available in this version: leave it out"],
    );
    check_source(
        "quarantine = true\n",
        &["weir.toml:5: [[source]] s: quarantine: not available in this version: leave it out"],
    );
    check_source("quarantine = false\n", &[]);
}

#[test]
fn properties_that_the_guarantee_owns_are_refused() {
    check(
        "[kafka.client]\nacks = 1\n\"enable.idempotence\" = false\ngroup.id = \"x\"\n",
        &[
            "weir.toml:2: [kafka.client] acks: is set by Weir: an answer to a provider promises that every in-sync replica has the event",
            "weir.toml:3: [kafka.client] enable.idempotence: is set by Weir: without it a retried send may be written twice or out of order",
            "weir.toml:4: [kafka.client] group.id: is set by Weir: use `[processor] group`",
        ],
    );
    check(
        "[kafka.client]\n\"no.such\" = \"x\"\n\"sasl.password\" = [1]\n",
        &[
            "weir.toml:2: [kafka.client] no.such: No such configuration property: \"no.such\"",
            "weir.toml:3: [kafka.client] sasl.password: takes a text, a number or a flag, not a list",
        ],
    );
}

#[test]
fn a_variable_that_sets_nothing_is_refused() {
    let variables = [
        ("WEIR__INGEST__BODY_LIMT", "1MiB"),
        ("WEIR__KAFKA", "a:1"),
        ("WEIR__PROCESSOR__WORKERS", "many"),
        ("WEIR__PROCESSOR__SESSION_TIMEOUT", "1s"),
        ("WEIR__RETRY__DELAYS", "5s"),
        ("WEIR__SOURCE__0__NAME", "a"),
        ("WEIR__KAFKA__CLIENT__ACKS", "1"),
        ("WEIR__INGEST__TLS", "a"),
        ("WEIR__", "a"),
        ("WEIR__WEIR__KAFKA__BROKERS", "a:1"),
    ];
    assert_eq!(
        said("", &variables),
        [
            "WEIR__: sets no key",
            "WEIR__INGEST__BODY_LIMT: sets no key; did you mean \"WEIR__INGEST__BODY_LIMIT\"?",
            "WEIR__INGEST__TLS: [ingest] tls: tables are not settable by environment: use the file",
            "WEIR__KAFKA: kafka: tables are not settable by environment: use the file",
            "WEIR__PROCESSOR__SESSION_TIMEOUT: [processor] session_timeout: \"1s\" is out of range: 6s to 30m",
            "WEIR__PROCESSOR__WORKERS: [processor] workers: takes a whole number, not a text",
            "WEIR__RETRY__DELAYS: [retry] delays: lists are not settable by environment: use the file",
            "WEIR__SOURCE__0__NAME: source: lists are not settable by environment: use the file",
            "WEIR__WEIR__KAFKA__BROKERS: sets no key; did you mean \"WEIR__KAFKA__BROKERS\"?",
            "WEIR__KAFKA__CLIENT__ACKS: [kafka.client] acks: is set by Weir: an answer to a provider promises that every in-sync replica has the event",
        ]
    );
}
