//! Dead letters of every kind and in great numbers, through the real `weir` and a real worker.

use std::path::Path;

use processor::books::Place;
use schemas::Topic;
use serde_json::{Value, json};
use weir_tests::cluster::Cluster;
use weir_tests::memory::{self, Watched};
use weir_tests::process::Process;

use crate::rig::Waited;
use crate::scene::{Said, Scene, record, resource_in};

/// What `weir dead` may take more for ten times as many letters, as docs/cli.md says.
const GROWTH: u64 = 32 << 20;
const LITTLE: u32 = 10_000;
const MUCH: u32 = 100_000;
/// One record in so many cannot be read at all.
const GARBAGE: u32 = 20;
/// How many resources each source has.
const RESOURCES: u32 = 50;

/// The open letters.
fn list(scene: &Scene) -> Said {
    scene.weir(&["dead", "list", "--state", "dead", "-o", "jsonl"])
}

/// Two events wait, and their records are lost meanwhile. The worker that found that out goes on.
async fn lose(name: &str, events: [(u32, &str); 2]) -> (Scene, Process) {
    let scene = Scene::new(name, "delays = [\"2s\"]\nattempts = 50").await;
    scene.feed(&events);
    let process = scene.stay("a");
    scene.wait("two that wait", |scene| if scene.hops().len() == 2 { Ok(()) } else { Err("none".to_owned()) }).await;
    process.kill().expect("killed");
    scene.rig.truncate(&Topic::Verified).await;
    let process = scene.stay("a");
    scene.wait("two lost ones", |scene| if list(scene).rows.len() == 2 { Ok(()) } else { Err(list(scene).text) }).await;
    (scene, process)
}

#[tokio::test]
async fn an_event_whose_record_was_lost_can_be_given_up_and_the_books_say_so() {
    let (scene, process) = lose("lost", [(1, "fails-1"), (2, "fails-2")]).await;
    let rows = list(&scene).rows;
    assert!(rows.iter().all(|row| row["reason"] == "record_lost" && row["source"] == "alpha"), "{rows:?}");
    let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    // There is nothing to run again, and it says so in the same books.
    let said = scene.weir(&["dead", "redrive", ids[0], "--note", "hope", "--yes"]);
    assert_eq!(said.rows[0]["result"], json!("dead"), "{}", said.text);
    let again = said.rows[0]["new_dead_id"].as_str().expect("an id").to_owned();
    for id in [&again, ids[1]] {
        let said = scene.weir(&["dead", "discard", id, "--note", "gone", "--yes"]);
        assert_eq!((said.code, &said.rows[0]["result"]), (Some(0), &json!("discarded")), "{}", said.text);
    }
    assert_eq!(list(&scene).rows.len(), 0);
    process.kill().expect("killed");
    let books = scene.rig.store_tallies("a");
    let sum = |source: &str, place| books.values().map(|tallies| tallies.get(source, place)).sum::<u64>();
    assert_eq!((sum("alpha", Place::Dead), sum("alpha", Place::Discarded)), (0, 2), "{books:?}");
    assert_eq!((sum("unknown", Place::Dead), sum("unknown", Place::Discarded)), (0, 0), "{books:?}");
}

#[tokio::test]
async fn an_event_whose_record_was_lost_can_be_delivered_again() {
    let (once, late) = ((resource_in(0, 0), "fails-1"), (resource_in(1, 0), "fails-2"));
    let (mut scene, process) = lose("lost-again", [once, late]).await;
    process.kill().expect("killed");
    // One is delivered again, and waits again before it passes; nobody delivers the other until it was given up.
    let hops = |scene: &Scene| scene.hops()["fails-1"].len();
    let before = hops(&scene);
    scene.feed(&[once]);
    let process = scene.stay("a");
    scene.wait("its hops", |scene| if hops(scene) > before { Ok(()) } else { Err("none".to_owned()) }).await;
    process.kill().expect("killed");
    scene.mend();
    let process = scene.stay("a");
    scene.wait("one left", |scene| if list(scene).rows.len() == 1 { Ok(()) } else { Err(list(scene).text) }).await;
    let said = scene.weir(&["dead", "discard", "1-0-0", "--note", "gone", "--yes"]);
    assert_eq!((said.code, &said.rows[0]["result"]), (Some(0), &json!("discarded")), "{}", said.text);
    scene.feed(&[late, once]);
    scene.rig.wait_for_no_lag("a").await;
    process.kill().expect("killed");
    // The store has what was committed once a process ends in order that had something to do with each partition.
    scene.feed(&[late, once]);
    assert_eq!(scene.rig.run("a", "-", "-").await, Waited::Code(0), "{}", scene.rig.log("a"));
    assert_eq!(scene.clean(), ["fails-1"]);
    let books = scene.rig.store_tallies("a");
    let sum = |place| books.values().map(|tallies| tallies.get("alpha", place)).sum::<u64>();
    assert_eq!([Place::Clean, Place::Duplicate, Place::Discarded, Place::Dead].map(sum), [1, 5, 1, 0], "{books:?}");
}

