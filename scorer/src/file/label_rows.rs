//! What analysts said, as rows of a file.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use shared::files::StagedFile;
use tables::csv::write_record;
use tables::{Column, ParquetWriter};

use super::OutputError;

/// A label as it was written.
#[derive(Debug)]
pub struct LabelRow(Value);

/// What a column is called, and its value.
type LabelColumn = (&'static str, fn(&LabelRow) -> Option<String>);

/// The columns: a name, and what stands there.
const COLUMNS: [LabelColumn; 16] = [
    ("id", |row| row.text("id")),
    ("pipeline", |row| row.text("pipeline")),
    ("key", |row| row.text("key")),
    ("customer_id", |row| row.text("customer_id")),
    ("label", |row| row.text("label")),
    ("state", |row| Some(row.state().to_owned())),
    ("reason", |row| row.text("reason")),
    ("note", |row| row.text("note")),
    ("owner", |row| row.text("owner")),
    ("by", |row| row.text("by")),
    ("at", |row| row.text("at")),
    ("scored_at", |row| row.text("scored_at")),
    ("event_time", |row| row.text("event_time")),
    ("detectors", |row| row.of_verdicts("detector")),
    ("model_versions", |row| row.of_verdicts("model_version")),
    ("features", |row| row.of_verdicts("feature")),
];

impl LabelRow {
    /// Of an entry of the topic. One that another program wrote may lack the key: the id ends with it.
    pub fn new(mut value: Value) -> Self {
        if value["key"].is_null() {
            let key = value["id"].as_str().and_then(|id| id.splitn(4, '/').nth(3)).map(Value::from);
            if let Some(key) = key {
                value["key"] = key;
            }
        }
        Self(value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0[name].as_str().map(str::to_owned)
    }

    fn of_verdicts(&self, name: &str) -> Option<String> {
        let verdicts = self.0["verdicts"].as_array()?;
        Some(verdicts.iter().map(|verdict| verdict[name].as_str().unwrap_or_default()).collect::<Vec<_>>().join(","))
    }

    /// How far somebody has come, as `docs/labels.md` says it.
    fn state(&self) -> &'static str {
        match self.0["label"].as_str() {
            Some("anomaly" | "false_alarm") => "closed",
            Some(_) => "in_review",
            None if self.0["owner"].as_str().is_some_and(|owner| !owner.is_empty()) => "in_review",
            None => "open",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    JsonLines,
    Csv,
    Parquet,
}

/// A file of labels, which is there whole or not at all.
#[derive(Debug)]
pub struct LabelFile {
    path: PathBuf,
    format: Format,
}

impl LabelFile {
    /// A file whose ending says the format; `-` is JSON lines on standard output.
    ///
    /// # Errors
    /// [`OutputError::Format`].
    pub fn new(path: &Path) -> Result<Self, OutputError> {
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl" | "ndjson") => Format::JsonLines,
            Some("csv") => Format::Csv,
            Some("parquet") => Format::Parquet,
            _ if path == Path::new("-") => Format::JsonLines,
            _ => return Err(OutputError::Format(path.to_owned())),
        };
        Ok(Self { path: path.to_owned(), format })
    }

    /// Whether it holds JSON lines.
    pub fn is_json_lines(&self) -> bool {
        self.format == Format::JsonLines
    }

    /// Writes all rows.
    ///
    /// # Errors
    /// [`OutputError::Write`]; the file is then as it was before.
    pub fn write(&self, rows: &[LabelRow]) -> Result<(), OutputError> {
        let written = if self.path == Path::new("-") {
            json_lines(io::stdout().lock(), rows)
        } else {
            StagedFile::create(&self.path).and_then(|mut file| {
                match self.format {
                    Format::JsonLines => json_lines(&mut file, rows),
                    Format::Csv => csv(&mut file, rows),
                    Format::Parquet => parquet(&mut file, rows),
                }?;
                file.publish()
            })
        };
        written.map_err(|source| OutputError::Write { path: self.path.clone(), source })
    }
}

fn json_lines(out: impl Write, rows: &[LabelRow]) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    rows.iter().try_for_each(|LabelRow(value)| writeln!(out, "{value}"))?;
    out.flush()
}

fn csv(out: impl Write, rows: &[LabelRow]) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    write_record(&mut out, COLUMNS.map(|(name, _)| name))?;
    rows.iter().try_for_each(|row| write_record(&mut out, COLUMNS.map(|(_, of)| of(row).unwrap_or_default())))?;
    out.flush()
}

fn parquet(out: impl Write + Send, rows: &[LabelRow]) -> io::Result<()> {
    let columns =
        || -> Vec<Column> { COLUMNS.iter().map(|(name, of)| Column::texts(name, rows.iter().map(of))).collect() };
    let mut writer = ParquetWriter::new(BufWriter::new(out), &columns())?;
    writer.write(columns())?;
    writer.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_what_the_label_says_and_the_key_of_its_id() {
        let rows = [
            LabelRow::new(json!({
                "id": "invoices/0/7/a/b", "kind": "label", "label": "false_alarm", "note": "a \"test\",\nsee x", "at": "t",
                "verdicts": [{ "detector": "kmeans", "feature": "f" }, { "detector": "b", "model_version": "1" }],
            })),
            LabelRow::new(json!({ "id": "invoices/0/8/k", "key": "k", "label": "unsure" })),
            LabelRow::new(json!({ "id": "invoices/0/9/m", "owner": "ann" })),
            LabelRow::new(json!({ "id": "invoices/0/9/n", "label": null })),
        ];
        let mut text = Vec::new();
        csv(&mut text, &rows).unwrap();
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @r#"
        id,pipeline,key,customer_id,label,state,reason,note,owner,by,at,scored_at,event_time,detectors,model_versions,features
        invoices/0/7/a/b,,a/b,,false_alarm,closed,,"a ""test"",
        see x",,,t,,,"kmeans,b",",1","f,"
        invoices/0/8/k,,k,,unsure,in_review,,,,,,,,,,
        invoices/0/9/m,,m,,,in_review,,,ann,,,,,,,
        invoices/0/9/n,,n,,,open,,,,,,,,,,
        "#);
    }

    #[test]
    fn an_ending_says_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [LabelRow::new(json!({ "id": "p/0/1/k", "kind": "label", "label": "anomaly" }))];
        for name in ["l.jsonl", "l.csv", "l.parquet"] {
            let path = folder.path().join(name);
            LabelFile::new(&path).unwrap().write(&rows).unwrap();
            assert!(std::fs::metadata(&path).unwrap().len() > 20, "{name}");
        }
        let parquet = std::fs::File::open(folder.path().join("l.parquet")).unwrap();
        let names: Vec<String> =
            tables::ParquetReader::new(parquet).unwrap().columns().into_iter().map(|column| column.name).collect();
        assert_eq!(names, COLUMNS.map(|(name, _)| name));
        assert!(matches!(LabelFile::new(Path::new("l.txt")), Err(OutputError::Format(_))));
    }
}
