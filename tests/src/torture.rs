//! The torture run: a real cluster of three nodes, real processes, and faults in all of them at once, drawn from a
//! seed. In the end readers that share nothing with Weir must find every event in its place, exactly once.
//!
//! What is chosen follows from the seed; when the system lets it happen does not. The same seed brings the same
//! events and the same order of faults, never the same interleaving.

// The system under torture.
pub mod nodes;
pub mod proxy;
pub mod weather;
pub mod clock;
pub mod fleet;
// Who tortures it.
pub mod journal;
pub mod actors;
// What came of it.
pub mod views;
pub mod verdict;
pub mod states;
pub mod burden;
pub mod control;
pub mod evidence;
// All of it.
pub mod run;
