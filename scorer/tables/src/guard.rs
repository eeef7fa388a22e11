//! Damaged files: the library under the reader trusts what a file says of itself, and panics where that is not true.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

thread_local! {
    static IS_READING: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` with the bytes of a file; a panic in it is an error, and not printed.
pub(crate) fn reading<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    install_hook();
    let was_reading = IS_READING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_READING.set(was_reading);
    result.unwrap_or_else(|_| Err(damaged()))
}

/// That a file is not what it says.
pub(crate) fn damaged() -> ParquetError {
    ParquetError::General("its content is damaged".to_owned())
}

/// Checks that every part of a file of `length` bytes lies in it: as many bytes as a part has are asked for at once.
pub(crate) fn check_places(metadata: &ParquetMetaData, length: u64) -> Result<()> {
    let fits = |column: &ColumnChunkMetaData| {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        start >= 0 && column.compressed_size() >= 0 && end.is_some_and(|end| end as u64 <= length)
    };
    let all_fit = metadata.row_groups().iter().all(|group| group.columns().iter().all(fits));
    if all_fit { Ok(()) } else { Err(damaged()) }
}

/// Once and for good: hooks that are put in and taken out by several threads get mixed up.
fn install_hook() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_READING.get() {
                previous(panic);
            }
        }));
    });
}
