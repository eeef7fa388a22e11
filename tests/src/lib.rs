//! What the acceptance tests stand on: a real Apache Kafka, the programs as processes, the real data.
#![allow(clippy::missing_panics_doc, reason = "a test that cannot go on panics")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod kafka;
mod programs;

use std::path::{Path, PathBuf};

pub use kafka::{Kafka, Received};
pub use programs::{Run, Running, scorer, start_scorer, trainer};

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of the real history, or `None`, said plainly, where it is absent.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let path = repository().join("../shared/data/online_retail").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: the real data is absent ({})", path.display());
    None
}
