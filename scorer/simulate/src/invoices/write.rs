//! A simulation as CSV: its lines, and the labels of its anomalous invoices.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tables::csv::write_record;

use crate::WriteError;
use crate::target::Target;

use super::config::{CheckedConfig, ConfigError};
use super::simulation::{Day, Simulation};
use super::summary::Summary;

/// The columns of the lines, in their order.
pub const LINES_HEADER: [&str; 8] =
    ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"];

/// The columns of the labels, in their order.
pub const LABELS_HEADER: [&str; 2] = ["InvoiceNo", "Label"];

/// Why a simulation was not written, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file, or the standard output, did not take the bytes.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Lines and labels would overwrite each other.
    #[error("lines and labels cannot both go to {}: name another file for the labels", .0.display())]
    SameFile(PathBuf),
    /// Labels to the standard output, which has room for the lines only.
    #[error("labels cannot go to the standard output: name a file for them")]
    LabelsToStandardOutput,
}

impl Day {
    /// Writes the day's lines, without a header.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        for (invoice, line) in self.records() {
            write_record(out, invoice.fields(line))?;
        }
        Ok(())
    }

    /// Writes the labels of the day's anomalous invoices, without a header.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_labels(&self, out: &mut impl Write) -> io::Result<()> {
        for invoice in &self.invoices {
            if let Some(anomaly) = invoice.anomaly {
                write_record(out, [invoice.key().as_str(), anomaly.label()])?;
            }
        }
        Ok(())
    }
}

/// Simulates into files: lines into `output`, labels into `labels` if wanted. They appear only when both are
/// whole; until then, and after any error, what stood there before still stands.
///
/// # Errors
/// A file that cannot be written, or one name for both.
pub fn write_files(config: CheckedConfig, output: &Path, labels: Option<&Path>) -> Result<Summary, Error> {
    if labels.is_some_and(|labels| same_file(output, labels)) {
        return Err(Error::SameFile(output.to_path_buf()));
    }
    write_targets(config, Target::file(output)?, labels_target(labels)?)
}

/// As [`write_files`], with the lines to the standard output.
///
/// # Errors
/// A place that cannot be written.
pub fn write_to_standard_output(config: CheckedConfig, labels: Option<&Path>) -> Result<Summary, Error> {
    write_targets(config, Target::standard_output(), labels_target(labels)?)
}

fn labels_target(path: Option<&Path>) -> Result<Target, WriteError> {
    path.map_or(Ok(Target::Nowhere), Target::file)
}

fn write_targets(config: CheckedConfig, mut lines: Target, mut labels: Target) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    lines.put(|out| write_record(out, LINES_HEADER))?;
    labels.put(|out| write_record(out, LABELS_HEADER))?;
    for day in Simulation::new(config) {
        lines.put(|out| day.write_lines(out))?;
        labels.put(|out| day.write_labels(out))?;
        summary.count(&day);
    }
    // Both on the disk before the first takes its name: a disk that is full by now spoils neither.
    lines.seal()?;
    labels.seal()?;
    labels.publish()?;
    lines.publish()?;
    Ok(summary)
}

/// Whether two names are one file, also by way of `./` and links.
fn same_file(a: &Path, b: &Path) -> bool {
    let resolved = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    a == b || matches!((resolved(a), resolved(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::config::Config;
    use super::*;

    fn small() -> CheckedConfig {
        let config = Config { days: 3, anomaly_rate: 0.1, ..Config::default() };
        config.check().expect("in range")
    }

    fn rows(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).expect("a file");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn files_have_headers_and_as_many_rows_as_the_summary_says() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let output = directory.path().join("lines.csv");
        let labels = directory.path().join("labels.csv");
        let summary = write_files(small(), &output, Some(&labels)).expect("written");
        let (output, labels) = (rows(&output), rows(&labels));
        assert_eq!(output[0], LINES_HEADER.join(","));
        assert_eq!(labels[0], "InvoiceNo,Label");
        assert_eq!(output.len() as u64, 1 + summary.lines);
        assert_eq!(labels.len() as u64, 1 + summary.anomalous());
        assert!(summary.anomalous() > 0);
    }

    #[test]
    fn labels_do_not_change_the_lines() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (one, two) = (directory.path().join("1"), directory.path().join("2"));
        write_files(small(), &one, None).expect("written");
        write_files(small(), &two, Some(&directory.path().join("3"))).expect("written");
        assert_eq!(rows(&one), rows(&two));
    }

    #[test]
    fn an_error_names_the_file_and_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let output = directory.path().join("lines.csv");
        let file = directory.path().join("file");
        fs::write(&file, "").expect("written");
        let error = write_files(small(), &output, Some(&file.join("labels.csv"))).expect_err("no directory");
        assert!(error.to_string().contains("file/labels.csv: "), "{error}");
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 1);
        let labels = directory.path().join("new/labels.csv");
        write_files(small(), &output, Some(&labels)).expect("folders are made");
        assert!(labels.is_file() && output.is_file());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_leaves_no_labels_without_lines() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let labels = directory.path().join("labels.csv");
        let full = Path::new("/dev/full");
        // So little that it stays in the buffer: only at the very end is the disk found to be full.
        let little = Config { days: 1, invoices_per_day: 1.0, ..Config::default() };
        let little = little.check().expect("in range");
        let error = write_files(little, full, Some(&labels)).expect_err("full");
        assert!(error.to_string().starts_with("cannot write /dev/full: No space"), "{error}");
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 0);
    }

    #[test]
    fn lines_and_labels_need_two_files() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (one, same) = (directory.path().join("a.csv"), directory.path().join("./a.csv"));
        let refused = write_files(small(), &one, Some(&same));
        assert!(matches!(refused, Err(Error::SameFile(_))), "{refused:?}");
    }
}
