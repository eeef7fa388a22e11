//! `trainer inspect`: what a model has learned, for people.

mod imported;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use shared::model::Model;

use crate::numbers::{grouped, percentage, short};
use crate::reports::clusters;
use crate::summary::{inertia_by_k, policy};
use crate::table::TextTable;

/// Folders below the one that was named: `models/<pipeline>/<detector>`.
const DEPTH: usize = 2;

/// Shows the model at `path`, or every model in that folder.
///
/// # Errors
/// When there is none, or one is damaged.
pub fn inspect(path: &Path) -> anyhow::Result<String> {
    let files = if path.is_dir() { model_files(path)? } else { vec![path.to_owned()] };
    if files.is_empty() {
        bail!("there is no model in {}: train one with `trainer`, or name another folder", path.display());
    }
    let shown = files.iter().map(|file| Ok(show(file, &Model::read(file)?)));
    Ok(shown.collect::<anyhow::Result<Vec<_>>>()?.join("\n\n"))
}

/// The files called model.json in a folder and the folders below it, in order.
fn model_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    for _ in 0..=DEPTH {
        let mut below = Vec::new();
        for folder in &folders {
            let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
            let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
            let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
            found.extend(files.into_iter().filter(|file| file.file_name().is_some_and(|name| name == "model.json")));
            below.extend(folders);
        }
        folders = below;
    }
    found.sort();
    Ok(found)
}

fn show(file: &Path, model: &Model) -> String {
    let title = format!("{} of pipeline {}, version {}", model.detector, model.pipeline, model.version());
    [
        format!(" {title}\n {}\n", file.display()),
        facts(model),
        scaling(model),
        cluster_table(model),
        inertia_by_k(&[model]),
        tail(model),
    ]
    .into_iter()
    .filter(|section| !section.is_empty())
    .collect::<Vec<_>>()
    .join("\n")
}

fn facts(model: &Model) -> String {
    if let Some(imported) = &model.imported {
        return imported::facts(model, imported);
    }
    let training = &model.training;
    let mut table = TextTable::without_header(2);
    let promoted =
        if model.promoted { " (promoted: it was better than the detector in the pipeline file)" } else { "" };
    table.row(["algorithm".to_owned(), format!("{}{promoted}", model.parameters.name())]);
    table.row(["parameters".to_owned(), parameters(model)]);
    table.row([
        "trained on".to_owned(),
        format!("{} entities, seed {}, device {}", grouped(training.rows as u64), training.seed, training.device),
    ]);
    table.row(["training features".to_owned(), format!("SHA-256 {}", training.data_fingerprint)]);
    let (anomalies, share) = (grouped(training.anomalies as u64), percentage(training.anomalies, training.rows));
    let threshold = short(f64::from(model.threshold.value));
    table.row([
        "threshold".to_owned(),
        format!("{threshold}, set by {}; exceeded by {anomalies} ({share})", policy(model)),
    ]);
    table.render()
}

/// The parameters as a pipeline file would have them.
fn parameters(model: &Model) -> String {
    let written = serde_json::to_value(&model.parameters).unwrap_or_default();
    let keys = written.as_object().into_iter().flatten().filter(|(key, value)| *key != "algorithm" && !value.is_null());
    let shown: Vec<String> = keys.map(|(key, value)| format!("{key} = {}", toml_of(value))).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

fn toml_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(map) => {
            let keys: Vec<String> = map.iter().map(|(key, value)| format!("{key} = {}", toml_of(value))).collect();
            format!("{{ {} }}", keys.join(", "))
        }
        serde_json::Value::Array(values) => {
            format!("[{}]", values.iter().map(toml_of).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn scaling(model: &Model) -> String {
    let name = model.scaler.method.name();
    let mut table = TextTable::new(1, &["feature", "centre", "scale"]);
    for (feature, (center, scale)) in model.features.iter().zip(model.scaler.center.iter().zip(&model.scaler.scale)) {
        table.row([feature.clone(), short(*center), short(*scale)]);
    }
    format!("{} scaling is {name}: the detector scores the scaled values\n", table.render())
}

/// The clusters in the features' own units, with a line of headers that fits.
fn cluster_table(model: &Model) -> String {
    if model.learned.clusters().is_none() {
        return String::new();
    }
    let mut header = vec!["cluster", "entities", "share"];
    header.extend(model.features.iter().map(String::as_str));
    let mut table = TextTable::new(0, &header);
    let clusters = clusters(model);
    // The sizes of clusters that were imported are those of a training elsewhere, or not known.
    let of_all: usize = clusters.iter().map(|cluster| cluster.size as usize).sum();
    let of_all = if model.imported.is_some() { of_all } else { model.training.rows };
    for (number, cluster) in clusters.iter().enumerate() {
        let (size, share) = match cluster.size {
            0 if model.imported.is_some() => ("unknown".to_owned(), String::new()),
            size => (grouped(size), percentage(size as usize, of_all)),
        };
        let mut row = vec![number.to_string(), size, share];
        row.extend(cluster.center.iter().map(|value| short(*value)));
        table.row(row);
    }
    table.render()
}

/// How high training scores are: the score that so many of them reach.
fn tail(model: &Model) -> String {
    let calibration = &model.calibration;
    let mut table = TextTable::new(0, &["share of entities", "score at least"]);
    let wanted = [0.5, 0.1, 0.05, 0.01, 0.005, 0.001];
    let rank = |share: f64| (share * calibration.n_samples as f64) as usize;
    let kept = |share: f64| calibration.at_least.iter().position(|&count| count <= rank(share));
    for (share, index) in wanted.into_iter().filter_map(|share| Some((share, kept(share)?))) {
        table.row([format!("{}%", short(share * 100.0)), short(f64::from(calibration.scores[index]))]);
    }
    table.render()
}
