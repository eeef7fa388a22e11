//! Rows of scaled features in memory or, where there are more than fit, in a file: written once, read in order as often
//! as an algorithm passes over them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use thiserror::Error;

use crate::matrix::Matrix;

/// Bytes of a float32.
const VALUE: usize = size_of::<f32>();

/// Blocks have a multiple of so many rows, so that a kernel's own blocks never straddle two of them.
const ROWS_A_BLOCK: usize = 4096;

/// About how large a block is that is read from a file: large enough for every core to have work while it lasts.
const BLOCK_BYTES: usize = 4 << 20;

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// float32 rows of one width, in memory or, past a budget, in an unnamed temporary file.
///
/// The file has no name, so nothing is left of it however the program ends. It holds the rows one after the other,
/// little-endian.
#[derive(Debug)]
pub struct RowStore {
    n_features: usize,
    n_samples: usize,
    /// Rows of a block that is read from a file.
    block_rows: usize,
    rows: Stored,
}

#[derive(Debug)]
enum Stored {
    Memory(Matrix),
    /// Locked for each read: a file has one position.
    File(Mutex<File>),
}

/// Takes rows as they come; see [`RowStore`].
#[derive(Debug)]
pub struct RowStoreBuilder {
    n_features: usize,
    max_bytes: Option<u64>,
    n_samples: usize,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Memory(Vec<f32>),
    File(SpillWriter),
}

/// Why rows that do not fit in memory cannot be kept in a file either.
#[derive(Debug, Error)]
pub enum SpillError {
    /// There is no file to write to.
    #[error(
        "cannot make a temporary file in {} for rows that do not fit in memory: {cause}; set TMPDIR to a folder that can \
         be written to, or allow more memory",
        folder.display()
    )]
    Create {
        /// The folder of temporary files.
        folder: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// The disk is full, or fails.
    #[error(
        "cannot write rows that do not fit in memory to a temporary file in {}: {cause}; it had {written} bytes and needs \
         at least {needed}: set TMPDIR to a folder with more room, or allow more memory",
        folder.display()
    )]
    Write {
        /// The folder of temporary files.
        folder: PathBuf,
        /// Bytes that were written before.
        written: u64,
        /// Bytes of the rows that came so far; more may follow.
        needed: u64,
        /// What the system says.
        cause: String,
    },
    /// What was written cannot be read.
    #[error("cannot read row {row} back from a temporary file in {}: {cause}", folder.display())]
    Read {
        /// The folder of temporary files.
        folder: PathBuf,
        /// The first row that was asked for, from 0.
        row: usize,
        /// What the system says.
        cause: String,
    },
}

impl RowStore {
    /// The rows of a matrix, in memory.
    pub fn from_matrix(matrix: Matrix) -> Self {
        let (n_features, n_samples) = (matrix.n_features(), matrix.n_samples());
        Self { n_features, n_samples, block_rows: block_rows(n_features), rows: Stored::Memory(matrix) }
    }

    /// How many rows.
    pub fn n_samples(&self) -> usize {
        self.n_samples
    }

    /// How many values a row has.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Bytes of all rows, wherever they are.
    pub fn bytes(&self) -> u64 {
        (self.n_samples * self.n_features * VALUE) as u64
    }

    /// Whether the rows are in a file.
    pub fn is_spilled(&self) -> bool {
        matches!(self.rows, Stored::File(_))
    }

    /// Most bytes of memory that the store takes: all rows, or what [`for_each_block`](Self::for_each_block) needs to
    /// read them from a file.
    pub fn memory(&self) -> u64 {
        // Two blocks go round between reader and visitor, and the reader has the bytes of one.
        let reading = 3 * self.block_rows * self.n_features * VALUE;
        if self.is_spilled() { reading as u64 } else { self.bytes() }
    }

    /// All values, row by row, when they are in memory: `(n_samples, n_features)`.
    pub fn as_slice(&self) -> Option<&[f32]> {
        match &self.rows {
            Stored::Memory(matrix) => Some(matrix.values()),
            Stored::File(_) => None,
        }
    }

    /// All rows in memory: no copy where they are there already.
    ///
    /// # Errors
    /// [`SpillError::Read`] as an [`io::Error`].
    pub fn into_matrix(self) -> io::Result<Matrix> {
        let Self { rows: Stored::Memory(matrix), .. } = self else {
            let mut values = Vec::with_capacity(self.n_samples * self.n_features);
            self.for_each_block(|_, rows| -> io::Result<()> {
                values.extend_from_slice(rows);
                Ok(())
            })?;
            return Ok(Matrix::from_values(self.n_features, values));
        };
        Ok(matrix)
    }

