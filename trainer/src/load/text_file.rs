//! Text files, compressed or not, as the bytes that are in them: read a buffer at a time.

use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use shared::magic::{self, Foreign};
use shared::pipeline::InputFormat;

use super::LoadError;
use crate::progress::Progress;

/// Bytes of a compressed file that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// A file that is open.
pub(crate) struct TextFile {
    /// Its bytes, decompressed.
    pub source: Box<dyn Read>,
    /// How many of the bytes on disk were read.
    pub bar: ProgressBar,
    /// Whether it is compressed.
    pub is_gzip: bool,
}

impl TextFile {
    pub(crate) fn open(path: &Path, progress: Progress) -> Result<Self, LoadError> {
        let unreadable = |source| LoadError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_or(0, |found| found.len());
        Self::of(path, file, bytes, progress)
    }

    /// Bytes in memory as if they were what the file at `path` holds.
    pub(super) fn of_bytes(path: &Path, bytes: &'static [u8], progress: Progress) -> Result<Self, LoadError> {
        Self::of(path, bytes, bytes.len() as u64, progress)
    }

    fn of(path: &Path, file: impl Read + 'static, bytes: u64, progress: Progress) -> Result<Self, LoadError> {
        let bar = progress.bytes("reading", bytes);
        let Unpacked { source, is_gzip } = unpacked(path, bar.wrap_read(file))?;
        Ok(Self { source, bar, is_gzip })
    }
}

/// The error of a file whose reading gave `source`.
pub(crate) fn failed(path: &Path, is_gzip: bool, source: io::Error) -> LoadError {
    match source.kind() {
        // What the decoder says of bytes that are not, or not all, of a gzip file.
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof if is_gzip => {
            LoadError::Gzip { path: path.to_owned(), source }
        }
        _ => LoadError::Read { path: path.to_owned(), source },
    }
}

/// The bytes of a file, and whether they were compressed.
struct Unpacked {
    source: Box<dyn Read>,
    is_gzip: bool,
}

/// Decompresses a file when its name or its first bytes say that it is compressed.
fn unpacked(path: &Path, file: impl Read + 'static) -> Result<Unpacked, LoadError> {
    let unreadable = |source| failed(path, false, source);
    let (head, source) = with_head(Box::new(file)).map_err(unreadable)?;
    check_kind(path, &head)?;
    let named_gzip = path.extension().is_some_and(|name| name.eq_ignore_ascii_case("gz"));
    if head.is_empty() || !(named_gzip || magic::is_gzip(&head)) {
        return Ok(Unpacked { source, is_gzip: false });
    }
    // The decoder asks for a few bytes at a time.
    let decoder = MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, source));
    let (head, source) = with_head(Box::new(decoder)).map_err(|source| failed(path, true, source))?;
    check_kind(path, &head)?;
    Ok(Unpacked { source, is_gzip: true })
}

/// The first bytes of a file, and all of it.
fn with_head(mut file: Box<dyn Read>) -> io::Result<(Vec<u8>, Box<dyn Read>)> {
    let mut head = Vec::new();
    file.by_ref().take(magic::HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(file))))
}

fn check_kind(path: &Path, head: &[u8]) -> Result<(), LoadError> {
    // What a file of Avro is called says how it is read.
    let is_avro = magic::is_avro(head) && InputFormat::of_file(path) == Some(InputFormat::Avro);
    magic::foreign(head).filter(|_| !is_avro).map_or(Ok(()), |found| Err(foreign(path, found)))
}

fn foreign(path: &Path, Foreign { what, advice }: Foreign) -> LoadError {
    LoadError::Foreign { path: path.to_owned(), what, advice }
}
