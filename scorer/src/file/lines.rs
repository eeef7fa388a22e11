//! A CSV file as the records that a producer would send: without its header, in the pipeline's column order.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use shared::line::Order;
use shared::pipeline::Pipeline;
use shared::records::{Fields, FileRecords};
use thiserror::Error;

use crate::csv::write_fields;

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It has no byte.
    #[error("{} is empty: a header line with the columns {columns} is needed", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// The columns that are needed.
        columns: String,
    },
    /// Its first line is not the header.
    #[error("{} line 1: the header lacks the columns {missing}; it has {found}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The columns that are missing.
        missing: String,
        /// The names that are there.
        found: String,
    },
}

/// The bytes of a file, of a `.gz` file unpacked, or of standard input for `-`.
///
/// # Errors
/// [`FileError::Read`], naming the file.
pub fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = || -> io::Result<Vec<u8>> {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
        let bytes = fs::read(path)?;
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut unpacked = Vec::new();
            MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked)?;
            return Ok(unpacked);
        }
        Ok(bytes)
    };
    read().map_err(|source| FileError::Read { path: path.to_owned(), source })
}

/// A line of a file, as a record.
#[derive(Debug)]
pub struct FileLine<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// The record, in the pipeline's column order.
    pub record: Cow<'a, [u8]>,
    /// Its fields as they stand in the file.
    pub fields: &'a Fields,
}

/// The lines of a file after its header.
#[derive(Debug)]
pub struct FileLines<'a> {
    records: FileRecords<&'a [u8]>,
    order: Order,
}

impl<'a> FileLines<'a> {
    /// Reads the header of `bytes`, which `path` holds.
    ///
    /// # Errors
    /// [`FileError`] when there is no header or it lacks a column of the pipeline.
    pub fn new(bytes: &'a [u8], path: &Path, pipeline: &Pipeline) -> Result<Self, FileError> {
        let columns = || pipeline.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        let read = |source| FileError::Read { path: path.to_owned(), source };
        let mut records = FileRecords::new(bytes, usize::MAX).map_err(read)?;
        let Some(header) = records.next_record().map_err(read)? else {
            return Err(FileError::Empty { path: path.to_owned(), columns: columns() });
        };
        let names: Vec<Cow<'_, str>> = header.fields.iter().map(String::from_utf8_lossy).collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let order = Order::from_header(&names, &pipeline.columns).map_err(|missing| FileError::Header {
            path: path.to_owned(),
            missing: missing.join(", "),
            found: names.join(", "),
        })?;
        Ok(Self { records, order })
    }

    /// The next line, or `None` at the end.
    pub fn next_line(&mut self) -> Option<FileLine<'_>> {
        let record = self.records.next_record().expect("what is in memory can be read")?;
        let bytes = match &self.order {
            Order::Header { fields, width } if record.fields.len() == *width => {
                Cow::Owned(reordered(record.fields, fields))
            }
            // A line with too few or too many fields goes out as it is: it is erroneous either way.
            Order::Same | Order::Header { .. } => Cow::Borrowed(record.raw),
        };
        Some(FileLine { number: record.line, record: bytes, fields: record.fields })
    }

    /// Where column `index` of the pipeline stands among a line's fields.
    pub fn field(&self, index: usize) -> usize {
        self.order.field(index)
    }
}

fn reordered(fields: &Fields, order: &[usize]) -> Vec<u8> {
    let mut record = Vec::new();
    write_fields(&mut record, order.iter().map(|&place| fields.get(place))).expect("a vector takes every byte");
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline() -> Pipeline {
        Pipeline::load("invoices").unwrap()
    }

    #[test]
    fn a_file_in_another_order_is_sent_in_the_pipelines() {
        let file = b"Country,Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID\n\
            France,1,s,\"a \"\"b\"\", c\",2,9/1/2010 9:22,1.5,123\nshort,1\n";
        let mut lines = FileLines::new(file, Path::new("f.csv"), &pipeline()).unwrap();
        let first = lines.next_line().unwrap();
        assert_eq!(first.number, 2);
        assert_eq!(&*first.record, b"1,s,\"a \"\"b\"\", c\",2,9/1/2010 9:22,1.5,123,France".as_slice());
        assert_eq!(&*lines.next_line().unwrap().record, b"short,1".as_slice());
        assert!(lines.next_line().is_none());
    }

    #[test]
    fn a_file_without_its_header_is_refused() {
        let error =
            |bytes: &'static [u8]| FileLines::new(bytes, Path::new("f.csv"), &pipeline()).unwrap_err().to_string();
        assert!(error(b"").starts_with("f.csv is empty: a header line with the columns InvoiceNo, StockCode"));
        let missing = "f.csv line 1: the header lacks the columns InvoiceNo, StockCode, Description, Quantity, \
            InvoiceDate, UnitPrice, CustomerID; it has a, Country";
        assert_eq!(error(b"a,Country\n1,2\n"), missing);
    }
}