    /// Calls `visit` with the index of a block's first row and the block's rows, one after the other, in order.
    ///
    /// In memory there is one block, which has every row. From a file come blocks of a multiple of 4096 rows, the last one
    /// shorter, and a thread reads the next while `visit` works on one. Without any row, `visit` is not called.
    ///
    /// # Errors
    /// The first of `visit`, or [`SpillError::Read`] as an [`io::Error`]; no block follows either.
    pub fn for_each_block<E: From<io::Error>>(
        &self,
        mut visit: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.rows {
            Stored::Memory(matrix) if self.n_samples > 0 => visit(0, matrix.values()),
            Stored::Memory(_) => Ok(()),
            Stored::File(file) => self.visit_file(file, visit),
        }
    }

    /// Copies row `index` to `into`.
    ///
    /// # Errors
    /// [`SpillError::Read`] as an [`io::Error`].
    ///
    /// # Panics
    /// When there is no such row, or `into` has another length.
    pub fn row(&self, index: usize, into: &mut [f32]) -> io::Result<()> {
        assert!(index < self.n_samples, "row {index} of {}", self.n_samples);
        assert_eq!(into.len(), self.n_features, "room for one value a feature");
        match &self.rows {
            Stored::Memory(matrix) => into.copy_from_slice(matrix.row(index)),
            Stored::File(file) => self.read_rows(file, index, &mut vec![0; into.len() * VALUE], into)?,
        }
        Ok(())
    }

    fn visit_file<E: From<io::Error>>(
        &self,
        file: &Mutex<File>,
        mut visit: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (to_visit, blocks) = sync_channel(1);
        let (to_fill, free) = sync_channel(2);
        thread::scope(|scope| {
            scope.spawn(move || self.read_ahead(file, &free, &to_visit));
            // Both ends of the channels are moved in here: who leaves by an error or a panic drops them, and the reader ends.
            let (blocks, to_fill) = (blocks, to_fill);
            for _ in 0..2 {
                // The reader can only be gone after it has said why.
                let _ = to_fill.send(Vec::new());
            }
            for block in &blocks {
                let (first_row, values): (usize, Vec<f32>) = block?;
                visit(first_row, &values)?;
                let _ = to_fill.send(values);
            }
            Ok(())
        })
    }

    /// Fills the buffers that come from `free` with one block after the other, until all were read or nobody listens.
    fn read_ahead(&self, file: &Mutex<File>, free: &Receiver<Vec<f32>>, next: &SyncSender<io::Result<Block>>) {
        let mut bytes = Vec::new();
        for first_row in (0..self.n_samples).step_by(self.block_rows) {
            let Ok(mut values) = free.recv() else { return };
            let len = self.block_rows.min(self.n_samples - first_row) * self.n_features;
            values.resize(len, 0.0);
            bytes.resize(len * VALUE, 0);
            let block = self.read_rows(file, first_row, &mut bytes, &mut values).map(|()| (first_row, values));
            let is_last = block.is_err();
            if next.send(block).is_err() || is_last {
                return;
            }
        }
    }

    /// Reads as many rows as `values` has room for; `bytes` is where they are read to first.
    fn read_rows(&self, file: &Mutex<File>, first_row: usize, bytes: &mut [u8], values: &mut [f32]) -> io::Result<()> {
        let start = (first_row * self.n_features * VALUE) as u64;
        // A panic of another reader leaves nothing behind but a position, and each read sets its own.
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(bytes));
        drop(file);
        read.map_err(|source| {
            let (folder, cause) = (std::env::temp_dir(), source.to_string());
            io::Error::new(source.kind(), SpillError::Read { folder, row: first_row, cause })
        })?;
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
            *value = f32::from_le_bytes(*bytes);
        }
        Ok(())
    }
}

fn block_rows(n_features: usize) -> usize {
    let groups = BLOCK_BYTES / (ROWS_A_BLOCK * n_features * VALUE);
    ROWS_A_BLOCK * groups.max(1)
}

/// The index of its first row, and its rows.
type Block = (usize, Vec<f32>);

impl RowStoreBuilder {
    /// A store of rows with `n_features` values each, in memory up to `max_bytes` of them and in a file when there are
    /// more.
    ///
    /// # Panics
    /// When a row would have no value.
    pub fn new(n_features: usize, max_bytes: Option<u64>) -> Self {
        assert!(n_features > 0, "a row has values");
        Self { n_features, max_bytes, n_samples: 0, target: Target::Memory(Vec::new()) }
    }

