//! The `scorer` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    scorer::main()
}
