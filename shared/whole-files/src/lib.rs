//! Files that are there whole or not at all: models, reports, verdicts, samples.

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
/// With several files, [`seal`](Self::seal) all of them before the first is [published](Self::publish), so that a full disk
/// leaves none. What a symbolic link points to is replaced, and not the link. What is no regular file, as a pipe or
/// `/dev/stdout`, is written at once, because no file may take its place.
///
/// A process that is killed leaves its temporary file. It was locked as long as the process lived, so the next one that
/// writes a file of this name finds the lock free and removes what was left.
#[derive(Debug)]
pub struct StagedFile {
    /// Locked until it is dropped.
    file: File,
    /// Where it is written. None where that is its place.
    temporary: Option<PathBuf>,
    path: PathBuf,
}

impl StagedFile {
    /// Begins the temporary file; folders are made.
    ///
    /// # Errors
    /// The first that occurs, or that there is a folder of this name.
    pub fn create(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
            Ok(found) if !found.is_file() => {
                let file = File::options().write(true).open(&path)?;
                return Ok(Self { file, temporary: None, path });
            }
            _ => {}
        }
        let folder = folder_of(&path);
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
                return Ok(Self { file, temporary: Some(temporary), path });
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
        staged.seal()?;
        Ok(staged)
    }

    /// The file to write to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Brings everything that was written to the disk.
    ///
    /// # Errors
    /// Of the file system.
    pub fn seal(&self) -> io::Result<()> {
        // A device or a pipe has no disk to sync to.
        if self.temporary.is_some() { self.file.sync_all() } else { Ok(()) }
    }

    /// Syncs the file and moves it to its place, where an old one goes.
    ///
    /// # Errors
    /// The first that occurs; the old file then stays as it was.
    pub fn publish(mut self) -> io::Result<()> {
        self.seal()?;
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        if let Err(error) = fs::rename(&temporary, &self.path) {
            self.temporary = Some(temporary);
            return Err(error);
        }
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
        if let Some(temporary) = &self.temporary {
            // Nobody is left to tell, and the next process removes it.
            let _ = fs::remove_file(temporary);
        }
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
        expected.extend([
            living.temporary.as_ref().unwrap().file_name().unwrap().to_string_lossy().into_owned(),
            "model.json".to_owned(),
        ]);
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

    #[test]
    fn a_file_is_not_there_before_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("data.csv");
        let mut file = StagedFile::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        file.seal().unwrap();
        assert!(!path.exists());
        file.publish().unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), names_in(path.parent().unwrap())),
            (b"whole".to_vec(), vec!["data.csv".to_owned()])
        );
    }

    #[test]
    fn an_unpublished_file_leaves_the_old_one_and_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        fs::write(&path, "old").unwrap();
        let mut file = StagedFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!((fs::read(&path).unwrap(), names_in(folder.path())), (b"old".to_vec(), vec!["data.csv".to_owned()]));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("data.csv"), folder.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_atomically(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = StagedFile::create(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        assert!(folder.path().is_dir());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_is_written_and_not_replaced() {
        let full = write_atomically(Path::new("/dev/full"), b"lost").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        write_atomically(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!Path::new("/dev/full").is_file() && !Path::new("/dev/null").is_file());
    }
}
