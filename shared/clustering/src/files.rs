//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file through a temporary one beside it, which is synced and then renamed; folders are made.
///
/// # Errors
/// The first that occurs; the temporary file is removed and an old file stays as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically_with(path, |file| file.write_all(bytes))
}

/// As [`write_atomically`], for content that is produced as it is written.
///
/// # Errors
/// The first that occurs, of `write` too.
pub fn write_atomically_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    StagedFile::write(path, write)?.publish()
}

/// A file that is written and synced beside its place, and not there yet; dropped, it leaves no trace.
#[derive(Debug)]
pub struct StagedFile {
    temporary: PathBuf,
    path: PathBuf,
}

impl StagedFile {
    /// Writes the temporary file; folders are made.
    ///
    /// # Errors
    /// The first that occurs, of `write` too; the temporary file is then removed.
    pub fn write(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Self> {
        let folder = folder_of(path);
        fs::create_dir_all(folder)?;
        let name =
            path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "this is not a file's name"))?;
        let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let staged = Self { temporary, path: path.to_owned() };
        let mut file = File::create(&staged.temporary)?;
        write(&mut file)?;
        file.sync_all()?;
        Ok(staged)
    }

    /// Moves the file to its place, where an old one goes.
    ///
    /// # Errors
    /// The first that occurs; the old file then stays as it was.
    pub fn publish(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        // The rename itself is on disk only once the folder is.
        File::open(folder_of(&self.path))?.sync_all()
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // Once it was moved there is nothing to remove, and that is as it should be.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
