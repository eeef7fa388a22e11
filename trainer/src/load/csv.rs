//! CSV files: taken apart and parsed as the records of a stream of CSV are.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use shared::line::{LineParser, Order};
use shared::pipeline::Pipeline;
use shared::records::{Fields, FileRecords};

use super::lines::Lines;
use super::text_file::{self, TextFile};
use super::{LoadError, RowLocation};
use crate::progress::Progress;

pub(super) fn read(
    path: &Path,
    pipeline: &Arc<Pipeline>,
    lines: &mut Lines<'_>,
    progress: Progress,
) -> Result<(), LoadError> {
    let TextFile { source, bar, is_gzip } = TextFile::open(path, progress)?;
    let failed = |source| text_file::failed(path, is_gzip, source);
    let mut records = FileRecords::new(source, pipeline.schema.max_record_bytes).map_err(failed)?;
    let order = match records.next_record().map_err(failed)? {
        Some(header) => order(path, header.line, header.fields, pipeline)?,
        None => return Err(LoadError::Empty { path: path.to_owned(), columns: pipeline_columns(pipeline) }),
    };
    let mut parser = LineParser::new(Arc::clone(&pipeline.schema));
    let before = lines.bytes_read();
    while let Some(record) = records.next_record().map_err(failed)? {
        let outcome = parser.parse_fields(record.len, record.fields, &order, |line| lines.push(line));
        lines.count(outcome, || RowLocation::line(path.to_owned(), record.line))?;
        lines.set_bytes_read(before + bar.position());
    }
    bar.finish_and_clear();
    Ok(())
}

fn order(path: &Path, line: u64, header: &Fields, pipeline: &Pipeline) -> Result<Order, LoadError> {
    let names: Vec<Cow<'_, str>> = header.iter().map(String::from_utf8_lossy).collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    Order::from_header(&names, &pipeline.schema.columns)
        .map_err(|missing| LoadError::missing_columns(path, &format!(" line {line}"), &missing, &names))
}

pub(super) fn pipeline_columns(pipeline: &Pipeline) -> String {
    pipeline.schema.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}
