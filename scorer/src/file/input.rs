//! A file that is read from its beginning to its end, unpacked on the way, or standard input: never held as a whole.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use shared::magic::{self, Foreign};
use shared::pipeline::InputFormat;
use shared::shipped::BuiltIn;

use super::FileError;

/// Bytes of a compressed file that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// Bytes that tell most kinds of files.
const LEAST_HEAD_BYTES: usize = 16;

/// Bytes of a file's first line that are looked at: no message of ours is as long.
const LONGEST_FIRST_LINE: usize = 64 << 20;

/// The bytes of a file, of a `.gz` file unpacked, or of standard input for `-`.
pub struct InputFile {
    path: PathBuf,
    source: Box<dyn Read + Send>,
    position: Position,
    is_built_in: bool,
}

/// How far a file has been read.
#[derive(Debug, Clone, Default)]
pub struct Position {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Position {
    /// Bytes on disk that were read.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes on disk that there are, where it is a file.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

impl InputFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`FileError::Read`], naming the file.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        if path == Path::new("-") {
            return Self::unpacked(path, Position::default(), Box::new(io::stdin()));
        }
        let file = File::open(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        let total = file.metadata().ok().filter(|found| found.is_file()).map(|found| found.len());
        let position = Position { total, ..Position::default() };
        let counted = Counted { source: file, read: Arc::clone(&position.read) };
        Self::unpacked(path, position, Box::new(counted))
    }

    /// The file that lies where a built-in one is named after, in the folder that the program runs in; where there is none, the
    /// built-in one.
    ///
    /// # Errors
    /// As [`InputFile::open`].
    pub fn open_or_built_in(file: &'static BuiltIn) -> Result<Self, FileError> {
        let path = Path::new(file.path);
        if path.exists() {
            return Self::open(path);
        }
        let position = Position { total: Some(file.bytes.len() as u64), ..Position::default() };
        let counted = Counted { source: file.bytes, read: Arc::clone(&position.read) };
        Ok(Self { is_built_in: true, ..Self::unpacked(path, position, Box::new(counted))? })
    }

    /// The file, unpacked if its name or its first bytes say that it is compressed.
    fn unpacked(path: &Path, position: Position, source: Box<dyn Read + Send>) -> Result<Self, FileError> {
        let (head, source) = with_head(path, source)?;
        check_kind(path, &head)?;
        let is_named = path.extension().is_some_and(|extension| extension == "gz");
        if head.is_empty() || !(is_named || magic::is_gzip(&head)) {
            return Ok(Self::of(path, position, source));
        }
        // The decoder asks for a few bytes at a time.
        let decoder = MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, source));
        let (head, source) = with_head(path, Box::new(decoder))?;
        check_kind(path, &head)?;
        Ok(Self::of(path, position, source))
    }

    /// Bytes in memory as if they were what the file at `path` holds.
    pub fn of_bytes(path: &Path, bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::of(path, Position::default(), Cursor::new(bytes))
    }

    fn of(path: &Path, position: Position, source: impl Read + Send + 'static) -> Self {
        Self { path: path.to_owned(), source: Box::new(source), position, is_built_in: false }
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is built into the program.
    pub fn is_built_in(&self) -> bool {
        self.is_built_in
    }

    /// How far it has been read, now and later.
    pub fn position(&self) -> Position {
        self.position.clone()
    }

    /// The first line that is not blank, without its end; what was read to find it is read again.
    ///
    /// # Errors
    /// [`FileError::Read`].
    pub fn first_line(&mut self) -> Result<Vec<u8>, FileError> {
        let mut head = Vec::<u8>::new();
        // Where the line begins, once something other than blanks has come, and how far its end was looked for.
        let (mut start, mut searched) = (0, 0);
        let line = loop {
            start += head[start..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            searched = start.max(searched);
            if let Some(length) = head[searched..].iter().position(|&byte| byte == b'\n') {
                break &head[start..searched + length];
            }
            searched = head.len();
            let read = self.source.by_ref().take(READ_BYTES as u64).read_to_end(&mut head);
            let read = read.map_err(|source| FileError::Read { path: self.path.clone(), source })?;
            if read == 0 || head.len() > LONGEST_FIRST_LINE {
                break &head[start..];
            }
        };
        let line = line.trim_ascii().to_vec();
        let rest = std::mem::replace(&mut self.source, Box::new(io::empty()));
        self.source = Box::new(Cursor::new(head).chain(rest));
        Ok(line)
    }
}

/// The first bytes of a file, and all of it.
fn with_head(path: &Path, mut source: Box<dyn Read + Send>) -> Result<(Vec<u8>, Box<dyn Read + Send>), FileError> {
    let (mut head, mut read) = (vec![0; magic::HEAD_BYTES], 0);
    // A pipe is not waited for longer than for what tells most kinds.
    while read < LEAST_HEAD_BYTES {
        match source.read(&mut head[read..]) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(FileError::Read { path: path.to_owned(), source }),
        }
    }
    head.truncate(read);
    Ok((head.clone(), Box::new(Cursor::new(head).chain(source))))
}

