//! The module's stack: the linker's megabyte would be most of what an instance takes.

/// Bytes of stack. What is used at most is a third of it (`ABI.md`, "Memory"), and more traps instead of overwriting.
const STACK_BYTES: u32 = 48 * 1024;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32") {
        println!("cargo:rustc-link-arg-cdylib=-zstack-size={STACK_BYTES}");
    }
}
