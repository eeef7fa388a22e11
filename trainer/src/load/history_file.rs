//! A file of history: one on disk, or a sample that is built into the program.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use shared::shipped::BuiltIn;

use super::LoadError;
use super::text_file::TextFile;
use crate::progress::Progress;

/// A file of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryFile {
    path: PathBuf,
    /// What is in it, where it is built in.
    built_in: Option<&'static [u8]>,
}

impl HistoryFile {
    /// The file that lies where a built-in one is named after, in the folder that the program runs in; where there is none, the
    /// built-in one.
    pub fn on_disk_or(file: &'static BuiltIn) -> Self {
        let path = PathBuf::from(file.path);
        let built_in = (!path.exists()).then_some(file.bytes);
        Self { path, built_in }
    }

    /// Bytes on disk, or in the program.
    pub(super) fn bytes(&self) -> u64 {
        match self.built_in {
            Some(bytes) => bytes.len() as u64,
            None => fs::metadata(&self.path).map_or(0, |found| found.len()),
        }
    }

    /// The text in it.
    pub(super) fn open(&self, progress: Progress) -> Result<TextFile, LoadError> {
        match self.built_in {
            Some(bytes) => TextFile::of_bytes(&self.path, bytes, progress),
            None => TextFile::open(&self.path, progress),
        }
    }
}

impl AsRef<Path> for HistoryFile {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl From<PathBuf> for HistoryFile {
    fn from(path: PathBuf) -> Self {
        Self { path, built_in: None }
    }
}

impl From<&Path> for HistoryFile {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl fmt::Display for HistoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let built_in = if self.built_in.is_some() { " (built in)" } else { "" };
        write!(f, "{}{built_in}", self.path.display())
    }
}
