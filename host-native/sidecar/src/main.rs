//! The `surgetank` program; everything is in the library beside it.

fn main() -> std::process::ExitCode {
    surgetank_sidecar::main()
}