/// A letter of the crowd: its source, resource and event id.
fn letter(n: u32) -> (&'static str, u32, String) {
    (["alpha", "beta"][(n % 2) as usize], n / 2 % RESOURCES, format!("rejected-{n}"))
}

/// Appends letters to be, and waits until they are dead.
async fn kill(scene: &Scene, numbers: std::ops::Range<u32>) {
    let process = scene.stay("a");
    scene.rig.append(numbers.map(|n| {
        let (source, resource, id) = letter(n);
        let (partition, key, value) = record(source, resource, &id);
        (partition, key, if is_read(n) { value } else { b"not an event".to_vec() })
    }));
    scene.rig.wait_for_no_lag("a").await;
    process.kill().expect("killed");
    scene.rig.settle(&Topic::Dead);
}

/// Runs `weir dead …` and reads what it printed.
fn watch(scene: &Scene, arguments: &[&str]) -> (Watched, Vec<Value>) {
    let output = scene.rig.file("out");
    let arguments = [&["dead"], arguments, &["-o", "jsonl"]].concat();
    let watched = memory::watch(scene.rig.weir(&arguments), &output).expect("it runs");
    let rows = read(&output);
    let errors = std::fs::read_to_string(output.with_extension("err")).unwrap_or_default();
    assert_eq!(watched.code, Some(0), "{arguments:?}\n{errors}");
    (watched, rows)
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("written before");
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// Whether an event can be read.
fn is_read(n: u32) -> bool {
    !n.is_multiple_of(GARBAGE)
}

/// Whether [`work`] redrives a letter.
fn is_redriven(n: u32) -> bool {
    let (source, resource, _) = letter(n);
    is_read(n) && source == "beta" && !resource.is_multiple_of(2)
}

/// Whether [`work`] discards a letter.
fn is_discarded(n: u32) -> bool {
    let (source, resource, _) = letter(n);
    is_read(n) && source == "alpha" && resource == 8
}

/// Lists, filters and plans the dead letters there are, which are these, and redrives and discards some of them. What
/// each command took.
async fn work(scene: &mut Scene, dead: &[u32]) -> Vec<(&'static str, Watched)> {
    let count = |fits: fn(u32) -> bool| dead.iter().filter(|n| fits(**n)).count();
    let (list, rows) = watch(scene, &["list", "--state", "dead"]);
    assert_eq!(rows.len(), dead.len());

    let (counts, rows) = watch(scene, &["list", "--state", "dead", "--counts"]);
    let counted = |row: &Value| row["count"].as_u64().unwrap_or_default() as usize;
    let of = |source: Value| rows.iter().filter(|row| row["source"] == source).map(counted).sum::<usize>();
    assert_eq!(of(Value::Null), count(|n| !is_read(n)));
    assert_eq!(of(json!("beta")), count(|n| is_read(n) && letter(n).0 == "beta"));

    let filter = ["list", "--state", "dead", "--source", "beta", "--type", "thing.created", "--resource", "thing|7"];
    let filter = [&filter[..], &["--reason", "handler_rejected", "--since", "1h"]].concat();
    let (filtered, rows) = watch(scene, &filter);
    assert_eq!(rows.len(), count(|n| is_read(n) && letter(n).0 == "beta" && letter(n).1 == 7));
    assert!(rows.iter().all(|row| row["resource"] == "thing|7" && row["source"] == "beta"));

    let (plan, rows) = watch(scene, &["redrive", "--all", "--note", "test", "--dry-run"]);
    assert_eq!(rows[0]["letters"].as_u64(), Some(dead.len() as u64));

    scene.mend();
    let process = scene.stay("a");
    let wanted =
        ["redrive", "--source", "beta", "--type", "*.created", "--note", "mended", "--rate", "1000000", "--yes"];
    let (redrive, rows) = watch(scene, &wanted);
    assert_eq!(rows.iter().filter(|row| row["result"] == "redriven").count(), count(is_redriven));
    let wanted = ["discard", "--source", "alpha", "--resource", "thing|8", "--note", "given up", "--yes"];
    let (discard, rows) = watch(scene, &wanted);
    assert_eq!(rows.iter().filter(|row| row["result"] == "discarded").count(), count(is_discarded));
    process.kill().expect("killed");
    vec![
        ("list", list),
        ("list --counts", counts),
        ("list with filters", filtered),
        ("redrive --dry-run", plan),
        ("redrive", redrive),
        ("discard", discard),
    ]
}

#[tokio::test]
async fn a_hundred_thousand_dead_letters_take_no_more_memory_than_ten_thousand() {
    let settings = "[retry]\ndelays = [\"5s\"]\n[processor]\nsession_timeout = \"6s\"\ncommit_interval = \"20ms\"\n";
    let mut scene = Scene::with_settings("crowd", settings).await;
    kill(&scene, 0..LITTLE).await;
    let little = work(&mut scene, &(0..LITTLE).collect::<Vec<_>>()).await;
    scene.break_again();
    kill(&scene, LITTLE..MUCH).await;
    let is_dead = |n: &u32| *n >= LITTLE || !(is_redriven(*n) || is_discarded(*n));
    let much = work(&mut scene, &(0..MUCH).filter(is_dead).collect::<Vec<_>>()).await;
    let mib = |bytes: u64| bytes >> 20;
    for ((name, little), (_, much)) in little.iter().zip(&much) {
        eprintln!(
            "weir dead {name}: {LITTLE} letters {:.2} s, {} MiB; {MUCH} letters {:.2} s, {} MiB",
            little.seconds,
            mib(little.peak),
            much.seconds,
            mib(much.peak)
        );
    }
    for ((name, little), (_, much)) in little.iter().zip(&much) {
        memory::is_flat(little.peak, much.peak, GROWTH).unwrap_or_else(|error| panic!("weir dead {name}: {error}"));
    }
}

/// Nothing is dropped because there is nowhere to put it, and nobody is taken for a killer because of that.
#[tokio::test]
async fn while_no_dead_letter_can_be_written_what_should_die_waits() {
    let scene = Scene::new("no-dead", "delays = [\"2s\"]\nattempts = 50").await;
    // Room for the mark of a transaction's end, and for no letter: as good as no right to write.
    let limit = async |bytes| {
        let topic = scene.rig.topic(&Topic::Dead);
        let configured = Cluster::new(&scene.rig.brokers).configure(&topic, "max.message.bytes", bytes).await;
        configured.expect("a reachable broker");
    };
    limit("200").await;
    scene.feed(&[(resource_in(0, 0), "rejected-1"), (resource_in(0, 1), "good-1")]);
    let mut process = scene.stay("a");
    // More takeovers than a record is allowed that processes die of: three, and three alone.
    let tries = |scene: &Scene| match scene.rig.log("a").matches("stepper: took over 0 ").count() {
        0..=6 => Err(scene.rig.log("a")),
        _ => Ok(()),
    };
    scene.wait("that it is tried", tries).await;
    assert_eq!(scene.rig.lag(), 2);
    assert_eq!(process.ended().expect("looked at"), None, "{}", scene.rig.log("a"));
    limit("1048576").await;
    scene.rig.wait_for_no_lag("a").await;
    process.kill().expect("killed");
    scene.settle();
    let dead = scene.dead();
    assert_eq!((dead.len(), dead["rejected-1"].reason.as_str()), (1, "handler_rejected"), "{dead:?}");
    assert_eq!(scene.clean(), ["good-1"]);
}
