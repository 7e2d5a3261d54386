//! What must hold in the end, told by readers who know nothing of the processor, and by stores that are taken over
//! once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use processor::books::Place;
use processor::emit::Out;
use schemas::{DeadEvent, VerifiedEvent, identity, resolution};
use weir_tests::history::{self, Expected};

use crate::cluster::Cluster;
use crate::people;
use crate::stores::{Disk, Files};
use crate::topic::Stamped;
use crate::ward::Ill;
use crate::world::World;

/// More turns than the takeover of a whole cluster takes.
const TURNS_MAX: usize = 3_000;

const PLACES: [(Out, Place); 3] = [(Out::Clean, Place::Clean), (Out::Stale, Place::Stale), (Out::Dead, Place::Dead)];

/// What kind of harm was done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Harm {
    /// An event never came out.
    Lost,
    /// One record of the input came out twice.
    Doubled,
    /// A copy, or an event in a wrong place, came out.
    Misplaced,
    /// An event came out before an older one of its resource.
    Reordered,
    /// Sequence numbers have a gap, or one is there twice.
    Numbers,
    /// Dead letters that were resolved are not known to be, or the other way round.
    Resolutions,
    /// Something that a reader saw is gone.
    Vanished,
    /// State or tallies differ from the model.
    State,
    /// A partition gave up.
    Halted,
    /// It never ends.
    Stuck,
}

impl Harm {
    /// The same, for the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Harm::Lost => "an event is lost",
            Harm::Doubled => "an event comes out twice",
            Harm::Misplaced => "a copy comes out",
            Harm::Reordered => "an event overtakes another of its resource",
            Harm::Numbers => "sequence numbers have a gap",
            Harm::Resolutions => "a resolution is missing",
            Harm::Vanished => "what a reader saw is gone",
            Harm::State => "the state is wrong",
            Harm::Halted => "the partition notices and halts",
            Harm::Stuck => "nothing goes on",
        }
    }

    /// Whether a consumer of the outputs can see it.
    pub fn is_visible(self) -> bool {
        self <= Harm::Reordered
    }
}

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub harm: Harm,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.harm.as_str(), self.detail)
    }
}

fn violation(harm: Harm, detail: String) -> Result<(), Violation> {
    Err(Violation { harm, detail })
}

/// A reader of committed records that looks now and then while everything is under way.
#[derive(Default)]
pub struct Reader {
    read: BTreeMap<(Out, i32), Vec<(i64, Stamped)>>,
}

impl Reader {
    /// Reads what is new.
    pub fn read_on(&mut self, cluster: &Cluster) {
        for (out, _) in PLACES {
            for (partition, log) in cluster.partitions(out) {
                let read = self.read.entry((out, partition)).or_default();
                let from = read.last().map_or(0, |(offset, _)| offset + 1);
                read.extend(log.committed(from).map(|(offset, record)| (offset, record.clone())));
            }
        }
    }

    /// What was read once must still be there, and nothing may have come before it.
    fn compare(&self, cluster: &Cluster) -> Result<(), Violation> {
        for ((out, partition), read) in &self.read {
            let now = cluster.log((*out, *partition)).committed(0).take(read.len());
            if !now.eq(read.iter().map(|(offset, record)| (*offset, record))) {
                return violation(Harm::Vanished, format!("from partition {partition} of {out:?}"));
            }
        }
        Ok(())
    }
}

/// Compares everything with the model.
pub fn check(world: &Rc<World>) -> Result<(), Violation> {
    if let Some(violation) = world.violation.borrow().clone() {
        return Err(violation);
    }
    let ills = world.plan.borrow().ills;
    if ills.is_repaired {
        return check_repaired(world);
    }
    let judgement = |event_id: &str| Ill::of(event_id, ills).judgement();
    let expected = history::expect_with(&world.cluster.borrow().input, &judgement);
    let disks = world.shut_down();
    world.cluster.borrow_mut().drain();
    world.say(|| "the end; what is left is looked at".to_owned());
    check_outputs(&world.cluster.borrow(), &expected)?;
    world.reader.borrow().compare(&world.cluster.borrow())?;
    let workers = world.plan.borrow().workers;
    for (slot, disk) in (workers..).zip(std::iter::once(Disk::default()).chain(disks)) {
        take_over_once_more(world, slot, &disk)?;
        check_state(&disk.borrow(), &expected, ills.share == 0)?;
    }
    check_outputs(&world.cluster.borrow(), &expected)
}

