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
    assert_eq!(sheet.body(TIGHT, &sheet.text, sheet.text.clone()), TIGHT);
    let written = b"{\n  \"a\": 2.50,\n  \"b\": []\n}\n".to_vec();
    assert_eq!(sheet.body(TIGHT, &sheet.text, written), br#"{"a":2.50,"b":[]}"#);
    assert_eq!(sheet.body(TIGHT, &sheet.text, b"{ broken".to_vec()), b"{ broken");
}

#[test]
fn what_is_laid_out_already_and_what_is_no_json_is_edited_as_it_is() {
    for body in [b"{\n \"a\":1 }".as_slice(), b"\xff\x00", b"plain"] {
        let sheet = Sheet::of(body);
        assert_eq!(sheet.text, body);
        assert_eq!(sheet.body(body, body, body.to_vec()), body);
        assert_eq!(sheet.body(body, body, b"{\n}".to_vec()), b"{\n}");
    }
    let spaced = b"{ \"a\":1 }".as_slice();
    let sheet = Sheet::of(spaced);
    assert_eq!(sheet.body(spaced, &sheet.text, sheet.text.clone()), spaced);
}

#[test]
fn the_newline_that_an_editor_adds_is_no_change_and_one_that_was_there_is_not_taken() {
    for body in [b"{\n \"a\":1 }".as_slice(), b"plain"] {
        let sheet = Sheet::of(body);
        assert_eq!(sheet.body(body, body, [body, b"\n"].concat()), body);
        assert_eq!(sheet.body(body, body, [body, b"\n\n"].concat()), [body, b"\n"].concat(), "one and no more");
    }
    let ended = b"plain\n".as_slice();
    let sheet = Sheet::of(ended);
    assert_eq!(sheet.body(ended, ended, ended.to_vec()), ended);
    assert_eq!(sheet.body(ended, ended, b"plain\n\n".to_vec()), b"plain\n\n");
}

/// An edit by an editor that is a shell command, over what may have been refused before.
fn edited(editor: &str, refused: Option<&str>) -> (Result<Vec<u8>, Failure>, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let options = crate::args::dead::DraftsArgs { drafts: Some(folder.path().to_owned()) };
    let drafts = Drafts::open(&options).unwrap();
    let path = folder.path().join("draft");
    if let Some(refused) = refused {
        drafts.create("draft.edit", refused.as_bytes()).unwrap();
    }
    let check = |body: &[u8]| if body == b"bad" { Err(refused_for_a_test()) } else { Ok(()) };
    let after = in_editor(&Editor::new(editor), &drafts, &path, b"before", &check);
    let left = drafts.unfinished("draft.edit").unwrap();
    (after, left.map(|left| String::from_utf8(left).unwrap()))
}

fn refused_for_a_test() -> Failure {
    refused(anyhow!("bad"))
}

#[test]
fn what_was_typed_is_kept_until_it_is_taken() {
    let (after, left) = edited("printf bad >", None);
    assert_eq!((after.is_err(), left.as_deref()), (true, Some("bad")), "refused");
    let (after, left) = edited("printf '!' >>", Some("typed"));
    assert_eq!((after.unwrap().as_slice(), left), (b"typed!".as_slice(), None), "taken");
    for editor in ["false", "no-such-editor-anywhere 2>/dev/null", "rm", "f() { : > \"$1\"; false; }; f"] {
        let (after, left) = edited(editor, Some("typed"));
        assert_eq!((after.is_err(), left.as_deref()), (true, Some("typed")), "{editor}");
        let (after, left) = edited(editor, None);
        assert_eq!((after.is_err(), left), (true, None), "{editor}");
    }
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
        (b"{\"a\":1}".as_slice(), "it fails s.json: at the top"),
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
