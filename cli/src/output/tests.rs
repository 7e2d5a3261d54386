//! The forms of a list, and what an event may not do to a terminal.

use super::*;

#[derive(Serialize)]
struct Fruit {
    name: &'static str,
    grams: u32,
    peeled: bool,
    note: Option<&'static str>,
    seeds: Vec<&'static str>,
}

impl Row for Fruit {
    const COLUMNS: &'static [&'static str] = &["name", "grams", "peeled", "note", "seeds"];
}

impl Line for Fruit {
    fn pretty(&self) -> String {
        self.name.to_owned()
    }
}

fn fruits() -> Vec<Fruit> {
    let fruit = |name, grams, note, seeds| Fruit { name, grams, peeled: false, note, seeds };
    vec![fruit("apple", 180, None, vec!["a", "b"]), fruit("fig\u{1b}[2J", 9, Some("ripe"), vec![])]
}

fn printed(form: Form, print: impl FnOnce(&mut Output<'_>)) -> String {
    let mut bytes = Vec::new();
    print(&mut Output::new(Box::new(&mut bytes), Some(form), false, false));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_table_has_the_keys_as_columns_and_no_control_characters() {
    let text = printed(Form::Table, |out| out.list(&fruits()).unwrap());
    let expected = " name            grams  peeled  note  seeds\n \
                    apple             180  no      -     a\n                                        b\n \
                    fig\\u{1b}[2J       9  no      ripe  -\n";
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeeze(&text), squeeze(expected), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn json_is_one_array_and_jsonl_one_object_a_line() {
    let json = printed(Form::Json, |out| out.list(&fruits()).unwrap());
    let lines = printed(Form::Jsonl, |out| out.list(&fruits()).unwrap());
    let array: Vec<Value> = serde_json::from_str(&json).unwrap();
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(array, objects);
    assert_eq!(array.len(), 2);
    assert!(lines.starts_with(r#"{"name":"apple","grams":180,"peeled":false,"note":null,"seeds":["a","b"]}"#));
}

#[test]
fn things_that_come_one_at_a_time_are_an_array_too() {
    let stream = |count: usize| {
        printed(Form::Json, |out| {
            for fruit in fruits().iter().take(count) {
                out.next(fruit).unwrap();
            }
            out.end_of_list().unwrap();
        })
    };
    for count in 0..=2 {
        let array: Vec<Value> = serde_json::from_str(&stream(count)).unwrap();
        assert_eq!(array.len(), count);
    }
}

#[derive(Serialize)]
struct Said {
    text: String,
}

impl Row for Said {
    const COLUMNS: &'static [&'static str] = &["text"];
}

impl Line for Said {
    fn pretty(&self) -> String {
        self.text.clone()
    }
}

#[test]
fn no_form_hands_a_terminal_what_it_would_obey_and_json_still_says_it() {
    let text = "a\u{1b}[2J\u{7f}\u{9b}31m\u{61c}\u{202e}\u{2066}\u{206f}\u{2028}b ü";
    let said = || Said { text: text.to_owned() };
    for form in [Form::Table, Form::Json, Form::Jsonl] {
        for printed in [
            printed(form, |out| out.list(&[said()]).unwrap()),
            printed(form, |out| out.one(&said()).unwrap()),
            printed(form, |out| out.next(&said()).and_then(|()| out.end_of_list()).unwrap()),
        ] {
            let is_bad = |c: char| is_harmful(c) && c != '\n';
            assert!(!printed.contains(is_bad) && printed.contains("b ü"), "{form:?}: {printed:?}");
        }
    }
    let read: Vec<Value> = serde_json::from_str(&printed(Form::Json, |out| out.list(&[said()]).unwrap())).unwrap();
    assert_eq!(read[0]["text"], text);
}

#[test]
fn a_row_is_a_line_whatever_an_event_says_and_a_single_thing_may_have_several() {
    let said = || Said { text: "first\nevt_2  dead".to_owned() };
    let list = printed(Form::Table, |out| out.list(&[said()]).unwrap());
    assert_eq!(list.lines().count(), 2, "{list}");
    let one = printed(Form::Table, |out| out.one(&said()).unwrap());
    assert_eq!(one.lines().count(), 2, "{one}");
    assert!(!one.contains("\\n"), "{one}");
}

#[test]
fn nothing_is_an_empty_array_where_an_array_is_expected() {
    let nothing = |form| printed(form, |out| out.nothing().unwrap());
    assert_eq!([nothing(Form::Json), nothing(Form::Jsonl), nothing(Form::Table)], ["[]\n", "", ""]);
}

/// Somebody who stops reading after some bytes.
struct Leaving(usize);

impl Write for Leaving {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => {
                self.0 = left;
                Ok(bytes.len())
            }
            None => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_who_leaves_ends_what_only_reads_and_stops_nothing_else() {
    let rows = |out: &mut Output<'_>| -> Result<(), Failure> {
        for _ in 0..3 {
            out.list(&fruits())?;
        }
        out.finish()
    };
    let mut out = Output::new(Box::new(Leaving(100)), Some(Form::Jsonl), false, false);
    assert!(rows(&mut out).is_err());
    let mut out = Output::new(Box::new(Leaving(100)), Some(Form::Jsonl), false, false);
    out.bear_deafness();
    rows(&mut out).unwrap();
    assert_eq!(out.deafness, Deafness::IsThere);
}

#[test]
fn a_pipe_gets_jsonl_and_a_terminal_a_table_unless_told() {
    let form = |asked, is_terminal| Output::new(Box::new(Vec::new()), asked, is_terminal, false).form();
    assert_eq!(form(None, true), Form::Table);
    assert_eq!(form(None, false), Form::Jsonl);
    assert_eq!(form(Some(Form::Json), true), Form::Json);
}

#[test]
fn colours_need_a_terminal_that_wants_them() {
    #[derive(Serialize)]
    struct Alarm {
        state: &'static str,
    }
    impl Row for Alarm {
        const COLUMNS: &'static [&'static str] = &["state"];
        fn color(&self, _column: &str) -> Option<Color> {
            Some(Color::Red)
        }
    }
    let print = |is_colored| {
        let mut bytes = Vec::new();
        let mut out = Output::new(Box::new(&mut bytes), Some(Form::Table), true, is_colored);
        out.list(&[Alarm { state: "dead" }]).unwrap();
        drop(out);
        String::from_utf8(bytes).unwrap()
    };
    assert!(print(true).contains('\u{1b}'));
    assert!(!print(false).contains('\u{1b}'));
}

#[test]
fn only_the_last_column_is_folded_and_only_where_there_is_room() {
    let folded = |width: u16| {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_width(width);
        table.set_header(["id", "detail"]);
        table.add_row(["0123456789012345678901234567890123456789", "one two three four five six seven eight nine ten"]);
        fold_last_column(&mut table);
        table.trim_fmt()
    };
    let wide = folded(80);
    assert!(wide.contains("0123456789012345678901234567890123456789") && wide.lines().count() > 2, "{wide}");
    assert!(wide.lines().all(|line| line.chars().count() <= 80), "{wide}");
    for narrow in [0, 30, 50] {
        assert_eq!(folded(narrow).lines().count(), 2, "{}", folded(narrow));
    }
}

#[test]
fn a_long_list_is_the_same_list_and_its_table_comes_in_pages() {
    let streamed = |form: Form, count: usize| {
        printed(form, |out| {
            let mut rows = out.rows();
            for _ in 0..count {
                rows.push(Fruit { name: "fig", grams: 9, peeled: false, note: None, seeds: vec![] }).unwrap();
            }
            rows.end().unwrap();
        })
    };
    for count in [0, 1, 2] {
        let array: Vec<Value> = serde_json::from_str(&streamed(Form::Json, count)).unwrap();
        assert_eq!((array.len(), streamed(Form::Jsonl, count).lines().count()), (count, count));
    }
    for (count, lines) in [(0, 1), (1, 2), (500, 501), (501, 503)] {
        assert_eq!(streamed(Form::Table, count).lines().count(), lines, "{count} rows");
    }
}
