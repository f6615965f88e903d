//! See `surgetank_tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| surgetank_tests::fuzz::run("auth", data));
