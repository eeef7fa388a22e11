//! The closing table of a training.

use shared::matrix::FeatureMatrix;
use shared::model::Model;
use shared::pipeline::Pipeline;

use crate::fit::Trained;
use crate::load::BadRows;
use crate::memory::{self, Size};
use crate::numbers::{grouped, percentage, short};
use crate::reports::{comparisons, elbow_rows};
use crate::table::TextTable;
use crate::timings::Timings;
use crate::train::{Settings, Training};

/// Most reasons that are listed one by one.
const MOST_REASONS: usize = 12;

/// Most pairs of detectors whose agreement is shown.
const MOST_PAIRS: usize = 6;

/// Everything that a training was, for people.
pub fn summary(settings: &Settings, training: &Training) -> String {
    let models: Vec<&Model> = training.trained.iter().map(|trained| &trained.model).collect();
    let folder = settings.models.join(&settings.pipeline.name);
    [
        counts(settings, training),
        features(&settings.pipeline.feature_names(), &training.entities.features),
        inertia_by_k(&models),
        thresholds(&models),
        realised_rates(&training.trained),
        untrained(&settings.pipeline),
        agreement(&training.trained),
        seconds(&training.timings),
        peak_memory(memory::peak()),
        format!(" models and reports are in {}\n", folder.display()),
    ]
    .into_iter()
    .filter(|section| !section.is_empty())
    .map(|section| format!("\n{section}"))
    .collect()
}

fn counts(settings: &Settings, training: &Training) -> String {
    let (loaded, entities) = (&training.loaded, &training.entities);
    let key = &settings.pipeline.schema.columns[settings.pipeline.entity.key].name;
    let mut table = TextTable::without_header(1);
    table.row(["rows read".to_owned(), grouped(loaded.rows_read)]);
    table.row(["  dropped".to_owned(), grouped(loaded.bad_rows.total())]);
    dropped(&loaded.bad_rows, settings.files.len() > 1, &mut table);
    table.row([format!("entities, by {key}"), grouped(entities.total() as u64)]);
    table.row(["  left out".to_owned(), grouped((entities.total() - entities.keys.len()) as u64)]);
    for (reason, count) in &entities.left_out {
        table.row([format!("    {reason}"), grouped(*count as u64)]);
    }
    table.row(["  trained on".to_owned(), grouped(entities.keys.len() as u64)]);
    table.render()
}

fn dropped(bad_rows: &BadRows, several_files: bool, table: &mut TextTable) {
    let reasons = bad_rows.by_frequency();
    for (reason, bad) in reasons.iter().take(MOST_REASONS) {
        let first = format!("first on {} {}", bad.first.unit, grouped(bad.first.number));
        let file = bad.first.file.file_name().filter(|_| several_files);
        let file = file.map_or_else(String::new, |name| format!(" of {}", name.display()));
        table.row([format!("    {reason}, {first}{file}"), grouped(bad.count)]);
    }
    let others: u64 = reasons.iter().skip(MOST_REASONS).map(|(_, bad)| bad.count).sum();
    if others > 0 {
        table.row([format!("    {} other reasons", reasons.len() - MOST_REASONS), grouped(others)]);
    }
}

fn features(names: &[String], features: &FeatureMatrix) -> String {
    let mut table = TextTable::new(1, &["feature", "min", "median", "max"]);
    for (index, name) in names.iter().enumerate() {
        let mut column: Vec<f64> = features.column(index).collect();
        column.sort_by(f64::total_cmp);
        let at = |index: usize| column.get(index).copied().map_or_else(String::new, short);
        table.row([name.clone(), at(0), at(column.len() / 2), at(column.len().saturating_sub(1))]);
    }
    table.render()
}

