//! Sample data to train on.

use super::{BuiltIn, built_in, find};

static HISTORY: [BuiltIn; 2] =
    [built_in!("resources/training.csv"), built_in!("resources/transactions/training.jsonl.gz")];

/// The sample history that lies here in the repository.
pub fn history(path: &str) -> Option<&'static BuiltIn> {
    find(&HISTORY, path)
}
