//! Records against their golden bytes, and against Avro's reference implementation, both ways.

use std::path::{Path, PathBuf};

use apache_avro::types::Value;
use apache_avro::{GenericSingleObjectReader, GenericSingleObjectWriter, Schema};
use schemas::dead_event::{self, DeadEvent, Failure};
use schemas::verified_event::{EventKind, HttpHeaders, StaleMode, VerifiedEvent};

const VERIFIED_SCHEMA: &str = include_str!("../../schemas/avro/verified_event.avsc");
const DEAD_SCHEMA: &str = include_str!("../../schemas/avro/dead_event.avsc");

fn schema(text: &str) -> Schema {
    Schema::parse_str(text).expect("a valid schema")
}

fn verified() -> VerifiedEvent<'static> {
    VerifiedEvent {
        source: "stripe",
        preset: "stripe",
        event_id: "evt_1",
        event_type: "invoice.paid",
        identity: &[0, 0, 0, 2, b'i', b'd'],
        identity_signed: true,
        window_ms: 345_600_000,
        stale: StaleMode::Route,
        kind: EventKind::Terminal,
        occurred_at_ms: Some(-1),
        occurred_at_signed: true,
        signed_at_ms: Some(1_700_000_000_000),
        received_at_ms: 1_700_000_000_123,
        content_type: "application/json; charset=utf-8",
        assurance: 3,
        schema: Some("schemas/größe.json"),
        defect: None,
        http_headers: HttpHeaders::Listed(vec![("user-agent", b"Stripe/1.0"), ("x-odd", &[0xff, 0x00])]),
        body: b"{\"id\":\"evt_1\"}\n",
    }
}

fn bare() -> VerifiedEvent<'static> {
    VerifiedEvent {
        event_type: "",
        identity: &[],
        identity_signed: false,
        stale: StaleMode::Off,
        kind: EventKind::Other,
        occurred_at_ms: None,
        occurred_at_signed: false,
        signed_at_ms: None,
        content_type: "",
        schema: None,
        defect: Some("invalid_json"),
        http_headers: HttpHeaders::default(),
        body: &[],
        ..verified()
    }
}

fn dead() -> DeadEvent<'static> {
    DeadEvent {
        dead_id: "3-42-0",
        generation: 0,
        reason: "schema_violation",
        message: "at /parcel/grams: not of type integer",
        stage: "schema",
        attempts: 1,
        first_failed_ms: 1_700_000_000_000,
        last_failed_ms: 1_700_000_000_001,
        source: Some("warehouse"),
        event_id: None,
        event_type: Some(""),
        source_topic: "verified-events",
        source_partition: 3,
        source_offset: 42,
        received_at_ms: 1_700_000_000_000,
        original_key: Some(b"warehouse|parcel|1"),
        original_value: None,
        original_headers: vec![("a", Some(b"b")), ("c", None)],
        history: vec![Failure { at_ms: 5, attempt: 1, reason: "schema_violation", message: "m" }],
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/fixtures").join(name)
}

/// Compares with the golden bytes. `WEIR_BLESS=1` writes a fixture that does not exist yet, and only then.
fn check_golden(name: &str, bytes: &[u8]) {
    let path = fixture(name);
    if !path.exists() && std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(&path, format!("{}\n", hex::encode(bytes))).expect("a writable folder");
    }
    let golden = std::fs::read_to_string(&path).expect("the fixture is part of the repository");
    assert_eq!(hex::encode(bytes), golden.trim(), "{name}: readers of today's topics would not understand this");
}

fn encoded(event: &VerifiedEvent<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    bytes
}

#[test]
fn records_are_written_as_they_always_were() {
    let mut bytes = Vec::new();
    dead().encode(&mut bytes);
    check_golden("dead_event.v1.hex", &bytes);
    check_golden("verified_event.v1.hex", &encoded(&verified()));
    check_golden("verified_event_bare.v1.hex", &encoded(&bare()));
}

