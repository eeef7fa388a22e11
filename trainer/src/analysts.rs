//! What analysts said of anomalies: a file that `scorer labels export` wrote.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use polars::prelude::*;
use shared::dialect::Dialect;
use shared::pipeline::is_confirmed;
use shared::records::FileRecords;
use thiserror::Error;

use crate::load::{self, TextFile};
use crate::progress::Progress;

/// The columns that are read.
const KEY: &str = "key";
const LABEL: &str = "label";

/// Bytes of a record that goes over several lines: notes do.
const MOST_QUOTED_BYTES: usize = 1 << 20;

/// Why the words of analysts cannot be read.
#[derive(Debug, Error)]
pub enum AnalystsError {
    /// The file cannot be read.
    #[error(transparent)]
    Load(#[from] load::LoadError),
    /// It holds something else.
    #[error(
        "{} holds no labels of analysts: it needs the columns `key` and `label`, as `scorer labels export --output FILE.csv` \
         writes them, and has {found}",
        path.display()
    )]
    NoLabels {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: String,
    },
}

/// The entities that analysts have confirmed as anomalies, by their keys.
#[derive(Debug, Clone, Default)]
pub struct Analysts {
    path: PathBuf,
    anomalies: HashSet<String>,
}

impl Analysts {
    /// Reads a file: CSV, JSON lines or Parquet, by its ending.
    ///
    /// # Errors
    /// [`AnalystsError`].
    pub fn read(path: &Path) -> Result<Self, AnalystsError> {
        let name = path.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let mut analysts = Self { path: path.to_owned(), anomalies: HashSet::new() };
        if name.ends_with(".parquet") {
            analysts.read_parquet()?;
        } else if [".jsonl", ".ndjson", ".json"].iter().any(|ending| name.ends_with(ending)) {
            analysts.read_json_lines()?;
        } else {
            analysts.read_csv()?;
        }
        Ok(analysts)
    }

    /// Whether analysts have confirmed the entity with this key as an anomaly.
    pub fn is_anomaly(&self, key: &str) -> bool {
        self.anomalies.contains(key.trim())
    }

    /// How many they have.
    pub fn n_anomalies(&self) -> usize {
        self.anomalies.len()
    }

    fn add(&mut self, key: &str, label: &str) {
        if is_confirmed(label) == Some(true) {
            self.anomalies.insert(key.trim().to_owned());
        }
    }

    fn none(&self, found: String) -> AnalystsError {
        AnalystsError::NoLabels { path: self.path.clone(), found }
    }

    fn open(&self) -> Result<TextFile, load::LoadError> {
        TextFile::open(&self.path, Progress { quiet: true })
    }

    fn read_csv(&mut self) -> Result<(), AnalystsError> {
        let (path, TextFile { source, is_gzip, .. }) = (self.path.clone(), self.open()?);
        let failed = |source| AnalystsError::Load(load::failed(&path, is_gzip, source));
        let dialect = Dialect::default();
        let mut records = FileRecords::whole(source, &dialect, MOST_QUOTED_BYTES).map_err(failed)?;
        let names: Vec<String> = match records.next_record().map_err(failed)? {
            Some(header) => header.fields.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect(),
            None => Vec::new(),
        };
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        let (Some(key), Some(label)) = (place(KEY), place(LABEL)) else { return Err(self.none(names.join(", "))) };
        while let Some(record) = records.next_record().map_err(failed)? {
            if key.max(label) < record.fields.len() {
                let text = |index| String::from_utf8_lossy(record.fields.get(index));
                self.add(&text(key), &text(label));
            }
        }
        Ok(())
    }

    fn read_json_lines(&mut self) -> Result<(), AnalystsError> {
        let (path, TextFile { mut source, is_gzip, .. }) = (self.path.clone(), self.open()?);
        let mut text = Vec::new();
        source.read_to_end(&mut text).map_err(|source| load::failed(&path, is_gzip, source))?;
        let mut is_empty = true;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let value: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
            let (Some(key), Some(_)) = (value[KEY].as_str(), value.get(LABEL)) else {
                let names = value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>().join(", "));
                return Err(self.none(names.unwrap_or_else(|| "a line that is no object of JSON".to_owned())));
            };
            self.add(key, value[LABEL].as_str().unwrap_or_default());
            is_empty = false;
        }
        if is_empty { Err(self.none("nothing".to_owned())) } else { Ok(()) }
    }

    fn read_parquet(&mut self) -> Result<(), AnalystsError> {
        let path = self.path.clone();
        let unreadable = |source| load::LoadError::Read { path: path.clone(), source };
        let file = File::open(&path).map_err(unreadable)?;
        let (schema, metadata) = load::contents(&path, &file)?;
        let wanted = [KEY, LABEL].map(str::to_owned);
        if wanted.iter().any(|name| schema.get(name).is_none()) {
            let names: Vec<&str> = schema.iter_names().map(|name| name.as_str()).collect();
            return Err(self.none(names.join(", ")));
        }
        let rows = load::rows(&path, &file, &metadata, &wanted, (0, metadata.num_rows))?;
        let texts = |name: &str| {
            let column = rows.column(name).and_then(|column| column.cast(&DataType::String));
            column.map_err(|error| load::LoadError::Parquet { path: path.clone(), problem: error.to_string() })
        };
        let (keys, labels) = (texts(KEY)?, texts(LABEL)?);
        let damaged = |error: PolarsError| load::LoadError::Parquet { path: path.clone(), problem: error.to_string() };
        let (keys, labels) = (keys.str().map_err(damaged)?, labels.str().map_err(damaged)?);
        keys.iter()
            .zip(labels.iter())
            .for_each(|(key, label)| self.add(key.unwrap_or_default(), label.unwrap_or_default()));
        Ok(())
    }
}

impl fmt::Display for Analysts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let analysts = Analysts::read(&path).map_err(|error| error.to_string())?;
        let mut keys: Vec<String> = analysts.anomalies.into_iter().collect();
        keys.sort();
        Ok(keys)
    }

    #[test]
    fn only_what_is_confirmed_is_an_anomaly() {
        let csv =
            "id,key,label,note\na,1,anomaly,\"two\nlines\"\nb,2,false_alarm,\nc,3,unsure,\nd,4,,\ne, 5 ,anomaly,\n";
        assert_eq!(read("l.csv", csv).unwrap(), ["1", "5"]);
        let json = "{\"key\":\"1\",\"label\":\"anomaly\"}\n\n{\"key\":\"2\",\"label\":null}\n";
        assert_eq!(read("l.jsonl", json).unwrap(), ["1"]);
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        assert!(read("l.csv", "a,b\n1,2\n").unwrap_err().contains("needs the columns `key` and `label`"));
        assert!(read("l.jsonl", "{\"a\":1}\n").unwrap_err().ends_with("and has a"));
        assert!(read("l.jsonl", "").unwrap_err().ends_with("and has nothing"));
        assert!(read("l.parquet", "PAR1").is_err());
    }
}
