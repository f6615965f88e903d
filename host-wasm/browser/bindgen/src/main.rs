//! Takes a compiled module apart into the module that is shipped and the JavaScript that loads it: what the program
//! `wasm-bindgen` does, without installing it.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(module), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: surgetank-browser-bindgen MODULE.wasm FOLDER");
        return ExitCode::FAILURE;
    };
    let generated = Bindgen::new().input_path(module).web(true).and_then(|bindgen| {
        bindgen
            .typescript(false)
            .omit_default_module_path(true)
            .out_name("engine")
            .generate(folder)
    });
    match generated {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