/// Verdicts may be read from Parquet; other kinds of files are none that is read.
fn check_kind(path: &Path, head: &[u8]) -> Result<(), FileError> {
    // What a file of Avro is called says how it is read.
    let is_avro = magic::is_avro(head) && InputFormat::of_file(path) == Some(InputFormat::Avro);
    magic::foreign(head).filter(|_| !is_avro).map_or(Ok(()), |found| Err(foreign(path, found)))
}

fn foreign(path: &Path, Foreign { what, advice }: Foreign) -> FileError {
    FileError::Foreign { path: path.to_owned(), what, advice }
}

impl Read for InputFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer)
    }
}

impl std::fmt::Debug for InputFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InputFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A file whose bytes are counted as they are read.
struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_looked_at_and_nothing_is_lost() {
        let large = [vec![b'\n'; READ_BYTES], b"{\"a\":1}\r\nsecond\n".to_vec()].concat();
        for (bytes, first) in [
            (b"".to_vec(), ""),
            (b"\n \r\n\t\n".to_vec(), ""),
            (b"\n  one \ntwo".to_vec(), "one"),
            (b"only".to_vec(), "only"),
            (large, "{\"a\":1}"),
        ] {
            let mut file = InputFile::of_bytes(Path::new("f"), bytes.clone());
            assert_eq!(file.first_line().unwrap(), first.as_bytes());
            let mut all = Vec::new();
            file.read_to_end(&mut all).unwrap();
            assert_eq!(all, bytes);
        }
    }

    #[test]
    fn a_built_in_file_is_read_as_one_on_disk_is() {
        // The tests run in the folder of the crate, where no file has this name.
        let file = shared::shipped::stream("resources/transactions/production.jsonl.gz").unwrap();
        let mut built_in = InputFile::open_or_built_in(file).unwrap();
        let position = built_in.position();
        assert!(built_in.is_built_in());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file.path);
        let mut on_disk = InputFile::open(&path).unwrap();
        assert!(!on_disk.is_built_in());
        let mut texts = [String::new(), String::new()];
        built_in.read_to_string(&mut texts[0]).unwrap();
        on_disk.read_to_string(&mut texts[1]).unwrap();
        assert_eq!(texts[0], texts[1]);
        assert_eq!((position.read(), position.total()), (file.bytes.len() as u64, Some(file.bytes.len() as u64)));
    }

    #[test]
    fn a_packed_file_is_unpacked_and_its_position_is_that_on_disk() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.csv.gz");
        let packed = |text: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(text).unwrap();
            packer.finish().unwrap()
        };
        let bytes = [packed(b"a,b\n"), packed(&b"1,2\n".repeat(100_000))].concat();
        std::fs::write(&path, &bytes).unwrap();
        let mut file = InputFile::open(&path).unwrap();
        let position = file.position();
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        assert_eq!((text.len(), &text[..8]), (400_004, &b"a,b\n1,2\n"[..]));
        assert_eq!((position.read(), position.total()), (bytes.len() as u64, Some(bytes.len() as u64)));
        // Cut short, it ends in an error and not in fewer lines.
        std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        assert!(InputFile::open(&path).unwrap().read_to_end(&mut Vec::new()).is_err());
        assert!(InputFile::open(&folder.path().join("none")).unwrap_err().to_string().starts_with("cannot read "));
    }
}
