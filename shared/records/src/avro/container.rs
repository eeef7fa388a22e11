//! Files of Avro: a schema, then blocks of records, each compressed or not ("object container files" of the specification).

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::Arc;

use flate2::read::DeflateDecoder;
use thiserror::Error;

use super::cursor::Cursor;
use super::schema::{Schema, SchemaError};

const MAGIC: &[u8] = b"Obj\x01";

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// The largest block, packed or not, and the longest value of the header: writers make blocks of some megabytes at most.
const MOST_BYTES: usize = 256 << 20;

/// Why a file of Avro cannot be read.
#[derive(Debug, Error)]
pub enum AvroFileError {
    /// It begins as another kind of file.
    #[error("it does not begin as an Avro file does")]
    NotAvro,
    /// Its schema cannot be used.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// It is compressed in a way that is not known here.
    #[error("its blocks are compressed by {0:?}: write it with deflate, snappy or zstandard")]
    Codec(String),
    /// Its bytes are not what they should be.
    #[error("it is damaged after record {after}: {problem}")]
    Damaged {
        /// How many records could be read.
        after: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

/// A record of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvroRecord<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its bytes.
    pub raw: &'a [u8],
}

/// The records of a file. Memory holds one buffer of the file and one block.
#[derive(Debug)]
pub struct AvroFile<R> {
    source: BufReader<R>,
    schema: Arc<Schema>,
    codec: Codec,
    sync: [u8; 16],
    /// The block as it stands in the file, and unpacked.
    packed: Vec<u8>,
    block: Vec<u8>,
    /// Where the next record begins in the block, and how many are left.
    at: usize,
    left: u64,
    /// How many records were read.
    n_records: u64,
}

impl<R: Read> AvroFile<R> {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// [`AvroFileError`], where it is no such file or its schema cannot be used.
    pub fn new(source: R) -> Result<Self, AvroFileError> {
        let mut source = BufReader::with_capacity(READ_BYTES, source);
        let mut magic = [0; 4];
        source.read_exact(&mut magic).map_err(|error| ended(error, AvroFileError::NotAvro))?;
        if magic != MAGIC {
            return Err(AvroFileError::NotAvro);
        }
        let broken = || AvroFileError::Damaged { after: 0, problem: "its header has no end" };
        let (mut schema, mut codec) = (None, None);
        loop {
            let mut count = long(&mut source)?.ok_or_else(broken)?;
            if count == 0 {
                break;
            }
            if count < 0 {
                count = count.checked_neg().ok_or_else(broken)?;
                long(&mut source)?.ok_or_else(broken)?;
            }
            for _ in 0..count {
                let (key, value) = (bytes(&mut source, broken)?, bytes(&mut source, broken)?);
                match &key[..] {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = Some(value),
                    _ => {}
                }
            }
        }
        let schema = schema.ok_or(AvroFileError::Damaged { after: 0, problem: "its header has no schema" })?;
        let schema = Arc::new(Schema::parse(&String::from_utf8_lossy(&schema), &[])?);
        let codec = match codec.as_deref() {
            None | Some(b"null" | b"") => Codec::Null,
            Some(b"deflate") => Codec::Deflate,
            Some(b"snappy") => Codec::Snappy,
            Some(b"zstandard") => Codec::Zstandard,
            Some(other) => return Err(AvroFileError::Codec(String::from_utf8_lossy(other).into_owned())),
        };
        let mut sync = [0; 16];
        source.read_exact(&mut sync).map_err(|error| ended(error, broken()))?;
        let (packed, block) = (Vec::new(), Vec::new());
        Ok(Self { source, schema, codec, sync, packed, block, at: 0, left: 0, n_records: 0 })
    }

    /// What its records were written with.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The next record, or `None` at the end of the file.
    ///
    /// # Errors
    /// [`AvroFileError::Damaged`] where the bytes that follow are no record, and what reading gives.
    // A lending iterator: the record lives in a buffer that the next call reuses.
    pub fn next_record(&mut self) -> Result<Option<AvroRecord<'_>>, AvroFileError> {
        while self.left == 0 {
            if self.at < self.block.len() {
                return Err(self.damaged("a block has more bytes than its records"));
            }
            if !self.next_block()? {
                return Ok(None);
            }
        }
        let start = self.at;
        let mut cursor = Cursor::new(&self.block[start..]);
        if cursor.skip(&self.schema, self.schema.root()).is_err() {
            return Err(self.damaged("what follows is no record of its schema"));
        }
        self.at = start + cursor.at();
        self.left -= 1;
        self.n_records += 1;
        Ok(Some(AvroRecord { number: self.n_records, raw: &self.block[start..self.at] }))
    }

