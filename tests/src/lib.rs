//! What the acceptance tests and the benchmarks stand on: a real Apache Kafka, the programs as processes, the real
//! data.
#![allow(clippy::missing_panics_doc, reason = "a test that cannot go on panics")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

pub mod browser;
mod certificate;
mod clock;
mod compare;
#[cfg(test)]
mod documents;
mod feed;
pub mod flood;
mod former;
mod group;
pub mod history;
mod json_schema;
mod kafka;
pub mod kill;
#[cfg(test)]
mod leftovers;
mod lines;
pub mod measure;
mod payments;
mod pipeline;
pub mod planted;
mod producer;
mod programs;
mod proxy;
mod records;
mod registry;
mod secured;
mod share;
mod subject;
pub mod timed;
mod topics;
mod trial;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use clock::Clock;
pub use compare::{Difference, TOPICS, compare};
pub use feed::{Feed, Sender};
pub use former::Former;
pub use group::Group;
pub use json_schema::JsonSchema;
pub use kafka::{Kafka, Received};
pub use lines::Lines;
pub use payments::{Cards, Payments};
pub use pipeline::PipelineFile;
pub use producer::Producer;
pub use programs::{
    Run, Running, Spent, build_broken_scorer, build_programs, logged, scorer, start_broken_scorer, start_scorer, train,
    trainer,
};
pub use proxy::Proxy;
pub use records::{Record, Records, Spoilt, Waiting};
pub use registry::Registry;
pub use secured::Secured;
pub use subject::Subject;
pub use trial::Trial;

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of the real history of purchases; `None` where it is missing and tests may be skipped.
pub fn real_data(name: &str) -> Option<PathBuf> {
    requirements::real_data(&format!("online_retail/{name}"))
}

/// A file of the real card payments; `None` where it is missing and tests may be skipped.
pub fn real_transactions(name: &str) -> Option<PathBuf> {
    requirements::real_data(&format!("transactions/{name}"))
}

/// A path as an argument of a program.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Looks again and again until there is something.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {} s in vain for {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}
