//! From what `--input` says to files.

use std::fs;
use std::path::{Path, PathBuf};

use shared::pipeline::InputFormat;

use super::LoadError;

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Records one after the other, compressed by gzip or not.
    Records(InputFormat),
    /// Parquet.
    Parquet,
}

/// The format that the name of a file tells; where it tells nothing, the records are as those of the `stream`.
pub(super) fn format(path: &Path, stream: InputFormat) -> Format {
    let is_parquet = |name: &str| name.eq_ignore_ascii_case("parquet") || name.eq_ignore_ascii_case("pq");
    if path.extension().and_then(|name| name.to_str()).is_some_and(is_parquet) {
        return Format::Parquet;
    }
    Format::Records(InputFormat::of_file(path).unwrap_or(stream))
}

/// The files that names and patterns stand for, in the order given; those of a pattern in the order of their names.
///
/// # Errors
/// [`LoadError`] when a file is not there or is a folder, or nothing matches a pattern.
pub fn resolve(inputs: &[String]) -> Result<Vec<PathBuf>, LoadError> {
    let mut files = Vec::new();
    for input in inputs {
        let path = PathBuf::from(input);
        if !path.exists() && input.contains(['*', '?', '[']) {
            files.extend(matches(input)?);
        } else {
            files.push(path);
        }
    }
    files.into_iter().map(readable).collect()
}

/// A file that is there and is no folder.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn resolve_one(path: &Path) -> Result<PathBuf, LoadError> {
    readable(path.to_owned())
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, LoadError> {
    let problem = |problem: String| LoadError::Pattern { pattern: pattern.to_owned(), problem };
    let paths = glob::glob(pattern).map_err(|error| problem(error.to_string()))?;
    let mut found = paths.collect::<Result<Vec<_>, _>>().map_err(|error| problem(error.to_string()))?;
    found.retain(|path| !path.is_dir());
    if found.is_empty() {
        return Err(LoadError::NoMatch { pattern: pattern.to_owned() });
    }
    found.sort();
    Ok(found)
}

fn readable(path: PathBuf) -> Result<PathBuf, LoadError> {
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => Err(LoadError::Folder { path }),
        Ok(_) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(LoadError::Missing { path }),
        Err(source) => Err(LoadError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_their_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "c.parquet", "[1].csv"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let found = |pattern: &str| {
            let files = resolve(&[folder.path().join(pattern).display().to_string()])?;
            Ok::<_, LoadError>(files.iter().map(|file| file.file_name().unwrap().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(found("?.csv").unwrap(), ["a.csv", "b.csv"]);
        assert_eq!(found("[1].csv").unwrap(), ["[1].csv"]);
        assert_eq!(found("c.parquet").unwrap(), ["c.parquet"]);
        assert!(matches!(found("*.json"), Err(LoadError::NoMatch { .. })));
        assert!(matches!(found("d.csv"), Err(LoadError::Missing { .. })));
        assert!(matches!(found(""), Err(LoadError::Folder { .. })));
    }

    #[test]
    fn the_name_tells_the_format() {
        let format = |name: &str, stream| format(Path::new(name), stream);
        for stream in [InputFormat::Csv, InputFormat::Json] {
            for name in ["a.parquet", "a.PQ"] {
                assert_eq!(format(name, stream), Format::Parquet);
            }
            for name in ["a.csv", "a.csv.gz"] {
                assert_eq!(format(name, stream), Format::Records(InputFormat::Csv));
            }
            for name in ["a.jsonl", "a.ndjson.gz", "a.json"] {
                assert_eq!(format(name, stream), Format::Records(InputFormat::Json));
            }
            for name in ["a.txt", "a", "a.gz"] {
                assert_eq!(format(name, stream), Format::Records(stream));
            }
        }
    }
}
