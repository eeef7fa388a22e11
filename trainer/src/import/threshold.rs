//! A threshold that a job wrote: a file with one number, or a folder of such parts.

use std::fs;
use std::path::Path;

use super::spark::{SourceFile, SparkError, parts};

/// A threshold and the files it is in.
#[derive(Debug, PartialEq)]
pub(super) struct ThresholdFile {
    /// The number.
    pub value: f64,
    /// The file, or the parts of the folder.
    pub files: Vec<SourceFile>,
}

/// Reads the threshold at `path`.
///
/// # Errors
/// When it cannot be read, or is not one number that can be a distance.
pub(super) fn read(path: &Path) -> Result<ThresholdFile, SparkError> {
    let paths = if path.is_dir() { parts(path)? } else { vec![path.to_owned()] };
    let (mut text, mut files) = (Vec::new(), Vec::new());
    for part in &paths {
        let bytes = fs::read(part).map_err(|error| SparkError::unreadable(part, &error))?;
        let name = if part.as_path() == path { String::new() } else { SourceFile::name_of(path, part) };
        files.push(SourceFile::new(name, &bytes));
        text.extend(bytes);
    }
    let value = value(&text).map_err(|problem| SparkError::Unusable { path: path.to_owned(), problem })?;
    Ok(ThresholdFile { value, files })
}

fn value(text: &[u8]) -> Result<f64, String> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim().trim_start_matches('\u{feff}');
    let is_distance = |number: &f64| (0.0..f64::from(f32::MAX)).contains(number);
    text.parse().ok().filter(is_distance).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!("a threshold is one number that is not negative, as in 8871.76, and it has `{shown}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_one_number_as_java_writes_it() {
        for (text, number) in [("8871.760909549006", 8_871.760_909_549_006), ("1.2345E7\n", 1.2345e7), (" 0.0 ", 0.0)] {
            assert_eq!(value(text.as_bytes()), Ok(number));
        }
        for text in ["", "8871,76", "1.0 2.0", "NaN", "Infinity", "-1.0", "1e39", "threshold=3"] {
            let problem = value(text.as_bytes()).expect_err(text);
            assert!(problem.ends_with(&format!("it has `{text}`")), "{problem}");
        }
    }

    #[test]
    fn a_folder_of_parts_is_read_as_one_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in [("_SUCCESS", ""), ("part-00000", ""), ("part-00001", "12.5\n")] {
            fs::write(folder.path().join(name), text).expect("it can be written");
        }
        let found = read(folder.path()).expect("a threshold");
        assert_eq!((found.value, found.files.len()), (12.5, 2));
        let gone = read(&folder.path().join("gone")).expect_err("there is none").to_string();
        assert!(gone.starts_with("cannot read ") && gone.contains("gone"), "{gone}");
    }
}
