//! Sample data to score: what came after the history, and what is known of it.

use super::{BuiltIn, built_in, find};

static STREAM: [BuiltIn; 2] =
    [built_in!("resources/production.csv"), built_in!("resources/transactions/production.jsonl.gz")];

static LABELS: [BuiltIn; 1] = [built_in!("resources/production_labels.csv")];

/// The sample of a stream that lies here in the repository.
pub fn stream(path: &str) -> Option<&'static BuiltIn> {
    find(&STREAM, path)
}

/// The labels of such a sample, where they lie here in the repository.
pub fn labels(path: &str) -> Option<&'static BuiltIn> {
    find(&LABELS, path)
}
