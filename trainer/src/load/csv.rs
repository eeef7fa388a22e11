//! CSV files, compressed or not: read a buffer at a time, taken apart and parsed as the stream's records are.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use shared::line::{LineParser, Order};
use shared::pipeline::Pipeline;
use shared::records::{Fields, FileRecords};

use super::lines::Lines;
use super::{LoadError, Place};
use crate::progress::Progress;

/// Bytes of a compressed file that are read at a time.
const READ_BYTES: usize = 256 << 10;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

pub(super) fn read(
    path: &Path,
    pipeline: &Arc<Pipeline>,
    lines: &mut Lines<'_>,
    progress: Progress,
) -> Result<(), LoadError> {
    let unreadable = |source| LoadError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let bar = progress.bytes("reading", file.metadata().map_or(0, |found| found.len()));
    let (source, is_gzip) = decompressed(path, bar.wrap_read(file)).map_err(unreadable)?;
    let failed = |source: io::Error| match source.kind() {
        // What the decoder says of bytes that are not, or not all, of a gzip file.
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof if is_gzip => {
            LoadError::Gzip { path: path.to_owned(), source }
        }
        _ => unreadable(source),
    };
    let mut records = FileRecords::new(source, pipeline.max_record_bytes).map_err(failed)?;
    let order = match records.next_record().map_err(failed)? {
        Some(header) => order(path, header.line, header.fields, pipeline)?,
        None => return Err(LoadError::Empty { path: path.to_owned(), columns: pipeline_columns(pipeline) }),
    };
    let mut parser = LineParser::new(Arc::clone(pipeline));
    let before = lines.bytes_read();
    while let Some(record) = records.next_record().map_err(failed)? {
        let outcome = parser.parse_fields(record.len, record.fields, &order, |line| lines.push(line));
        lines.count(outcome, || Place::line(path, record.line))?;
        lines.set_bytes_read(before + bar.position());
    }
    bar.finish_and_clear();
    Ok(())
}

/// The bytes of a file, decompressed when its name or its first bytes say that it is compressed; and whether they do.
fn decompressed<'a>(path: &Path, mut file: impl Read + 'a) -> io::Result<(Box<dyn Read + 'a>, bool)> {
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

fn order(path: &Path, line: u64, header: &Fields, pipeline: &Pipeline) -> Result<Order, LoadError> {
    let names: Vec<Cow<'_, str>> = header.iter().map(String::from_utf8_lossy).collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    Order::from_header(&names, &pipeline.columns)
        .map_err(|missing| LoadError::missing_columns(path, &format!(" line {line}"), &missing, &names))
}

pub(super) fn pipeline_columns(pipeline: &Pipeline) -> String {
    pipeline.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}
