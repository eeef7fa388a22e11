//! Text files, compressed or not, as the bytes that are in them: read a buffer at a time.

use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;

use super::LoadError;
use crate::progress::Progress;

/// Bytes of a compressed file that are read at a time.
const READ_BYTES: usize = 256 << 10;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

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
        let bar = progress.bytes("reading", file.metadata().map_or(0, |found| found.len()));
        let (source, is_gzip) = decompressed(path, bar.wrap_read(file)).map_err(unreadable)?;
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

/// The bytes of a file, decompressed when its name or its first bytes say that it is compressed; and whether they do.
fn decompressed(path: &Path, mut file: impl Read + 'static) -> io::Result<(Box<dyn Read>, bool)> {
    let mut first = Vec::new();
    file.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut first)?;
    let named_gzip = path.extension().is_some_and(|name| name.eq_ignore_ascii_case("gz"));
    let is_gzip = !first.is_empty() && (named_gzip || first == GZIP_MAGIC);
    let whole = Cursor::new(first).chain(file);
    // The decoder asks for a few bytes at a time.
    Ok(if is_gzip {
        (Box::new(MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, whole))), true)
    } else {
        (Box::new(whole), false)
    })
}
