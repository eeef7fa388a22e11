//! What the programs bring along: pipeline files, sample data, and models that were trained on it.
//!
//! Each kind is a list of its own in a module of its own, and nothing refers to two of them. So the linker leaves out what a
//! program does not ask for: the scorer has no history, and the trainer nothing of what came after it.

mod history;
mod models;
mod pipelines;
mod stream;

pub use history::history;
pub use models::model;
pub use pipelines::{PIPELINES, Samples, Shipped, pipeline};
pub use stream::{labels, stream};

/// A file that is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// Where it lies in the repository. A file of this name in the folder that a program runs in takes its place.
    pub path: &'static str,
    /// What is in it.
    pub bytes: &'static [u8],
}

/// The file of a list that lies here in the repository.
fn find(files: &'static [BuiltIn], path: &str) -> Option<&'static BuiltIn> {
    files.iter().find(|file| file.path == path)
}

/// A file of the repository, by its path.
macro_rules! built_in {
    ($path:literal) => {
        $crate::shipped::BuiltIn {
            path: $path,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $path)),
        }
    };
}
use built_in;
