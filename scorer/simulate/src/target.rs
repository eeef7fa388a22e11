//! Where a simulation goes.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use whole_files::{StagedFile, folder_of};

/// A place for bytes that knows its name when it fails.
#[derive(Debug)]
pub(super) enum Target {
    /// A file, by the name that the user gave.
    File(PathBuf, BufWriter<StagedFile>),
    /// A file that others may read while it grows.
    Growing(PathBuf, BufWriter<File>),
    /// The standard output.
    StandardOutput(BufWriter<Stdout>),
    /// For what nobody asked for.
    Nowhere,
}

/// A place that did not take the bytes. The sentence is whole: it names the place and the cause.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {target}: {cause}")]
pub struct WriteError {
    /// The file as the user named it, or `the standard output`.
    pub target: String,
    /// What the system said.
    pub cause: io::Error,
}

impl WriteError {
    /// Whether the reader at the other end of a pipe went away, as `| head` does: no fault of anybody.
    pub fn is_broken_pipe(&self) -> bool {
        self.cause.kind() == io::ErrorKind::BrokenPipe
    }
}

impl Target {
    /// A file that will take its name at [`publish`](Self::publish).
    pub(super) fn file(path: &Path) -> Result<Self, WriteError> {
        match StagedFile::create(path) {
            Ok(file) => Ok(Self::File(path.to_path_buf(), BufWriter::new(file))),
            Err(cause) => Err(WriteError { target: path.display().to_string(), cause }),
        }
    }

    /// A file that is begun anew and has its name at once; folders are made.
    pub(super) fn growing(path: &Path) -> Result<Self, WriteError> {
        match fs::create_dir_all(folder_of(path)).and_then(|()| File::create(path)) {
            Ok(file) => Ok(Self::Growing(path.to_path_buf(), BufWriter::new(file))),
            Err(cause) => Err(WriteError { target: path.display().to_string(), cause }),
        }
    }

    /// The standard output of this process.
    pub(super) fn standard_output() -> Self {
        Self::StandardOutput(BufWriter::new(io::stdout()))
    }

    /// Lets `write` write, and adds the name to its error.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) -> Result<(), WriteError> {
        write(self).map_err(|cause| self.failed(cause))
    }

    /// Brings all bytes to where a full disk can no longer refuse them.
    pub(super) fn seal(&mut self) -> Result<(), WriteError> {
        let sealed = match self {
            Self::File(_, file) => file.flush().and_then(|()| file.get_ref().seal()),
            Self::Growing(_, file) => file.flush(),
            Self::StandardOutput(out) => out.flush(),
            Self::Nowhere => Ok(()),
        };
        sealed.map_err(|cause| self.failed(cause))
    }

    /// Gives a file its name; to be called when everything that belongs together is sealed.
    pub(super) fn publish(self) -> Result<(), WriteError> {
        let name = self.to_string();
        match self {
            Self::File(_, file) => {
                let written = file.into_inner().map_err(io::IntoInnerError::into_error);
                written.and_then(StagedFile::publish).map_err(|cause| WriteError { target: name, cause })
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, cause: io::Error) -> WriteError {
        WriteError { target: self.to_string(), cause }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, _) | Self::Growing(path, _) => write!(f, "{}", path.display()),
            Self::StandardOutput(_) => f.write_str("the standard output"),
            Self::Nowhere => f.write_str("nothing"),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(_, file) => file.write(bytes),
            Self::Growing(_, file) => file.write(bytes),
            Self::StandardOutput(out) => out.write(bytes),
            Self::Nowhere => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(_, file) => file.flush(),
            Self::Growing(_, file) => file.flush(),
            Self::StandardOutput(out) => out.flush(),
            Self::Nowhere => Ok(()),
        }
    }
}
