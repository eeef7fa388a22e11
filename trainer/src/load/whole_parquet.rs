//! Reading Parquet files that may be damaged.
//!
//! Polars trusts what a file says of itself: where that is not true, it panics, or asks for more memory than there is, which
//! ends the process. So sizes are compared with the file's before anything is read by them, and a panic becomes an error.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use polars::io::parquet::read::FileMetadata;
use polars::prelude::PolarsResult;

/// What is said of a file that is not what it says.
pub(super) const DAMAGED: &str = "its content is damaged";

/// What a file begins and ends with.
const MAGIC: &[u8; 4] = b"PAR1";

/// Rows that a row group may have however small the file is, and as many more for each byte of it: repeated values take
/// next to nothing.
const ROWS_A_GROUP: u64 = 1 << 20;
const ROWS_A_BYTE: u64 = 1 << 10;

/// The first line of an error of Polars.
pub(crate) fn first_line(error: &impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or("it cannot be read").to_owned()
}

/// Does `work` with the bytes of a file, and says what is wrong with it: a panic of Polars is an error, and not printed.
///
/// # Errors
/// What Polars says, or that the file is damaged.
pub(crate) fn reading<T>(work: impl FnOnce() -> PolarsResult<T>) -> Result<T, String> {
    guarded(work)?.map_err(|error| first_line(&error))
}

/// Does `work` with the bytes of a file; a panic of the library that reads it is an error, and not printed.
///
/// # Errors
/// That the file is damaged.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let section = Section::enter();
    let result = catch_unwind(AssertUnwindSafe(work));
    drop(section);
    result.map_err(|_| DAMAGED.to_owned())
}

/// Checks that a file begins and ends as a Parquet file does, and that its footer is no longer than the file.
///
/// # Errors
/// What is wrong.
pub(crate) fn check_ends(file: &File) -> Result<(), String> {
    let (mut file, mut start, mut end) = (file, [0; 4], [0; 8]);
    let mut read = || -> io::Result<u64> {
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(&mut start)?;
        let length = file.seek(SeekFrom::End(-8))? + 8;
        file.read_exact(&mut end)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(length)
    };
    let length = match read() {
        Ok(length) => length,
        // Shorter than the ends of the shortest.
        Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput) => 0,
        Err(error) => return Err(error.to_string()),
    };
    let [a, b, c, d, magic @ ..] = end;
    let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
    if length < 12 || start != *MAGIC || magic != *MAGIC {
        return Err("it does not begin and end as one".to_owned());
    }
    if footer > length - 12 {
        return Err("it is cut short".to_owned());
    }
    Ok(())
}

/// Checks what a file says of the sizes of its parts.
///
/// # Errors
/// That it is damaged.
pub(crate) fn check_sizes(metadata: &FileMetadata, file: &File) -> Result<(), String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let most_rows = ROWS_A_GROUP.saturating_add(length.saturating_mul(ROWS_A_BYTE));
    let mut rows = 0u64;
    for group in &metadata.row_groups {
        let n_rows = group.num_rows() as u64;
        rows = rows.saturating_add(n_rows);
        let columns_fit = group.parquet_columns().iter().all(|column| {
            let starts = [Some(column.data_page_offset()), column.dictionary_page_offset()];
            let fits = |start: i64| {
                let end = start.checked_add(column.compressed_size());
                start >= 0 && column.compressed_size() >= 0 && end.is_some_and(|end| end as u64 <= length)
            };
            // Where the values of a row are no list, there are as many values as rows.
            let is_flat = column.descriptor().descriptor.max_rep_level == 0;
            let n_values = u64::try_from(column.num_values()).unwrap_or(u64::MAX);
            // The chunk starts with the dictionary where there is one.
            let start = starts[1].or(starts[0]).unwrap_or(-1);
            fits(start)
                && column.data_page_offset() >= start
                && if is_flat { n_values == n_rows } else { n_values <= most_rows }
        });
        if n_rows > most_rows || !columns_fit {
            return Err(DAMAGED.to_owned());
        }
    }
    if rows == metadata.num_rows as u64 { Ok(()) } else { Err(DAMAGED.to_owned()) }
}

/// The threads of Polars are called so.
const POLARS_THREADS: &str = "polars";

/// How many sections there are now, in all threads.
static SECTIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_READING: Cell<bool> = const { Cell::new(false) };
}

/// While there is one, panics of its thread and of the threads of Polars are not printed.
struct Section {
    was_reading: bool,
}

impl Section {
    fn enter() -> Self {
        install_hook();
        SECTIONS.fetch_add(1, Ordering::SeqCst);
        Self { was_reading: IS_READING.replace(true) }
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        IS_READING.set(self.was_reading);
        SECTIONS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Once and for good: hooks that are put in and taken out by several threads get mixed up.
fn install_hook() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let of_polars = SECTIONS.load(Ordering::SeqCst) > 0
                && std::thread::current().name().is_some_and(|name| name.starts_with(POLARS_THREADS));
            if !of_polars && !IS_READING.get() {
                previous(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_panic_is_an_error_and_what_follows_goes_on() {
        assert_eq!(reading::<()>(|| panic!("index out of bounds")), Err(DAMAGED.to_owned()));
        assert_eq!(reading(|| Ok(7)), Ok(7));
    }

    #[test]
    fn a_file_that_does_not_begin_and_end_as_one_is_refused() {
        let check = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().expect("a temporary file");
            file.write_all(bytes).expect("it is written");
            check_ends(&file)
        };
        assert_eq!(check(b"PAR1\x00\x00\x00\x00PAR1"), Ok(()));
        assert_eq!(check(b"PAR1\x01\x00\x00\x00PAR1"), Err("it is cut short".to_owned()));
        for other in [&b""[..], b"PAR1", b"PAR1PAR1", b"PARE\x00\x00\x00\x00PAR1", b"PAR1\x00\x00\x00\x00PARE"] {
            assert_eq!(check(other), Err("it does not begin and end as one".to_owned()), "{other:?}");
        }
    }
}