#[test]
fn records_of_the_past_are_still_read() {
    let golden = |name: &str| {
        let text = std::fs::read_to_string(fixture(name)).expect("the fixture is part of the repository");
        hex::decode(text.trim()).expect("hex")
    };
    let bytes = golden("verified_event.v1.hex");
    assert_eq!(VerifiedEvent::decode(&bytes), Ok(verified()));
    let bytes = golden("verified_event_bare.v1.hex");
    assert_eq!(VerifiedEvent::decode(&bytes), Ok(bare()));
    let bytes = golden("dead_event.v1.hex");
    assert_eq!(DeadEvent::decode(&bytes), Ok(dead()));
}

/// Reads bytes with the reference implementation and writes what it read: the same bytes must come out, or other
/// bytes that we read as the same record.
fn through_reference(text: &str, bytes: &[u8]) -> (Value, Vec<u8>) {
    let reader = GenericSingleObjectReader::builder().schema(schema(text)).build().expect("a reader");
    let value = reader.read_value(&mut &bytes[..]).expect("the reference implementation reads our record");
    let mut out = Vec::new();
    let mut writer = GenericSingleObjectWriter::new_with_capacity(&schema(text), 1024).expect("a writer");
    writer.write_value_ref(&value, &mut out).expect("the reference implementation writes it");
    (value, out)
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    let Value::Record(fields) = value else { panic!("a record") };
    &fields.iter().find(|(field, _)| field == name).expect("a field of the schema").1
}

#[test]
fn the_reference_implementation_agrees_on_verified_events() {
    for event in [verified(), bare()] {
        let (value, again) = through_reference(VERIFIED_SCHEMA, &encoded(&event));
        assert_eq!(VerifiedEvent::decode(&again), Ok(event.clone()));
        assert_eq!(field(&value, "event_id"), &Value::String(event.event_id.to_owned()));
        assert_eq!(field(&value, "body"), &Value::Bytes(event.body.to_vec()));
        assert_eq!(field(&value, "window_ms"), &Value::Long(event.window_ms));
    }
}

#[test]
fn the_reference_implementation_agrees_on_dead_events() {
    let mut bytes = Vec::new();
    dead().encode(&mut bytes);
    let (value, again) = through_reference(DEAD_SCHEMA, &bytes);
    assert_eq!(DeadEvent::decode(&again), Ok(dead()));
    assert_eq!(field(&value, "dead_id"), &Value::String("3-42-0".to_owned()));
    assert_eq!(field(&value, "source_offset"), &Value::Long(42));
}

#[test]
fn a_history_keeps_the_last_failures_and_messages_are_cut() {
    let long = "ü".repeat(1000);
    let failure = |n: usize| Failure { at_ms: n as i64, attempt: n as i64, reason: "r", message: &long };
    let event = DeadEvent { history: (0..50).map(failure).collect(), message: &long, ..dead() };
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    let read = DeadEvent::decode(&bytes).expect("our own record");
    assert_eq!(read.history.len(), dead_event::HISTORY_MAX);
    assert_eq!(read.history.first().map(|failure| failure.attempt), Some(30));
    assert_eq!(read.message.len(), dead_event::MESSAGE_BYTES_MAX);
}

#[test]
fn no_cut_and_no_flipped_bit_makes_a_record_panic() {
    let bytes = encoded(&verified());
    for end in 0..bytes.len() {
        assert!(VerifiedEvent::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // It may still be a record, another one; it must not panic or allocate what the bytes do not hold.
        drop(VerifiedEvent::decode(&flipped));
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        drop(VerifiedEvent::decode(&bytes));
        drop(DeadEvent::decode(&bytes));
        let mut ours = encoded(&bare());
        ours.truncate(10);
        ours.extend_from_slice(&bytes);
        drop(VerifiedEvent::decode(&ours));
    }
}