/// Inertia of every model side by side; a star marks the k that was chosen.
pub fn inertia_by_k(models: &[&Model]) -> String {
    let models: Vec<&&Model> = models.iter().filter(|model| model.learned.clusters().is_some()).collect();
    let mut header = vec!["k".to_owned()];
    for model in &models {
        header.extend([format!("inertia of {}", model.detector), "ratio".to_owned()]);
    }
    let mut table = TextTable::new(0, &header);
    let rows: Vec<_> = models.iter().map(|model| elbow_rows(model)).collect();
    if rows.iter().all(Vec::is_empty) {
        return String::new();
    }
    let mut tried: Vec<usize> = rows.iter().flatten().map(|row| row.k).collect();
    tried.sort_unstable();
    tried.dedup();
    for k in tried {
        let mut cells = vec![k.to_string()];
        for rows in &rows {
            let row = rows.iter().find(|row| row.k == k);
            let mark = if row.is_some_and(|row| row.chosen) { "*" } else { " " };
            let ratio = row.and_then(|row| row.ratio).map_or_else(String::new, |ratio| format!("{ratio:.3}"));
            cells.push(row.map_or_else(String::new, |row| format!("{mark} {}", short(row.inertia))));
            cells.push(ratio);
        }
        table.row(cells);
    }
    table.render() + " * the chosen k; ratio: inertia divided by that of k - 1\n"
}

fn thresholds(models: &[&Model]) -> String {
    let mut table = TextTable::new(1, &["detector", "k", "threshold", "set by", "anomalies", "share", "version"]);
    for model in models {
        let training = &model.training;
        table.row([
            model.detector.clone(),
            model.learned.clusters().map_or_else(String::new, |clusters| clusters.n_clusters().to_string()),
            short(f64::from(model.threshold.value)),
            policy(model),
            grouped(training.anomalies as u64),
            percentage(training.anomalies, training.rows),
            model.version(),
        ]);
    }
    table.render()
}

/// Whether the rates of false alarms that were asked for hold in time, a line each.
fn realised_rates(trained: &[Trained]) -> String {
    let line = |trained: &Trained| {
        let rate = trained.realised_rate.as_ref()?;
        Some(format!(
            " {}: {}% false alarms were asked for; set on the older half of the {} held-out entities, the threshold is exceeded by \
             {} of the newer half\n",
            trained.model.detector,
            rate.asked * 100.0,
            grouped((rate.calibrated_on + rate.checked_on) as u64),
            percentage(rate.exceeding, rate.checked_on),
        ))
    };
    trained.iter().filter_map(line).collect()
}

/// How the threshold was set, as the pipeline file writes it.
pub fn policy(model: &Model) -> String {
    let by_cluster = if model.threshold.by_cluster.is_empty() { "" } else { ", per cluster" };
    format!("{}{by_cluster}", model.threshold.policy)
}

/// The detectors that need no training, a line each.
fn untrained(pipeline: &Pipeline) -> String {
    pipeline.zscores.iter().map(|spec| format!(" {}: needs no training\n", spec.name)).collect()
}

/// For a pipeline without a detector that is trained.
pub fn nothing_to_train(pipeline: &Pipeline) -> String {
    format!("\n{} pipeline `{}` has nothing to train\n", untrained(pipeline), pipeline.name)
}

fn agreement(trained: &[Trained]) -> String {
    let line = |pair: &crate::reports::PairOverlap<'_>| {
        let overlap = pair.overlap;
        let [both, only_a, only_b] = [overlap.both, overlap.only_first, overlap.only_second].map(grouped);
        format!(" anomalies by both: {both}; by {} alone: {only_a}; by {} alone: {only_b}\n", pair.a, pair.b)
    };
    let pairs = comparisons(trained);
    if pairs.len() > MOST_PAIRS {
        return format!(" the agreement of the {} pairs of detectors is in reports/agreement.parquet\n", pairs.len());
    }
    pairs.iter().map(line).collect()
}

fn peak_memory(bytes: Option<u64>) -> String {
    bytes.map_or_else(String::new, |bytes| format!(" peak memory: {}\n", Size(bytes)))
}

fn seconds(timings: &Timings) -> String {
    let mut table = TextTable::new(1, &["step", "seconds"]);
    for (step, seconds) in timings.steps() {
        table.row([step.clone(), format!("{seconds:.3}")]);
    }
    table.row(["total".to_owned(), format!("{:.3}", timings.total())]);
    table.render()
}