    /// Adds a row: `(n_features)`.
    ///
    /// # Errors
    /// [`SpillError`] as an [`io::Error`] when the row has to go to a file and cannot.
    ///
    /// # Panics
    /// When the row has another length.
    pub fn push(&mut self, row: &[f32]) -> io::Result<()> {
        assert_eq!(row.len(), self.n_features, "a row has one value a feature");
        self.extend(row)
    }

    /// Adds the rows that `rows` holds one after the other: `(any, n_features)`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    ///
    /// # Panics
    /// When `rows` does not hold whole rows.
    pub fn extend(&mut self, rows: &[f32]) -> io::Result<()> {
        assert!(rows.len().is_multiple_of(self.n_features), "whole rows of {} features", self.n_features);
        self.n_samples += rows.len() / self.n_features;
        if let Target::Memory(values) = &mut self.target {
            let most = self.max_bytes.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX) / VALUE);
            if values.len().saturating_add(rows.len()) <= most {
                reserve_within(values, rows.len(), most);
                values.extend_from_slice(rows);
                return Ok(());
            }
            self.target = Target::File(spill(std::mem::take(values))?);
        }
        match &mut self.target {
            Target::File(writer) => writer.write(rows),
            Target::Memory(_) => Ok(()),
        }
    }

    /// Bytes of memory that the rows take so far.
    pub fn memory(&self) -> u64 {
        match &self.target {
            Target::Memory(values) => (values.capacity() * VALUE) as u64,
            Target::File(writer) => writer.buffer.capacity() as u64,
        }
    }

    /// The store of all rows.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(self) -> io::Result<RowStore> {
        let Self { n_features, n_samples, target, .. } = self;
        let rows = match target {
            Target::Memory(mut values) => {
                values.shrink_to_fit();
                Stored::Memory(Matrix::from_values(n_features, values))
            }
            Target::File(writer) => Stored::File(Mutex::new(writer.finish()?)),
        };
        Ok(RowStore { n_features, n_samples, block_rows: block_rows(n_features), rows })
    }
}

/// Makes room for `more` values: twice as much as before, which costs little a value, but never more than `most`.
fn reserve_within(values: &mut Vec<f32>, more: usize, most: usize) {
    let needed = values.len() + more;
    if needed > values.capacity() {
        let wanted = needed.max(values.capacity().saturating_mul(2)).min(most);
        values.reserve_exact(wanted - values.len());
    }
}

/// Moves the rows that were in memory to a temporary file.
fn spill(values: Vec<f32>) -> io::Result<SpillWriter> {
    let folder = std::env::temp_dir();
    let file = tempfile::tempfile_in(&folder).map_err(|source| {
        let (kind, cause) = (source.kind(), source.to_string());
        io::Error::new(kind, SpillError::Create { folder: folder.clone(), cause })
    })?;
    let mut writer = SpillWriter::new(file, folder);
    writer.write(&values)?;
    Ok(writer)
}

/// Writes values to a file, many at a time.
#[derive(Debug)]
struct SpillWriter {
    file: File,
    folder: PathBuf,
    buffer: Vec<u8>,
    written: u64,
}

impl SpillWriter {
    fn new(file: File, folder: PathBuf) -> Self {
        Self { file, folder, buffer: Vec::with_capacity(WRITE_BYTES), written: 0 }
    }

    fn write(&mut self, values: &[f32]) -> io::Result<()> {
        let mut rest = values;
        while !rest.is_empty() {
            let room = (WRITE_BYTES - self.buffer.len()) / VALUE;
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.buffer.extend(now.iter().flat_map(|value| value.to_le_bytes()));
            rest = later;
            if self.buffer.len() == WRITE_BYTES {
                self.flush(rest.len())?;
            }
        }
        Ok(())
    }

    /// Writes what was gathered; `waiting` values are still to come of those that are known.
    fn flush(&mut self, waiting: usize) -> io::Result<()> {
        let needed = self.written + (self.buffer.len() + waiting * VALUE) as u64;
        self.file.write_all(&self.buffer).map_err(|source| {
            let (kind, cause) = (source.kind(), source.to_string());
            let (folder, written) = (self.folder.clone(), self.written);
            io::Error::new(kind, SpillError::Write { folder, written, needed, cause })
        })?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<File> {
        self.flush(0)?;
        Ok(self.file)
    }
}

#[cfg(test)]
mod tests;
