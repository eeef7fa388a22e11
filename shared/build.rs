//! Notes what this was compiled with, and for which machine.

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=RUSTC");
    let compiler = var("RUSTC").ok().and_then(|rustc| Command::new(rustc).arg("--version").output().ok());
    let said = compiler.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let rustc = if said.is_empty() { "unknown" } else { &said };
    println!("cargo:rustc-env=BUILT_WITH={rustc}");
    println!("cargo:rustc-env=BUILT_FOR={}", var("TARGET").unwrap_or_else(|_| "unknown".to_owned()));
}
