//! The list of providers, as it is printed.

use super::*;
use crate::args::OutputArgs;
use crate::output::Form;

fn printed(command: &ProvidersCommand, form: Form) -> (Result<Exit, Failure>, String) {
    let mut bytes = Vec::new();
    let mut out = Output::new(Box::new(&mut bytes), Some(form), false, false);
    let result = run(command, &mut out);
    drop(out);
    (result, String::from_utf8(bytes).unwrap())
}

#[test]
fn the_list_is_the_recorded_one() {
    let (result, text) = printed(&ProvidersCommand::List(OutputArgs::default()), Form::Table);
    assert_eq!(result.unwrap(), Exit::Done);
    let expected = include_str!("../../../fixtures/providers.txt");
    assert_eq!(text, expected, "if this is right, put it into cli/fixtures/providers.txt:\n{text}");
}

#[test]
fn every_provider_can_be_shown_with_a_source_to_copy() {
    for preset in Preset::all() {
        let command = ProvidersCommand::Show { name: preset.name.to_owned(), output: OutputArgs::default() };
        let (result, text) = printed(&command, Form::Json);
        assert_eq!(result.unwrap(), Exit::Done);
        let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), Shown::COLUMNS.len());
        let example = shown["example"].as_str().unwrap();
        let variable = example.split('"').nth(5).unwrap().to_owned();
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
        let loaded = runtime::config::parse(example, "weir.toml".as_ref(), [(variable, secret)]);
        assert!(loaded.is_ok(), "{example}\n{}", loaded.unwrap_err());
    }
}

#[test]
fn an_unknown_provider_is_exit_1_with_the_names_there_are() {
    let command = ProvidersCommand::Show { name: "githab".to_owned(), output: OutputArgs::default() };
    let failure = printed(&command, Form::Json).0.unwrap_err();
    assert_eq!(failure.exit, Exit::No);
    assert!(failure.to_string().contains("github"), "{failure}");
}