    /// Reads a block; whether there was one.
    fn next_block(&mut self) -> Result<bool, AvroFileError> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let (count, size) = (long(&mut self.source)?, long(&mut self.source)?);
        let (Some(Ok(count)), Some(size)) = (count.map(u64::try_from), size) else {
            return Err(self.damaged("a block does not say how large it is"));
        };
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= MOST_BYTES) else {
            return Err(self.damaged("a block would be larger than 256 MiB"));
        };
        self.packed.clear();
        self.source.by_ref().take(size as u64).read_to_end(&mut self.packed)?;
        let mut sync = [0; 16];
        let is_whole =
            self.packed.len() == size && self.source.read_exact(&mut sync).map(|()| true).or_else(not_there)?;
        if !is_whole {
            return Err(self.damaged("the file ends within a block"));
        }
        if sync != self.sync {
            return Err(self.damaged("a block does not end where it should"));
        }
        if !self.unpack() {
            return Err(self.damaged("a block cannot be unpacked"));
        }
        // Records without bytes could be any number.
        if self.schema.is_empty(self.schema.root()) && count > 0 {
            return Err(self.damaged("its records are empty"));
        }
        (self.at, self.left) = (0, count);
        Ok(true)
    }

    /// Unpacks the block; whether that could be done.
    fn unpack(&mut self) -> bool {
        let Self { packed, block, codec, .. } = self;
        block.clear();
        let most = MOST_BYTES as u64;
        match codec {
            Codec::Null => {
                std::mem::swap(packed, block);
                true
            }
            Codec::Deflate => {
                let read = DeflateDecoder::new(packed.as_slice()).take(most + 1).read_to_end(block);
                read.is_ok_and(|read| read <= MOST_BYTES)
            }
            Codec::Snappy => {
                // Behind the bytes stands their checksum.
                let Some((packed, checksum)) = packed.split_last_chunk::<4>() else { return false };
                if snap::raw::decompress_len(packed).map_or(true, |len| len > MOST_BYTES) {
                    return false;
                }
                match snap::raw::Decoder::new().decompress_vec(packed) {
                    Ok(unpacked) => *block = unpacked,
                    Err(_) => return false,
                }
                crc32fast::hash(block) == u32::from_be_bytes(*checksum)
            }
            Codec::Zstandard => {
                let decoder = zstd::stream::read::Decoder::new(packed.as_slice());
                let read = decoder.and_then(|decoder| decoder.take(most + 1).read_to_end(block));
                read.is_ok_and(|read| read <= MOST_BYTES)
            }
        }
    }

    fn damaged(&self, problem: &'static str) -> AvroFileError {
        AvroFileError::Damaged { after: self.n_records, problem }
    }
}

/// An end of the file is this error; any other is what reading gives.
fn ended(error: io::Error, otherwise: AvroFileError) -> AvroFileError {
    if error.kind() == ErrorKind::UnexpectedEof { otherwise } else { error.into() }
}

fn not_there(error: io::Error) -> io::Result<bool> {
    if error.kind() == ErrorKind::UnexpectedEof { Ok(false) } else { Err(error) }
}

/// A number, or `None` where there is none.
fn long(source: &mut impl BufRead) -> io::Result<Option<i64>> {
    let mut read = Vec::with_capacity(10);
    for byte in source.by_ref().bytes().take(10) {
        let byte = byte?;
        read.push(byte);
        if byte < 0x80 {
            break;
        }
    }
    Ok(Cursor::new(&read).long().ok())
}

/// Bytes after their number.
fn bytes(source: &mut impl BufRead, broken: impl Fn() -> AvroFileError) -> Result<Vec<u8>, AvroFileError> {
    let size = long(source)?.and_then(|size| usize::try_from(size).ok());
    let size = size.filter(|size| *size <= MOST_BYTES).ok_or_else(&broken)?;
    let mut bytes = Vec::new();
    source.take(size as u64).read_to_end(&mut bytes)?;
    if bytes.len() == size { Ok(bytes) } else { Err(broken()) }
}
