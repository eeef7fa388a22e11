//! Files of Avro: their records are read as those of a stream of Avro are.

use std::path::Path;
use std::sync::Arc;

use shared::avro::{AvroFile, AvroFileError};
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
    let failed = |error| failed(path, is_gzip, error);
    let mut records = AvroFile::new(source).map_err(failed)?;
    let writer = Arc::clone(records.schema());
    let mut parser = LineParser::new(Arc::clone(&pipeline.schema));
    let before = lines.bytes_read();
    while let Some(record) = records.next_record().map_err(failed)? {
        let mut added = Ok(());
        parser.each_avro(&writer, record.raw, |piece, part| {
            if added.is_ok() {
                let key = lines.key_of_place(path, record.number, piece.index());
                added = lines.add(part, key.as_deref(), || RowLocation::row(path.to_owned(), record.number));
            }
        });
        added?;
        lines.set_bytes_read(before + bar.position());
    }
    bar.finish_and_clear();
    Ok(())
}

/// The error of a file of Avro.
pub(crate) fn failed(path: &Path, is_gzip: bool, error: AvroFileError) -> LoadError {
    match error {
        AvroFileError::Read(source) => text_file::failed(path, is_gzip, source),
        problem => LoadError::Avro { path: path.to_owned(), problem },
    }
}
