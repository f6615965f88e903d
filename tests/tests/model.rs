//! Random operations on the engine, against a naive model of it.
//!
//! The games are the same in every run, so that a pull request is judged by its own change; `PROPTEST_RNG_SEED` plays
//! others.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use surgetank_tests::model::{Code, play};

/// Seed of the games when none is given.
const SEED: u64 = 20_260_101;

fn code() -> impl Strategy<Value = Code> {
    any::<[u8; 8]>()
}

fn seed() -> RngSeed {
    let given = std::env::var("PROPTEST_RNG_SEED").ok();
    RngSeed::Fixed(given.map_or(SEED, |text| text.parse().expect("PROPTEST_RNG_SEED is a number")))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        max_shrink_iters: 100_000,
        failure_persistence: None,
        rng_seed: seed(),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_does_what_its_model_allows(settings in code(), operations in vec(code(), 0..160)) {
        play(settings, &operations);
    }
}
