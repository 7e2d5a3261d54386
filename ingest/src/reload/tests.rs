//! Changing the configuration under a running door.

use std::fs;
use std::time::Duration;

use runtime::shutdown::Shutdown;

use super::*;
use crate::testing::{FakeLog, TOML, config};

fn app() -> App<FakeLog> {
    App::new(Sources::default(), FakeLog::new(), 16, Shutdown::new())
}

fn state(toml: &str) -> State {
    let running = config(toml);
    State { fingerprint: fingerprint(&running), running, complaint: String::new() }
}

fn load(toml: &str) -> Result<Config, config::Problems> {
    config::parse(toml, Path::new("weir.toml"), std::iter::empty()).map(|loaded| loaded.config)
}

#[test]
fn a_changed_secret_is_a_change_and_an_unchanged_file_is_none() {
    let one = fingerprint(&config(TOML));
    assert_eq!(one, fingerprint(&config(TOML)));
    assert_ne!(one, fingerprint(&config(&TOML.replace("the secret before", "a secret before"))));
    assert_ne!(one, fingerprint(&config(&TOML.replace("4KiB", "5KiB"))));
}

#[test]
fn a_good_file_replaces_the_sources_and_a_bad_one_nothing() {
    let app = app();
    let mut state = state("");
    state.consider(&app, load(TOML), false, true);
    assert_eq!(state.running.sources.len(), config(TOML).sources.len());
    let before = state.fingerprint;
    state.consider(&app, load("[[source]]\nname = \"half"), false, true);
    assert!(state.complaint.contains("cannot be used"), "{}", state.complaint);
    assert_eq!(state.fingerprint, before);
    // The file is as it was again: nothing to complain about.
    state.consider(&app, load(TOML), false, true);
    assert!(state.complaint.is_empty());
}

#[test]
fn sources_that_the_topics_were_not_made_for_are_refused() {
    let app = app();
    let mut state = state(TOML);
    let before = state.fingerprint;
    state.consider(&app, load(&TOML.replace("4KiB", "8MiB")), false, true);
    assert!(state.complaint.contains("weir topics apply"), "{}", state.complaint);
    let longer = TOML.replace("dedup_window = \"1s\"", "dedup_window = \"30d\"");
    state.consider(&app, load(&longer), false, false);
    assert!(state.complaint.contains("window"), "{}", state.complaint);
    assert_eq!(state.fingerprint, before);
    // The topics were made for it meanwhile.
    state.consider(&app, load(&longer), false, true);
    assert!(state.complaint.is_empty(), "{}", state.complaint);
    assert_eq!(state.running.topics.longest_window_ms, 30 * 86_400_000);
}

#[test]
fn what_is_not_reloaded_is_told_apart() {
    let other = format!("[topics]\npartitions = 4\n{TOML}");
    assert_ne!(rest(&config(TOML)), rest(&config(&other)));
    assert_eq!(rest(&config(TOML)), rest(&config(&TOML.replace("4KiB", "5KiB"))));
}

#[tokio::test]
async fn a_changed_file_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weir.toml");
    fs::write(&path, "").expect("written");
    let app = Arc::new(app());
    let running = config("");
    let watched = Arc::clone(&app);
    let file = path.clone();
    let task = tokio::spawn(async move { watch(watched, &file, running).await });
    fs::write(&path, TOML).expect("written");
    let deadline = tokio::time::Instant::now() + limits::RELOAD_PAUSE * 4;
    while app.source_names().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the file was not looked at");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    task.abort();
    assert!(app.source_names().contains(&"stripe".to_owned()));
}
