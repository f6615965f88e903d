//! Runs compiled tests of the module in a browser: what the program `wasm-bindgen-test-runner` does, without installing
//! it. Cargo calls it with the tests' file; it finds the browser's driver (`chromedriver`) on the path.

use std::process::ExitCode;

fn main() -> ExitCode {
    match wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