fn check_outputs(cluster: &Cluster, expected: &Expected) -> Result<(), Violation> {
    let found = places(cluster, true)?;
    let found: BTreeMap<(i32, i64), Place> = found.into_iter().map(|((src, _), place)| (src, place)).collect();
    if let Some((src, place)) = expected.places.iter().find(|(src, _)| !found.contains_key(src)) {
        return violation(Harm::Lost, format!("{src:?} is not in {place:?}"));
    }
    if let Some((src, place)) = found.iter().find(|(src, place)| expected.places.get(src) != Some(place)) {
        return violation(Harm::Misplaced, format!("{src:?} is in {place:?}"));
    }
    check_numbers(cluster)?;
    let resolutions = cluster.log((Out::Resolutions, 0)).committed(0);
    let resolved: BTreeSet<_> =
        resolutions.map(|(_, record)| String::from_utf8_lossy(&record.key).into_owned()).collect();
    if resolved != expected.resolved {
        return violation(Harm::Resolutions, format!("{resolved:?}, expected {:?}", expected.resolved));
    }
    Ok(())
}

/// Where events came out, by source and generation.
type Places = BTreeMap<((i32, i64), u64), Place>;

/// Where each record of the input came out.
fn places(cluster: &Cluster, is_ordered: bool) -> Result<Places, Violation> {
    let mut found = BTreeMap::new();
    for (out, place) in PLACES {
        for (_, log) in cluster.partitions(out) {
            let mut last: BTreeMap<&[u8], i64> = BTreeMap::new();
            for (_, record) in log.committed(0) {
                let src = record.src.expect("every record has its source");
                if found.insert((src, record.generation), place).is_some() {
                    violation(Harm::Doubled, format!("{src:?}"))?;
                }
                let is_in_turn = out == Out::Clean && record.generation == 0;
                let before = if is_in_turn { last.insert(&record.key, src.1) } else { None };
                if let Some(before) = before.filter(|before| is_ordered && *before > src.1) {
                    violation(Harm::Reordered, format!("{src:?} after offset {before}"))?;
                }
            }
        }
    }
    Ok(found)
}

/// For each partition of the input the numbers must be 1 to n.
fn check_numbers(cluster: &Cluster) -> Result<(), Violation> {
    let mut numbers: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    for (_, log) in cluster.partitions(Out::Clean) {
        for (_, record) in log.committed(0) {
            let (partition, _) = record.src.expect("every record has its source");
            numbers.entry(partition).or_default().push(record.seq.expect("every clean record has a number"));
        }
    }
    for (partition, mut numbers) in numbers {
        numbers.sort_unstable();
        if !numbers.iter().copied().eq(1..=numbers.len() as u64) {
            return violation(Harm::Numbers, format!("of partition {partition}: {numbers:?}"));
        }
    }
    Ok(())
}

/// Where people repair and redrive, and events overtake, who comes when is a matter of time. Whatever the order: each
/// event passes once at most, none is lost, and no dead letter that can be helped is left.
fn check_repaired(world: &Rc<World>) -> Result<(), Violation> {
    let ills = world.plan.borrow().ills;
    let disks = world.shut_down();
    world.cluster.borrow_mut().drain();
    world.say(|| "the end; what is left is looked at".to_owned());
    let left = world.letters();
    if !left.is_empty() {
        return violation(Harm::Resolutions, format!("nobody dealt with the dead letters at {left:?}"));
    }
    world.reader.borrow().compare(&world.cluster.borrow())?;
    check_numbers(&world.cluster.borrow())?;
    check_passes(world)?;
    let workers = world.plan.borrow().workers;
    for (slot, disk) in (workers..).zip(std::iter::once(Disk::default()).chain(disks)) {
        take_over_once_more(world, slot, &disk)?;
        check_tallies(world, &disk.borrow())?;
    }
    places(&world.cluster.borrow(), !ills.is_overtaking).map(drop)
}

