//! CSV files, compressed or not: taken apart and parsed as the stream's records are.

use std::borrow::Cow;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use shared::line::{LineParser, Order};
use shared::pipeline::Pipeline;
use shared::records::{Fields, FileRecords};

use super::lines::Lines;
use super::{LoadError, Place};
use crate::progress::Progress;

/// Rows between two steps of the progress bar.
const ROWS_A_STEP: u64 = 4096;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

pub(super) fn read(
    path: &Path,
    pipeline: &Arc<Pipeline>,
    lines: &mut Lines,
    progress: Progress,
) -> Result<(), LoadError> {
    let bytes = content(path)?;
    let mut records = FileRecords::new(&bytes);
    let order = match records.next_record() {
        Some(header) => order(path, header.line, header.fields, pipeline)?,
        None => return Err(LoadError::Empty { path: path.to_owned(), columns: pipeline_columns(pipeline) }),
    };
    let bar = progress.bytes("reading", bytes.len() as u64);
    let mut parser = LineParser::new(Arc::clone(pipeline));
    let mut rows = 0;
    while let Some(record) = records.next_record() {
        let outcome = parser.parse_fields(record.raw.len(), record.fields, &order, |line| lines.push(line));
        lines.count(outcome, || Place::line(path, record.line));
        rows += 1;
        if rows % ROWS_A_STEP == 0 {
            bar.set_position((bytes.len() - records.remaining()) as u64);
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// The whole file, decompressed when its name or its first bytes say that it is compressed.
fn content(path: &Path) -> Result<Vec<u8>, LoadError> {
    let bytes = fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let named_gzip = path.extension().is_some_and(|name| name.eq_ignore_ascii_case("gz"));
    if bytes.is_empty() || !(named_gzip || bytes.starts_with(&GZIP_MAGIC)) {
        return Ok(bytes);
    }
    let mut decompressed = Vec::with_capacity(bytes.len() * 4);
    MultiGzDecoder::new(bytes.as_slice())
        .read_to_end(&mut decompressed)
        .map_err(|source| LoadError::Gzip { path: path.to_owned(), source })?;
    Ok(decompressed)
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
