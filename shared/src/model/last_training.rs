//! Which models the last training of a pipeline wrote, as its report says: `models/<pipeline>/reports/training.json`.
//!
//! The report is put in its place before the models are, one after the other. So where it names other versions than there
//! are, a training ended in between, and the models may be of two trainings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What is read of the report.
#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    trained_at: Option<String>,
    #[serde(default)]
    inputs: Vec<String>,
    detectors: BTreeMap<String, DetectorReport>,
}

#[derive(Deserialize)]
struct DetectorReport {
    model_version: String,
}

/// Where the report on a pipeline's last training lies under `models`.
pub fn training_report(models: &Path, pipeline: &str) -> PathBuf {
    models.join(pipeline).join("reports").join("training.json")
}

/// Which of `detectors`, each with the version of its model, have another model than the last training wrote. Without a
/// report nobody knows; a detector that the report does not name was not part of that training.
pub fn of_another_training<'a>(
    models: &Path,
    pipeline: &str,
    detectors: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<&'a str> {
    let Some(last) = LastTraining::read(models, pipeline) else { return Vec::new() };
    let is_other =
        |(detector, version): &(&str, &str)| last.versions.get(*detector).is_some_and(|written| written != *version);
    detectors.into_iter().filter(is_other).map(|(detector, _)| detector).collect()
}

/// What the report says of a pipeline's last training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastTraining {
    /// When it ended, RFC 3339.
    pub trained_at: Option<String>,
    /// The files of history.
    pub inputs: Vec<String>,
    /// The version of each detector's model.
    pub versions: BTreeMap<String, String>,
}

impl LastTraining {
    /// What the report on a pipeline under `models` says; nothing where there is none that can be read.
    pub fn read(models: &Path, pipeline: &str) -> Option<Self> {
        let text = fs::read(training_report(models, pipeline)).ok()?;
        let Report { trained_at, inputs, detectors } = serde_json::from_slice(&text).ok()?;
        let versions = detectors.into_iter().map(|(name, report)| (name, report.model_version)).collect();
        Some(Self { trained_at, inputs, versions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_compared_with_the_report() {
        let folder = tempfile::tempdir().unwrap();
        let other = |detectors: &[(&'static str, &'static str)]| {
            of_another_training(folder.path(), "p", detectors.iter().copied())
        };
        let models = [("a", "11111111"), ("b", "22222222"), ("c", "33333333")];
        assert!(other(&models).is_empty(), "nobody knows");
        let path = training_report(folder.path(), "p");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for unreadable in ["", "{}", "{\"detectors\": 3}"] {
            fs::write(&path, unreadable).unwrap();
            assert!(other(&models).is_empty(), "{unreadable}");
        }
        let report =
            r#"{"seed": 42, "detectors": {"a": {"model_version": "11111111", "k": 4}, "b": {"model_version": "0"}}}"#;
        fs::write(&path, report).unwrap();
        assert_eq!(other(&models), ["b"]);
    }
}
