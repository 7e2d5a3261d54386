//! The reader against the grammar, against serde_json as a second opinion, and against what attackers send.

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

fn find<'a>(text: &'a str, pointer: &str) -> Result<Found<'a>, Flaw> {
    let mut pointers = Pointers::default();
    let slot = pointers.add(pointer).expect("a pointer");
    look_up(text, &pointers).map(|found| found.get(slot).cloned().expect("its slot"))
}

fn text(text: &str) -> Result<Found<'_>, Flaw> {
    Ok(Found::Text(Cow::Borrowed(text)))
}

#[test]
fn a_pointer_finds_what_stands_there_as_it_is_written() {
    let body = r#" { "a" : { "b" : [ 1 , { "c" : "x" } ] , "n" : null , "t" : true } , "" : -0 , "e" : 1e2 } "#;
    assert_eq!(find(body, "/a/b/1/c"), text("x"));
    assert_eq!(find(body, "/a/b/0"), Ok(Found::Number("1")));
    assert_eq!(find(body, "/a/b/2"), Ok(Found::Absent));
    assert_eq!(find(body, "/a/n"), Ok(Found::Null));
    assert_eq!(find(body, "/a/t"), Ok(Found::Other));
    assert_eq!(find(body, "/a/b"), Ok(Found::Other));
    assert_eq!(find(body, "/"), Ok(Found::Number("-0")));
    assert_eq!(find(body, "/e"), Ok(Found::Number("1e2")));
    assert_eq!(find(body, ""), Ok(Found::Other));
    assert_eq!(find("\"whole\"", ""), text("whole"));
}

#[test]
fn numbers_keep_their_spelling() {
    for number in ["100", "100.0", "1E400", "9007199254740993", "18446744073709551617", "-0", "0.10"] {
        assert_eq!(find(&format!("[{number}]"), "/0"), Ok(Found::Number(number)));
    }
}

#[test]
fn a_member_that_stands_twice_is_known_to_stand_twice() {
    for body in
        [r#"{"id":1,"id":2}"#, r#"{"id":1,"id":1}"#, r#"{"id":1,"\u0069d":2}"#, r#"{"i\u0064":1,"x":{"id":5},"id":2}"#]
    {
        assert_eq!(find(body, "/id"), Ok(Found::Twice), "{body}");
    }
    for body in [r#"{"a":{"id":1},"a":{}}"#, r#"{"a":{},"a":{"id":1}}"#, r#"{"a":{"id":1},"a":7}"#] {
        assert_eq!(find(body, "/a/id"), Ok(Found::Twice), "{body}");
    }
    assert_eq!(find(r#"{"x":1,"x":2,"id":3}"#, "/id"), Ok(Found::Number("3")));
}

#[test]
fn escapes_are_undone_and_half_characters_are_no_text() {
    assert_eq!(find(r#"["\"\\\/\b\f\n\r\t\u00e9\ud83c\udf89"]"#, "/0"), text("\"\\/\u{8}\u{c}\n\r\té🎉"));
    for half in [r#"["\ud800"]"#, r#"["\ud800x"]"#, r#"["\ud800\u0041"]"#, r#"["\udc00"]"#] {
        assert_eq!(find(half, "/0"), Ok(Found::Other), "{half}");
    }
}

#[test]
fn sixty_four_levels_are_read_and_sixty_five_are_not() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nest = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        assert_eq!(find(&nest(DEPTH_MAX), "/x"), Ok(Found::Absent));
        for depth in [DEPTH_MAX + 1, 129, 100_000] {
            assert_eq!(find(&nest(depth), "/x"), Err(Flaw::TooDeep));
        }
    }
}

#[test]
fn what_is_almost_json_is_not() {
    let almost = [
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "{]",
        "[}",
        "nul",
        "nulll",
        "True",
        "'a'",
        "{'a':1}",
        "{a:1}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{1:2}",
        "{}{}",
        "{} x",
        "[1]//",
        "/**/[1]",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "1e+",
        "0x10",
        "NaN",
        "Infinity",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\"\t\"",
        "\u{feff}{}",
        "{\"a\":1}\n{\"b\":2}",
        "[1]\u{a0}",
        "\"\u{0}\"",
    ];
    for text in almost {
        assert_eq!(find(text, "/a"), Err(Flaw::Invalid), "{text:?}");
    }
    for text in ["null", "true", "0", "\"\"", "[]", "{}", " [ ] ", "-0.5e-7", "\"\\ud800\"", "1E400", "\"\u{7f}\""] {
        assert!(find(text, "/a").is_ok(), "{text:?}");
    }
}

#[test]
fn a_large_body_is_walked_in_linear_time() {
    let keys = (0..200_000).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(",");
    let body = format!("{{{keys},\"id\":\"last\"}}");
    assert_eq!(find(&body, "/id"), text("last"));
    let escapes = format!("{{\"x\":\"{}\",\"id\":7}}", "\\u0000".repeat(200_000));
    assert_eq!(find(&escapes, "/id"), Ok(Found::Number("7")));
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e9_f64..1e9).prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map("[a-c~/\"\\\\é]{0,3}", inner, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_reader_and_serde_json_agree_on_what_is_json(
        value in document(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        pretty in any::<bool>(),
    ) {
        let mut bytes = if pretty { format!("{value:#}") } else { value.to_string() }.into_bytes();
        for (place, byte) in edits {
            let at = place.index(bytes.len());
            if byte % 3 == 0 { bytes.remove(at); } else { bytes[at] = byte; }
            if bytes.is_empty() { break; }
        }
        let theirs = serde_json::from_slice::<IgnoredAny>(&bytes).is_ok();
        let ours = std::str::from_utf8(&bytes).is_ok_and(|text| find(text, "/a").is_ok());
        // serde_json does not look at the UTF-8 of what it ignores.
        if std::str::from_utf8(&bytes).is_ok() {
            prop_assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_pointer_finds_the_same_as_serde_json(value in document(), path in "(/[a-c]{0,2}|/[0-3]){0,3}") {
        let body = value.to_string();
        let found = find(&body, &path).expect("JSON");
        let expected = match value.pointer(&path) {
            None => Found::Absent,
            Some(serde_json::Value::Null) => Found::Null,
            Some(serde_json::Value::String(text)) => Found::Text(Cow::Owned(text.clone())),
            Some(serde_json::Value::Number(number)) => {
                let written = number.to_string();
                prop_assert_eq!(found, Found::Number(&written));
                return Ok(());
            }
            Some(serde_json::Value::Bool(_) | serde_json::Value::Array(_) | serde_json::Value::Object(_)) => Found::Other,
        };
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,64}", path in "(/[a-c]{0,2}){0,3}") {
        prop_assert!(find(&text, &path).is_ok() || find(&text, &path).is_err());
    }
}
