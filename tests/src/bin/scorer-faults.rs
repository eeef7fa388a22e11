//! The scorer with the flags that break a guarantee, for the tests that have to notice. `scorer` itself has none.

use std::process::ExitCode;

fn main() -> ExitCode {
    scorer::main()
}
