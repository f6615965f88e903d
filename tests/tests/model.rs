//! Random operations on the engine, against a naive model of it.
//!
use proptest::collection::vec;
use proptest::prelude::*;
use surgetank_tests::model::{Code, play};

fn code() -> impl Strategy<Value = Code> {
    any::<[u8; 8]>()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        max_shrink_iters: 100_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_does_what_its_model_allows(settings in code(), operations in vec(code(), 0..160)) {
        play(settings, &operations);
    }
}
