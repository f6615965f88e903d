//! The plugin's stack: a WebAssembly module gets 1 MiB by default, of which it would use a tenth; large memory is in
//! statics.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|target| target == "wasm32") {
        println!("cargo:rustc-cdylib-link-arg=-zstack-size=65536");
    }
}
