//! Runs seeds, and tells about a failing one what a person needs: the fewest faults that still fail, the trace, and
//! how to see it again.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::controls::Control;
use crate::oracle::{self, Violation};
use crate::plan::{Mishap, Plan};
use crate::world::World;

/// As many faults as the seed wants.
pub const ALL_FAULTS: u32 = u32::MAX;
/// Lines of a trace that are shown without being asked for.
const LINES: usize = 300;

/// What came of a run.
pub struct Outcome {
    pub faults: Vec<Mishap>,
    pub points: u64,
    pub torn: u64,
    /// Offsets that were found to be set back.
    pub behind: u64,
    /// Records in retry topics, and dead letters that people dealt with.
    pub waited: (usize, usize),
    pub trace: Vec<String>,
    pub result: Result<(), Violation>,
}

/// Runs one seed, with at most some of its faults.
pub fn run(seed: u64, control: Control, faults_max: u32, is_traced: bool) -> Outcome {
    let (mut plan, input) = Plan::of(seed, control);
    plan.budget = plan.budget.min(faults_max);
    let world = World::new((plan, input), control, is_traced);
    world.run();
    end(world)
}

/// Looks at what a run left, and takes the world apart.
pub fn end(world: Rc<World>) -> Outcome {
    let points = *world.points.borrow();
    world.troubles.borrow_mut().clear();
    let result = oracle::check(&world);
    world.shut_down();
    let waited = world.waited();
    let (torn, behind) = (*world.torn.borrow(), world.behind.get());
    Outcome { faults: world.faults.take(), points, torn, behind, waited, trace: world.trace(), result }
}

/// What to print about a seed that fails.
fn explain(seed: u64) -> Option<String> {
    let all = run(seed, Control::None, ALL_FAULTS, false);
    all.result.err()?;
    let most = all.faults.len() as u32;
    let fewest = (0..most).find(|most| run(seed, Control::None, *most, false).result.is_err());
    let Outcome { faults, trace, result, .. } = run(seed, Control::None, fewest.unwrap_or(ALL_FAULTS), true);
    let lines = number("LINES").map_or(LINES, |lines| lines as usize);
    let shown = trace.get(trace.len().saturating_sub(lines)..).unwrap_or_default();
    Some(format!(
        "SEED={seed}: {}\nthe last {} lines of its trace, with {} of {most} faults:\n{}\nfaults: {faults:?}\n\
         again, with more lines: make simulate SEED={seed} LINES=10000",
        result.err().map(|violation| violation.to_string()).unwrap_or_default(),
        shown.len(),
        faults.len(),
        shown.join("\n"),
    ))
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Runs seeds until enough of them or the time is used up; fails at the first that fails.
fn run_many(first: u64, count: u64, time: Duration) {
    let began = Instant::now();
    let (mut seeds, mut points, mut faults, mut torn, mut behind, mut retries, mut letters) = (0, 0, 0, 0, 0, 0, 0);
    for seed in first..first.saturating_add(count) {
        let outcome = run(seed, Control::None, ALL_FAULTS, false);
        if outcome.result.is_err() {
            panic!("{}", explain(seed).expect("a seed does the same again"));
        }
        seeds += 1;
        points += outcome.points;
        faults += outcome.faults.len();
        torn += outcome.torn;
        behind += outcome.behind;
        retries += outcome.waited.0;
        letters += outcome.waited.1;
        if began.elapsed() >= time {
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds from {first}: {faults} faults, {points} calls, {torn} torn effects neutralised, {behind} offsets found behind, {retries} retries, \
         {letters} dead letters dealt with; {seconds:.1} s, \
         {:.0} seeds a minute",
        seeds as f64 / seconds * 60.0
    );
}

/// Without being told how many: for so long.
const TIME: Duration = Duration::from_secs(25);

#[test]
fn simulated_faults_lose_nothing_and_double_nothing() {
    if let Some(seed) = number("SEED") {
        match explain(seed) {
            Some(story) => panic!("{story}"),
            None => println!("SEED={seed} holds"),
        }
    } else if let Some(count) = number("SEEDS") {
        run_many(number("FIRST").unwrap_or(1), count, Duration::MAX);
    } else {
        run_many(1, u64::MAX, TIME);
    }
}

#[test]
fn a_seed_does_the_same_again() {
    for seed in 1..=20 {
        let once = run(seed, Control::None, ALL_FAULTS, true);
        let again = run(seed, Control::None, ALL_FAULTS, true);
        assert_eq!(once.trace, again.trace, "seed {seed}");
    }
}
