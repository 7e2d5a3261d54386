//! What an edit may be, and how a body looks in an editor.

use runtime::config;
use schemas::VerifiedEvent;

use super::*;
use crate::samples;

const TIGHT: &[u8] = br#"{"a":1.50,"b":[]}"#;

#[test]
fn json_on_one_line_is_laid_out_for_the_editor_and_put_on_one_line_again() {
    let sheet = Sheet::of(TIGHT);
    assert_eq!((sheet.text.as_slice(), sheet.ending), (b"{\n  \"a\": 1.50,\n  \"b\": []\n}\n".as_slice(), ".json"));
    assert_eq!(sheet.body(TIGHT, sheet.text.clone()), TIGHT);
    let written = b"{\n  \"a\": 2.50,\n  \"b\": []\n}\n".to_vec();
    assert_eq!(sheet.body(TIGHT, written), br#"{"a":2.50,"b":[]}"#);
    assert_eq!(sheet.body(TIGHT, b"{ broken".to_vec()), b"{ broken");
}

#[test]
fn what_is_laid_out_already_and_what_is_no_json_is_edited_as_it_is() {
    for body in [b"{\n \"a\":1 }".as_slice(), b"\xff\x00", b"plain"] {
        let sheet = Sheet::of(body);
        assert_eq!(sheet.text, body);
        assert_eq!(sheet.body(body, body.to_vec()), body);
        assert_eq!(sheet.body(body, b"{\n}".to_vec()), b"{\n}");
    }
    assert_eq!(Sheet::of(b"{ \"a\":1 }").body(b"{ \"a\":1 }", Sheet::of(b"{ \"a\":1 }").text), b"{ \"a\":1 }");
}

fn config(folder: &Path) -> config::Config {
    let schema = r#"{"type":"object","required":["number"]}"#;
    std::fs::write(folder.join("s.json"), schema).unwrap();
    let text = "[[source]]\nname = \"gh\"\nprovider = \"github\"\nbody_limit = \"1KiB\"\n\
                secrets = [{ env = \"S\" }]\nschema = \"s.json\"\n";
    let environment = [("S".to_owned(), "a-secret-of-sixteen".to_owned())];
    config::parse(text, &folder.join("weir.toml"), environment).unwrap().config
}

fn checked(event: &VerifiedEvent<'_>, body: &[u8]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let original = samples::encoded(event);
    let dead = samples::around("3-17-0", &original);
    let checked = check(&config(folder.path()), &Content::of(&dead), body);
    checked.map_err(|failure| failure.to_string())
}

#[test]
fn a_body_that_would_die_again_is_refused_with_the_reason() {
    let event = VerifiedEvent { schema: Some("s.json"), ..samples::verified(b"{}") };
    assert_eq!(checked(&event, br#"{"number":1}"#), Ok(()));
    for (body, expected) in [
        (b"{\"a\":1}".as_slice(), "it fails s.json at the top"),
        (b"{", "it is not JSON"),
        (&[b' '; 1025], "body_limit is 1024"),
    ] {
        let message = checked(&event, body).unwrap_err();
        assert!(message.contains(expected) && message.contains("--no-check"), "{message}");
    }
}

#[test]
fn without_a_schema_json_stays_json_and_other_bytes_may_become_anything() {
    assert_eq!(checked(&samples::verified(b"{}"), b"[]"), Ok(()));
    assert!(checked(&samples::verified(b"{}"), b"no").is_err());
    assert_eq!(checked(&samples::verified(b"plain"), b"no"), Ok(()));
    let unknown = VerifiedEvent { schema: Some("gone.json"), ..samples::verified(b"{}") };
    assert_eq!(checked(&unknown, b"[]"), Ok(()));
}

#[test]
fn what_was_refused_waits_for_the_next_edit() {
    let folder = tempfile::tempdir().unwrap();
    let options = crate::args::dead::DraftsArgs { drafts: Some(folder.path().to_owned()) };
    let drafts = Drafts::open(&options).unwrap();
    assert_eq!(drafts.unfinished("a.edit.json").unwrap(), None);
    let file = drafts.create("a.edit.json", b"typed").unwrap();
    assert_eq!(drafts.unfinished("a.edit.json").unwrap().as_deref(), Some(b"typed".as_slice()));
    Drafts::remove(&file).unwrap();
    assert_eq!(drafts.unfinished("a.edit.json").unwrap(), None);
}
