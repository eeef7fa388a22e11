//! Writing what was computed: everything or, when anything goes wrong, nothing.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use shared::model::StagedFile;
use thiserror::Error;

/// A file that cannot be written.
#[derive(Debug, Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct OutputError {
    path: PathBuf,
    source: io::Error,
}

/// Files to be written together.
#[derive(Debug, Default)]
pub struct Output {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Output {
    /// Adds a file.
    pub fn add(&mut self, path: PathBuf, bytes: Vec<u8>) {
        self.files.push((path, bytes));
    }

    /// The files in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// Writes all files beside their places and only then moves them there, in order; folders are made.
    ///
    /// # Errors
    /// [`OutputError`] of the first file that cannot be written.
    pub fn write(&self) -> Result<(), OutputError> {
        let failed = |path: &Path, source| OutputError { path: path.to_owned(), source };
        let stage = |(path, bytes): &(PathBuf, Vec<u8>)| {
            StagedFile::write(path, |file| file.write_all(bytes)).map_err(|source| failed(path, source))
        };
        let staged: Vec<StagedFile> = self.files.iter().map(stage).collect::<Result<_, _>>()?;
        for (file, path) in staged.into_iter().zip(self.paths()) {
            file.publish().map_err(|source| failed(path, source))?;
        }
        Ok(())
    }
}