fn check_passes(world: &Rc<World>) -> Result<(), Violation> {
    let ills = world.plan.borrow().ills;
    let cluster = world.cluster.borrow();
    let found = places(&cluster, !ills.is_overtaking)?;
    let discarded: BTreeSet<String> = world
        .resolutions()
        .into_iter()
        .filter(|resolution| resolution.result == resolution::Outcome::Discarded)
        .map(|resolution| resolution.dead_id)
        .collect();
    let mut passed: BTreeMap<identity::Hash128, Vec<(i32, i64)>> = BTreeMap::new();
    let mut may_lack = BTreeSet::new();
    for (partition, log) in &cluster.input {
        for (offset, record) in (0_i64..).zip(log) {
            let Ok(event) = VerifiedEvent::decode(&record.value) else { continue };
            let hash = identity::event_hash(event.source, event.identity);
            let src = (*partition, offset);
            let passes = passed.entry(hash).or_default();
            passes.extend(
                found.range((src, 0)..=(src, u64::MAX)).filter(|(_, place)| **place != Place::Dead).map(|_| src),
            );
            let is_discarded = discarded.iter().any(|id| id.starts_with(&format!("{partition}-{offset}-")));
            let is_unwanted = Ill::of(event.event_id, ills) == Ill::Unwanted;
            // Dropped as stale, discarded, or a defect of its own.
            let is_dropped = event.stale == schemas::verified_event::StaleMode::Drop;
            if is_discarded || is_unwanted || is_dropped || event.defect.is_some() {
                may_lack.insert(hash);
            }
        }
    }
    for (hash, passes) in passed {
        if passes.len() > 1 {
            return violation(Harm::Doubled, format!("one event passes at {passes:?}"));
        }
        if passes.is_empty() && !may_lack.contains(&hash) {
            return violation(Harm::Lost, format!("{hash:?} passes nowhere"));
        }
    }
    Ok(())
}

/// The books balance, nobody waits, and what is dead is what no one can help.
fn check_tallies(world: &Rc<World>, files: &Files) -> Result<(), Violation> {
    let cluster = world.cluster.borrow();
    let resolved: BTreeSet<String> = world.resolutions().into_iter().map(|resolution| resolution.dead_id).collect();
    for (partition, log) in &cluster.input {
        let content = files.content(*partition).expect("it was taken over");
        let sum = |place: Place| content.tallies.iter().filter(|(_, of, _)| *of == place).map(|(.., n)| n).sum::<u64>();
        let dead = cluster.log((Out::Dead, *partition)).committed(0).filter(|(_, record)| {
            let dead = DeadEvent::decode(&record.value).expect("our own record");
            assert!(people::is_beyond_help(dead.reason) || resolved.contains(dead.dead_id));
            !resolved.contains(dead.dead_id)
        });
        let dead = dead.count() as u64;
        let clean = cluster
            .partitions(Out::Clean)
            .flat_map(|(_, log)| log.committed(0))
            .filter(|(_, record)| record.src.is_some_and(|(of, _)| of == *partition))
            .count() as u64;
        let found =
            (content.tallies.total(), sum(Place::Parked), sum(Place::Retrying), sum(Place::Dead), sum(Place::Clean));
        let expected = (log.len() as u64, 0, 0, dead, clean);
        if found != expected {
            return violation(
                Harm::State,
                format!("records, parked, retrying, dead, clean of {partition}: {found:?}, expected {expected:?}"),
            );
        }
    }
    Ok(())
}

/// A new process takes every partition over with the state on this disk.
fn take_over_once_more(world: &Rc<World>, slot: usize, disk: &Disk) -> Result<(), Violation> {
    for before in 0..slot {
        world.cluster.borrow_mut().group.remove(before);
    }
    let me = world.start(slot, Rc::clone(disk));
    let mut has_all = false;
    for _ in 0..TURNS_MAX {
        has_all = has_all || world.has_all(me);
        if has_all {
            // What waits in memory reaches the disk.
            world.ask_to_stop(me);
        }
        if !world.turn(me) {
            break;
        }
    }
    if let Some(violation) = world.violation.borrow().clone() {
        return Err(violation);
    }
    if !has_all {
        return violation(Harm::Stuck, "the last takeover".to_owned());
    }
    world.shut_down();
    Ok(())
}

fn check_state(files: &Files, expected: &Expected, is_exact: bool) -> Result<(), Violation> {
    for (partition, known) in &expected.state {
        let content = files.content(*partition).expect("it was taken over");
        let tallies = &expected.tallies[partition];
        if content.tallies != *tallies {
            let detail = format!("tallies of {partition}: {:?}, expected {tallies:?}", content.tallies);
            return violation(Harm::State, detail);
        }
        let found = content.known();
        // When those that waited were through is a matter of time.
        if is_exact && known.now > 0 && found != *known {
            return violation(Harm::State, format!("of {partition}: {found:?}, expected {known:?}"));
        }
    }
    Ok(())
}
