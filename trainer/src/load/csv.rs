//! CSV files: taken apart and parsed as the records of a stream of CSV are.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use shared::dialect::{likely_delimiter, shown_delimiter};
use shared::line::{HeaderFault, LineParser, Order};
use shared::pipeline::Pipeline;
use shared::records::{FileRecord, FileRecords};

use super::lines::Lines;
use super::text_file::{self, TextFile};
use super::{LoadError, RowLocation};

pub(super) fn read(
    path: &Path,
    file: TextFile,
    pipeline: &Arc<Pipeline>,
    lines: &mut Lines<'_>,
) -> Result<(), LoadError> {
    let TextFile { source, bar, is_gzip } = file;
    let failed = |source| text_file::failed(path, is_gzip, source);
    let schema = &pipeline.schema;
    let mut records = FileRecords::new(source, &schema.csv, schema.max_record_bytes).map_err(failed)?;
    let order = if schema.csv.header {
        match records.next_record().map_err(failed)? {
            Some(header) => order(path, &header, pipeline)?,
            None => return Err(LoadError::Empty { path: path.to_owned(), columns: pipeline_columns(pipeline) }),
        }
    } else {
        Order::Same
    };
    let mut parser = LineParser::new(Arc::clone(&pipeline.schema));
    let before = lines.bytes_read();
    while let Some(record) = records.next_record().map_err(failed)? {
        let key = lines.key_of_place(path, record.line, None);
        let outcome = parser.parse_file_record(&record, &order, |line| lines.push(line, key.as_deref()));
        lines.count(outcome, || RowLocation::line(path.to_owned(), record.line))?;
        lines.set_bytes_read(before + bar.position());
    }
    bar.finish_and_clear();
    Ok(())
}

fn order(path: &Path, header: &FileRecord<'_>, pipeline: &Pipeline) -> Result<Order, LoadError> {
    let place = format!(" line {}", header.line);
    let names: Vec<Cow<'_, str>> = header.fields.iter().map(String::from_utf8_lossy).collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    Order::from_header(&names, &pipeline.schema.columns).map_err(|fault| match fault {
        HeaderFault::Twice { column, names } => {
            LoadError::ColumnTwice { path: path.to_owned(), place, column, names: names.join("` and `") }
        }
        HeaderFault::Missing(missing) => {
            let delimiter = likely_delimiter(header.raw).filter(|_| names.len() == 1);
            match delimiter.filter(|found| *found != pipeline.schema.csv.delimiter) {
                Some(found) => LoadError::OtherDelimiter { path: path.to_owned(), found: shown_delimiter(found) },
                None => LoadError::missing_columns(path, &place, &missing, &names),
            }
        }
    })
}

pub(super) fn pipeline_columns(pipeline: &Pipeline) -> String {
    pipeline.schema.field_names().join(", ")
}
