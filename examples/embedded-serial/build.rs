//! The memory that the program may use, and the linker script of `cortex-m-rt`. The board (MPS2 with AN386, in QEMU) has
//! megabytes; a budget that a linker enforces is kept.

use std::path::PathBuf;

const MEMORY: &str =
    "MEMORY { FLASH : ORIGIN = 0x00000000, LENGTH = 96K  RAM : ORIGIN = 0x20000000, LENGTH = 20K }\n";

fn main() {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    std::fs::write(folder.join("memory.x"), MEMORY).expect("the folder can be written to");
    println!("cargo:rustc-link-search={}", folder.display());
    println!("cargo:rustc-link-arg=-Tlink.x");
    println!("cargo:rerun-if-changed=build.rs");
}
