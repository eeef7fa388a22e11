//! A file that is there whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is written under a temporary name beside its target and takes the target's name at the end.
///
/// [`seal`](Self::seal) brings the bytes to the disk, [`publish`](Self::publish) renames: with several files,
/// seal all of them before publishing the first, so that a full disk leaves none. Dropped unpublished, it
/// removes what it wrote, and a file that stood at the target before still stands there.
#[derive(Debug)]
pub(super) struct WholeFile {
    writer: BufWriter<File>,
    target: PathBuf,
    /// `None` when the target is no regular file (`/dev/null`, a pipe): those must not be replaced by one.
    temporary: Option<PathBuf>,
}

impl WholeFile {
    /// Opens the temporary file beside `path`.
    ///
    /// # Errors
    /// When the directory is missing or not writable, or when `path` is a directory.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        // Through a symbolic link, so that the file it points to is replaced and not the link.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if target.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let replaceable = fs::metadata(&target).map_or(true, |found| found.is_file());
        let temporary = replaceable.then(|| temporary_beside(&target));
        let file = match &temporary {
            Some(temporary) => File::create(temporary)?,
            None => File::options().write(true).open(&target)?,
        };
        Ok(Self { writer: BufWriter::new(file), target, temporary })
    }

    /// Brings everything written so far to the disk.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        match self.temporary {
            Some(_) => self.writer.get_ref().sync_all(),
            None => Ok(()), // a device or a pipe has no disk to sync to
        }
    }

    /// Gives the file its name, in one step that a crash cannot halve.
    pub(super) fn publish(mut self) -> io::Result<()> {
        self.seal()?;
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.target)?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Nobody is left to tell: a temporary file that will not go away does no harm under its odd name.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// `data.csv` -> `.data.csv.<pid>.tmp`, in the same directory, because a rename does not cross file systems.
fn temporary_beside(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(directory: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(directory).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name()).collect()
    }

    #[test]
    fn a_file_is_not_there_before_it_is_published() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("data.csv");
        let mut file = WholeFile::create(&path).expect("created");
        file.write_all(b"whole").expect("written");
        file.seal().expect("sealed");
        assert!(!path.exists());
        file.publish().expect("published");
        assert_eq!(fs::read(&path).expect("there"), b"whole");
        assert_eq!(names_in(directory.path()), ["data.csv"]);
    }

    #[test]
    fn an_unpublished_file_leaves_the_old_one_and_no_trace() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("data.csv");
        fs::write(&path, "old").expect("written");
        let mut file = WholeFile::create(&path).expect("created");
        file.write_all(b"half").expect("written");
        drop(file);
        assert_eq!(fs::read(&path).expect("there"), b"old");
        assert_eq!(names_in(directory.path()), ["data.csv"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (path, link) = (directory.path().join("data.csv"), directory.path().join("link"));
        fs::write(&path, "old").expect("written");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        let mut file = WholeFile::create(&link).expect("created");
        file.write_all(b"new").expect("written");
        file.publish().expect("published");
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).expect("there"), b"new");
    }

    #[test]
    fn a_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let error = WholeFile::create(directory.path()).expect_err("a directory");
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_is_written_and_not_replaced() {
        let mut file = WholeFile::create(Path::new("/dev/full")).expect("opened");
        file.write_all(b"lost").expect("still in the buffer");
        let error = file.publish().expect_err("the disk is full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(!Path::new("/dev/full").is_file());
    }
}
