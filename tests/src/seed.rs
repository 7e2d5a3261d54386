//! Seeds: every random choice of a run follows from one number that is printed and can be given back with `SEED=`.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

/// The generator of every random choice.
pub type Random = Xoshiro256PlusPlus;

/// The seed in `SEED`, or a new one. It is printed, because a failure without its seed is worth little.
pub fn seed() -> u64 {
    let given = std::env::var("SEED").ok();
    let seed = match given.as_deref().map(str::parse) {
        Some(Ok(seed)) => seed,
        Some(Err(_)) => panic!("SEED is not a number: {}", given.unwrap_or_default()),
        None => rand::random::<u32>().into(),
    };
    eprintln!("SEED={seed}");
    seed
}

/// An independent stream of the seed for each purpose, so that a new choice in one does not move the others.
pub fn random(seed: u64, purpose: &str) -> Random {
    // Not the bytes as they are: the generator's first draws would hardly differ between small seeds.
    Random::seed_from_u64(xxhash_rust::xxh3::xxh3_64_with_seed(purpose.as_bytes(), seed))
}
