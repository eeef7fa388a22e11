//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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

/// A file that is written beside its place, and not there yet; dropped, it leaves no trace.
///
/// A process that is killed leaves its temporary file. It was locked as long as the process lived, so the next one that
/// writes a file of this name finds the lock free and removes what was left.
#[derive(Debug)]
pub struct StagedFile {
    /// Locked until it is dropped.
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl StagedFile {
    /// Begins the temporary file; folders are made.
    ///
    /// # Errors
    /// The first that occurs.
    pub fn create(path: &Path) -> io::Result<Self> {
        let folder = folder_of(path);
        fs::create_dir_all(folder)?;
        let name =
            path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "this is not a file's name"))?;
        let name = name.to_string_lossy();
        remove_abandoned(folder, |left| left == name);
        loop {
            let temporary = folder.join(temporary_name(&name));
            // Somebody else with the same process number, as in another container, may have a file of this name.
            let file = match File::options().write(true).create_new(true).open(&temporary) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                result => result?,
            };
            // A file system without locks keeps what was left.
            let _ = file.lock();
            // Whoever came between the two calls took the file for one that was left.
            if temporary.exists() {
                return Ok(Self { file, temporary, path: path.to_owned() });
            }
        }
    }

    /// Writes the temporary file and syncs it; folders are made.
    ///
    /// # Errors
    /// The first that occurs, of `write` too; the temporary file is then removed.
    pub fn write(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Self> {
        let mut staged = Self::create(path)?;
        write(&mut staged.file)?;
        staged.file.sync_all()?;
        Ok(staged)
    }

    /// The file to write to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Syncs the file and moves it to its place, where an old one goes.
    ///
    /// # Errors
    /// The first that occurs; the old file then stays as it was.
    pub fn publish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        // The rename itself is on disk only once the folder is.
        File::open(folder_of(&self.path))?.sync_all()
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
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

/// Removes the temporary files in `folder` whose process is gone, of the files whose names `is_meant`. That they are gone
/// matters to nobody, so neither does a failure.
pub fn remove_abandoned(folder: &Path, is_meant: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        if name.to_str().and_then(name_of_temporary).is_some_and(&is_meant) {
            let file = File::options().write(true).open(entry.path());
            if file.is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A name that no process has used, as long as it is the only one of its number.
fn temporary_name(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(".{name}.{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// `.data.csv.123-4.tmp` is a temporary file of `data.csv`, and so is `.data.csv.123.tmp`.
fn name_of_temporary(name: &str) -> Option<&str> {
    let (name, numbers) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.splitn(2, '-').all(is_number).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.json");
        let others = [".model.json.tmp", ".model.json.x.tmp", ".other.json.12.tmp", "model.json.12.tmp"];
        for left in others.into_iter().chain([".model.json.12.tmp", ".model.json.12-3.tmp"]) {
            fs::write(folder.path().join(left), "left").unwrap();
        }
        let living = StagedFile::create(&path).unwrap();
        write_atomically(&path, b"new").unwrap();
        let mut expected: Vec<String> = others.map(str::to_owned).to_vec();
        expected
            .extend([living.temporary.file_name().unwrap().to_string_lossy().into_owned(), "model.json".to_owned()]);
        expected.sort();
        assert_eq!(names_in(folder.path()), expected);
        living.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"", "the one that was published last");
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_one_and_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        write_atomically(&path, b"old").unwrap();
        let failure = write_atomically_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failure.unwrap_err().to_string(), "the disk is full");
        assert_eq!((fs::read(&path).unwrap(), names_in(folder.path())), (b"old".to_vec(), vec!["data".to_owned()]));
    }
}
