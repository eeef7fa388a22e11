//! CSV files: taken apart and parsed as the records of a stream of CSV are.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use shared::dialect::{likely_delimiter, shown_delimiter};
use shared::line::{HeaderFault, Order};
use shared::pipeline::Pipeline;
use shared::records::FileRecord;

use super::kept::Outcome;
use super::lines::Lines;
use super::sections::{Cut, Part, Sections};
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
    let mut sections = Sections::new(source, schema, lines.keeping(), Cut::for_threads()).map_err(failed)?;
    let order = if schema.csv.header {
        match sections.header(|header| order(path, header, pipeline)).map_err(failed)? {
            Some(order) => order?,
            None => return Err(LoadError::Empty { path: path.to_owned(), columns: pipeline_columns(pipeline) }),
        }
    } else {
        Order::Same
    };
    let before = lines.bytes_read();
    sections.each(
        &order,
        || bar.position(),
        failed,
        |part| {
            lines.set_bytes_read(before + part.bytes_read);
            take(path, part, lines)
        },
    )?;
    bar.finish_and_clear();
    Ok(())
}

/// Adds the records of a part, one after the other.
fn take(path: &Path, part: Part, lines: &mut Lines<'_>) -> Result<(), LoadError> {
    let Part { mut found, from, first_line, .. } = part;
    let records = std::mem::take(&mut found.records);
    let is_line = |outcome: &Outcome| matches!(outcome, Outcome::Line { .. });
    let mut index = records[..from].iter().filter(|record| is_line(&record.outcome)).count();
    for record in records.into_iter().skip(from) {
        let line = first_line + record.line;
        let outcome = match record.outcome {
            Outcome::Bad(reasons) => Err(reasons),
            Outcome::Line { odd } => {
                let key = lines.key_of_place(path, line, None);
                lines.push_kept(&found, index, odd, key.as_deref());
                index += 1;
                Ok(())
            }
        };
        lines.count(outcome, || RowLocation::line(path.to_owned(), line))?;
    }
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
