//! The report on the last training, after a model of it was replaced.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shared::model::training_report;

/// Where the report on a pipeline's last training lies and what it is without `detector`; nothing where it does not name it.
pub(super) fn without(models: &Path, pipeline: &str, detector: &str) -> Option<(PathBuf, Vec<u8>)> {
    let path = training_report(models, pipeline);
    let mut report: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    report.get_mut("detectors")?.as_object_mut()?.remove(detector)?;
    let mut bytes = serde_json::to_vec_pretty(&report).ok()?;
    bytes.push(b'\n');
    Some((path, bytes))
}
