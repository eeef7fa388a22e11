//! Writing what was computed: everything or, when anything goes wrong, nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use shared::model::{Model, ModelFiles, StagedFile, remove_other_weights};
use thiserror::Error;

/// A file that cannot be written.
#[derive(Debug, Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct OutputError {
    path: PathBuf,
    source: io::Error,
}

/// Files to be written together.
#[derive(Default)]
pub struct Output<'a> {
    files: Vec<(PathBuf, WriteContent<'a>)>,
    /// Models, by their `model.json`, and the file of weights that each has beside it.
    models: Vec<(PathBuf, Option<String>)>,
}

/// Writes the content of a file.
type WriteContent<'a> = Box<dyn Fn(&mut File) -> io::Result<()> + 'a>;

impl<'a> Output<'a> {
    /// Adds a file.
    pub fn add(&mut self, path: PathBuf, bytes: Vec<u8>) {
        self.add_written(path, move |file| file.write_all(&bytes));
    }

    /// Adds a file that is too large to be held: `write` produces its content.
    pub fn add_written(&mut self, path: PathBuf, write: impl Fn(&mut File) -> io::Result<()> + 'a) {
        self.files.push((path, Box::new(write)));
    }

    /// Adds a model's files under the folder of all models. The file of weights comes first: the old model is whole until
    /// the new one is.
    pub fn add_model(&mut self, models: &Path, model: &Model) {
        let path = Model::path(models, &model.pipeline, &model.detector);
        let ModelFiles { json, weights } = model.files();
        self.models.push((path.clone(), weights.as_ref().map(|(name, _)| name.clone())));
        if let Some((name, bytes)) = weights {
            self.add(path.with_file_name(name), bytes);
        }
        self.add(path, json.into_bytes());
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
        let stage = |(path, write): &(PathBuf, WriteContent<'a>)| {
            StagedFile::write(path, write).map_err(|source| failed(path, source))
        };
        let staged: Vec<StagedFile> = self.files.iter().map(stage).collect::<Result<_, _>>()?;
        for (file, path) in staged.into_iter().zip(self.paths()) {
            file.publish().map_err(|source| failed(path, source))?;
        }
        for (path, weights) in &self.models {
            remove_other_weights(path, weights.as_deref());
        }
        Ok(())
    }
}
