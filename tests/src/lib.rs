//! Support for the tests in `tests/`; the tests themselves are the binaries there.

pub mod built;
pub mod envoy;
pub mod fuzz;
pub mod model;
pub mod process;
pub mod scenario;
pub mod upstream;
pub mod web;
pub mod world;

pub use surgetank_replay::{body, books};
