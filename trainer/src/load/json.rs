//! Files of JSON, of lines or arrays: parsed as the records of a stream of JSON are.

use std::path::Path;
use std::sync::Arc;

use shared::json_file::JsonFile;
use shared::line::LineParser;
use shared::pipeline::Pipeline;

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
    let mut records = JsonFile::new(source, schema.max_record_bytes, schema.json.is_array()).map_err(failed)?;
    let mut parser = LineParser::new(Arc::clone(&pipeline.schema));
    let before = lines.bytes_read();
    while let Some(record) = records.next_record().map_err(failed)? {
        let mut added = Ok(());
        parser.each_json(record.len, record.raw, |piece, part| {
            if added.is_ok() {
                let key = lines.key_of_place(path, record.line, record.item_of(piece.index()));
                added = lines.add(part, key.as_deref(), || RowLocation::line(path.to_owned(), record.line));
            }
        });
        added?;
        lines.set_bytes_read(before + bar.position());
    }
    bar.finish_and_clear();
    Ok(())
}
