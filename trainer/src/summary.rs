//! The closing table of a training.

use shared::detectors::clusters::are_small;
use shared::matrix::FeatureMatrix;
use shared::model::Model;
use shared::pipeline::{DEFAULT_MIN_SHARE, Pipeline};

use crate::existing::Existing;
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

/// Most small clusters whose sizes are listed.
const MOST_SIZES: usize = 8;

/// Most pairs of detectors whose agreement is shown.
const MOST_PAIRS: usize = 6;

/// Everything that a training was, for people.
pub fn summary(settings: &Settings, training: &Training, replaced: Option<&Existing>) -> String {
    let models: Vec<&Model> = training.trained.iter().map(|trained| &trained.model).collect();
    let folder = settings.models.join(&settings.pipeline.name);
    [
        counts(settings, training),
        features(&settings.pipeline.feature_names(), &training.entities.features),
        inertia_by_k(&models),
        thresholds(&models),
        small_clusters(&models),
        realised_rates(&training.trained),
        costs(&training.trained),
        untrained(&settings.pipeline),
        agreement(&training.trained),
        seconds(&training.timings),
        peak_memory(memory::peak()),
        learned_from(settings),
        format!(" models and reports are in {}\n", folder.display()) + &replaces(replaced),
    ]
    .into_iter()
    .filter(|section| !section.is_empty())
    .map(|section| format!("\n{section}"))
    .collect()
}

/// What is about to be done where nobody named a history.
pub fn first(settings: &Settings) -> String {
    let files: Vec<String> = settings.files.iter().map(ToString::to_string).collect();
    format!(
        "trains pipeline `{}` on its sample data, {}, into {}; `trainer --input FILE` takes your own, and `trainer --help` \
         shows the rest\n",
        settings.pipeline.name,
        files.join(", "),
        settings.models.display()
    )
}

/// Which history it was, where nobody named one.
fn learned_from(settings: &Settings) -> String {
    match settings.files.as_slice() {
        [sample] if settings.is_sample => format!(" learned from sample data: {sample}\n"),
        _ => String::new(),
    }
}

/// What the new models took the place of.
pub fn replaces(replaced: Option<&Existing>) -> String {
    replaced.map_or_else(String::new, |it| format!(" they replace {},\n   {}\n", it.names(), it.history()))
}

fn counts(settings: &Settings, training: &Training) -> String {
    let (loaded, entities) = (&training.loaded, &training.entities);
    let key = &settings.pipeline.schema.columns[settings.pipeline.entity.key].name;
    let mut table = TextTable::without_header(1);
    table.row(["rows read".to_owned(), grouped(loaded.rows_read)]);
    table.row(["  dropped".to_owned(), grouped(loaded.bad_rows.total())]);
    dropped(&loaded.bad_rows, settings.files.len() > 1, &mut table);
    if loaded.without_record > 0 {
        table.row(["deletions, tombstones and empty arrays".to_owned(), grouped(loaded.without_record)]);
    }
    if let Some(odd) = &loaded.odd_dates {
        let first = format!("  with odd dates, first on {} {}", odd.first.unit, grouped(odd.first.number));
        table.row([first, grouped(odd.rows)]);
    }
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

/// The clusters that are small, a line a detector: a warning where they count as usual.
fn small_clusters(models: &[&Model]) -> String {
    let line = |model: &&Model| {
        let (clusters, min_share) = (model.learned.clusters()?, model.parameters.min_share().unwrap_or(0.0));
        let (all, corrected) = (clusters.clusters(), clusters.corrected.as_ref());
        let counts = |index: usize| corrected.is_none_or(|corrected| corrected.penalties[index].is_some());
        let small_by = |share: f64, counting: bool| -> Vec<u64> {
            let is_small = are_small(&all, share);
            let of = (0..all.len()).filter(|&index| is_small[index] && counts(index) == counting);
            of.map(|index| all[index].size).collect()
        };
        let (left_out, usual) = (small_by(min_share, false), small_by(DEFAULT_MIN_SHARE, true));
        let name = &model.detector;
        if !usual.is_empty() {
            let sizes: Vec<String> = usual.iter().take(MOST_SIZES).map(|size| grouped(*size)).collect();
            let others = if usual.len() > MOST_SIZES { ", ..." } else { "" };
            return Some(format!(
                " warning: {name}: {} of {} clusters are below {}% of the entities and yet usual\n   \
                 ({}{others}): what is like them counts as normal; set min_share = {DEFAULT_MIN_SHARE}\n",
                usual.len(),
                all.len(),
                DEFAULT_MIN_SHARE * 100.0,
                sizes.join(", "),
            ));
        }
        let entities: u64 = left_out.iter().sum();
        (!left_out.is_empty()).then(|| {
            let (n_small, share) = (left_out.len(), percentage(entities as usize, model.training.rows));
            format!(
                " {name}: {n_small} of {} clusters, {} entities ({share}), are not usual (min_share = {min_share})\n",
                all.len(),
                grouped(entities),
            )
        })
    };
    models.iter().filter_map(line).collect()
}

/// Whether the rates of false alarms that were asked for hold in time, a line each.
fn realised_rates(trained: &[Trained]) -> String {
    let line = |trained: &Trained| {
        let rate = trained.realised_rate.as_ref()?;
        Some(format!(
            " {}: {}% false alarms were asked for; set on the older half of {} held-out\n   \
             entities, the threshold is exceeded by {} of the newer half\n",
            trained.model.detector,
            rate.asked * 100.0,
            grouped((rate.calibrated_on + rate.checked_on) as u64),
            percentage(rate.exceeding, rate.checked_on),
        ))
    };
    trained.iter().filter_map(line).collect()
}

/// What thresholds that were chosen by cost would have cost, a line each.
fn costs(trained: &[Trained]) -> String {
    let line = |trained: &Trained| {
        let report = trained.cost.as_ref()?;
        let chosen = report.chosen;
        Some(format!(
            " {}: a missed anomaly costs {} and a look {}; of the {} labelled anomalies that were held out,\n   \
             {} alerts would have caught {}, at a cost of {}\n",
            trained.model.detector,
            report.costs.missed,
            report.costs.review,
            grouped(chosen.caught + chosen.missed),
            grouped(chosen.alerts),
            grouped(chosen.caught),
            short(chosen.cost),
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
