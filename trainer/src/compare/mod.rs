//! `trainer compare`: detectors beside each other, on the same rows.
//!
//! Rows come from a [`table`] or from a pipeline ([`dataset`]), are [`split`] into what is fitted on and what is scored, and
//! missing values are filled in ([`imputation`]). Every detector that was selected is [`run`]; what is measured of it is in
//! [`measures`]. Without labels, anomalies are made ([`injected`]). [`false_alarms`] counts those that were asked for.
//! `prequential` goes another way: through the history in the order of time.

pub mod args;
pub mod contenders;
pub mod dataset;
pub mod false_alarms;
mod files;
pub mod imputation;
pub mod injected;
pub mod measures;
mod memory;
mod prequential;
mod promote;
mod report;
pub mod run;
mod search;
mod selection;
pub mod sort;
pub mod split;
pub mod table;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use shared::device::{ChosenDevice, Devices, cache_folder};
use shared::evaluation::Bootstrap;
use shared::matrix::FeatureMatrix;
use shared::pipeline::{DetectorSpec, Pipeline, Scaling, ThresholdPolicy};
use shared::threshold::Trimmed;

use crate::analysts::Analysts;
use crate::console;
use crate::entities::Keys;
use crate::existing::Existing;
use crate::fit::job;
use crate::load;
use crate::memory::Budget;
use crate::output::Output;
use crate::progress::Progress;
use crate::train;

use args::{CompareArgs, FitOn, SplitName};
use contenders::Contender;
use dataset::Dataset;
use false_alarms::{FalseAlarms, ThreeParts};
use imputation::Imputation;
use injected::Synthetic;
use measures::{Entry, Pair};
use run::{Data, Runner};
use sort::SortBy;
use split::{Parts, Split, gather};
use table::TableOptions;

/// The share of what would be fitted on that thresholds are set on, where false alarms are counted.
const CALIBRATION_SHARE: f64 = 0.3;

/// What is compared, on what, and where the results go.
pub struct CompareSettings {
    args: CompareArgs,
    source: RowSource,
    contenders: Vec<Contender>,
    budget: Budget,
    folder: PathBuf,
}

/// Where rows come from.
enum RowSource {
    Pipeline(train::Settings),
    Table(TableOptions),
}

/// A finished comparison.
#[derive(Debug)]
pub struct Comparison {
    /// What the rows are called.
    pub name: String,
    /// How many features they have.
    pub n_features: usize,
    /// How many rows were fitted on.
    pub n_fit: usize,
    /// How many of what was fitted on, and of what was scored, are anomalies.
    pub anomalies: Option<(usize, usize)>,
    /// Which rows were scored, said in a few words.
    pub how: String,
    /// What has to be said of the data.
    pub notes: Vec<String>,
    /// What computed.
    pub device: ChosenDevice,
    /// What the entries are sorted by.
    pub sort: SortBy,
    /// How intervals were found.
    pub bootstrap: Bootstrap,
    /// The detectors, the best first.
    pub entries: Vec<Entry>,
    /// Every pair of those that took part.
    pub pairs: Vec<Pair>,
    /// False alarms, where they were counted.
    pub false_alarms: Vec<FalseAlarms>,
    /// Which rows of the data were scored, from 0: `(n_test)`.
    pub rows: Vec<u32>,
    /// Which of those are anomalies: `(n_test)`.
    pub labels: Option<Vec<bool>>,
    /// Keys of all rows, where they have some.
    pub keys: Option<Keys>,
}

/// Compares as the command line asks for, writes the results and prints the table.
///
/// # Errors
/// The first that occurs, as one sentence; no file was changed then.
pub fn compare_and_report(args: &CompareArgs) -> anyhow::Result<()> {
    if let Some(test) = args.prequential.prequential {
        return prequential::compare_and_report(args, test);
    }
    let settings = CompareSettings::new(args)?;
    let (comparison, rows) = settings.compare()?;
    let mut output = Output::default();
    comparison.add_files(&settings.folder, &mut output)?;
    let promoted = settings.promote(&comparison, rows.as_ref(), &mut output)?;
    let replaced = settings.replaced_by_promotion();
    output.write()?;
    if !args.quiet {
        let promoted = promoted.map(|path| format!(" promoted: {}\n", path.display())).unwrap_or_default();
        let replaced =
            replaced.map_or_else(String::new, |it| format!(" it replaces {},\n   {}\n", it.names(), it.history()));
        let files = format!(" results are in {}\n{promoted}{replaced}", settings.folder.display());
        console::print(&format!("{}\n{files}", report::report(&comparison)))?;
    }
    Ok(())
}

impl CompareSettings {
    /// From what was typed to what it means: files are looked up and detectors are chosen.
    ///
    /// # Errors
    /// When the pipeline is not valid, a file or a detector is not there, or flags do not go together.
    pub fn new(args: &CompareArgs) -> anyhow::Result<Self> {
        let budget = Budget::new(args.max_memory);
        let (source, folder) = match &args.pipeline {
            Some(pipeline) => {
                let settings = of_pipeline(pipeline, args, budget)?;
                let folder = args.models.join(&settings.pipeline.name).join("reports");
                (RowSource::Pipeline(settings), folder)
            }
            None => (RowSource::Table(table_options(args)?), PathBuf::from("comparison")),
        };
        let pipeline = source.pipeline();
        let quantile = args.measuring.quantile.map(ThresholdPolicy::Quantile);
        let by_rate = |false_alarm_rate: f64| match args.measuring.trim {
            Some(trim) => ThresholdPolicy::TrimmedRate(Trimmed { false_alarm_rate, trim }),
            None => ThresholdPolicy::FalseAlarmRate(false_alarm_rate),
        };
        let threshold = args.measuring.false_alarm_rate.map(by_rate).or(quantile);
        let scaling = args.data.scaling.map(Scaling::from);
        let contenders =
            selection::contenders(pipeline.map(AsRef::as_ref), &args.detectors, scaling, threshold, args.search)?;
        if let (Some(name), Some(pipeline)) = (&args.promote, pipeline) {
            promote::target(pipeline, name)?;
        }
        let folder = args.output.clone().unwrap_or(folder);
        Ok(Self { args: args.clone(), source, contenders, budget, folder })
    }

    /// Fits and measures all detectors; with a promotion to come, all rows as well.
    ///
    /// # Errors
    /// When the data cannot be compared on; what one detector cannot do is in its entry.
    pub fn compare(&self) -> anyhow::Result<(Comparison, Option<FeatureMatrix>)> {
        let (args, progress) = (&self.args, Progress { quiet: self.args.quiet });
        let dataset = match &self.source {
            RowSource::Pipeline(settings) => Dataset::of_pipeline(settings, progress)?,
            RowSource::Table(options) => table::read(options, self.budget, progress)?,
        };
        let sort = self.sort(dataset.labels.is_some())?;
        let plan = SplitPlan::new(args, &dataset)?;
        let device = self.device(&dataset)?;
        if !args.quiet {
            console::print(&format!("device: {device}\n"))?;
        }
        let Dataset { name, features, rows, labels, keys, mut notes, .. } = dataset;
        notes.extend(imputation::missing_values(args.data.missing, &rows, &features)?);
        notes.extend(constant_features(&rows, &features));
        let all_rows = args.promote.is_some().then(|| rows.clone());
        let bootstrap =
            Bootstrap { n_replicates: args.measuring.bootstrap as usize, seed: args.seed, ..Bootstrap::default() };
        let runner = Runner {
            device: &device,
            seed: args.seed,
            state_bytes: self.state_bytes(plan.n_rows(), features.len()),
            max_seconds: args.max_minutes * 60.0,
            bootstrap,
            stability: args.measuring.stability || labels.is_none(),
            progress,
        };
        let false_alarms = if args.measuring.false_alarm_rates {
            plan.three_parts(args, &rows, labels.as_deref())?.run(&self.contenders, &runner)
        } else {
            Vec::new()
        };
        let data = plan.data(args, rows, labels.as_deref());
        let mut entries = runner.run(&self.contenders, &data);
        ensure_any_succeeded(&entries)?;
        let pairs = measures::agree(&mut entries, data.labels.as_deref());
        sort.sort(&mut entries);
        let count = |labels: &[bool], rows: &[u32]| rows.iter().filter(|row| labels[**row as usize]).count();
        let anomalies = labels.as_ref().map(|labels| (count(labels, &plan.parts.fit), count(labels, &plan.parts.test)));
        let comparison = Comparison {
            name,
            n_features: features.len(),
            n_fit: plan.parts.fit.len(),
            anomalies,
            how: plan.how,
            notes,
            device,
            sort,
            bootstrap,
            entries,
            pairs,
            false_alarms,
            rows: plan.parts.test,
            labels: data.labels,
            keys,
        };
        Ok((comparison, all_rows))
    }

    /// What to sort by.
    fn sort(&self, has_labels: bool) -> anyhow::Result<SortBy> {
        let usual = if has_labels { SortBy::RocAuc } else { SortBy::Ensemble };
        let sort = self.args.sort.unwrap_or(usual);
        if self.args.promote.is_some() && sort.needs_synthetic_anomalies() {
            bail!(
                "--promote does not go by {}: synthetic anomalies do not tell which detector finds real ones; leave --sort \
                 out, and the ensemble is promoted, or name a column of labels with --label",
                sort.name()
            );
        }
        if sort.needs_labels() && !has_labels {
            bail!("--sort {} needs labels: name their column with --label, or sort by another measure", sort.name());
        }
        if sort.needs_synthetic_anomalies() && has_labels {
            bail!("--sort {} is for data without labels: sort by roc-auc or average-precision", sort.name());
        }
        if sort == SortBy::Stability && has_labels && !self.args.measuring.stability {
            bail!("--sort stability needs --stability, which fits each detector three times");
        }
        Ok(sort)
    }

    fn device(&self, dataset: &Dataset) -> anyhow::Result<ChosenDevice> {
        let devices = Devices::find(self.args.device, cache_folder())?;
        let specs = self.contenders.iter().map(|contender| &contender.spec);
        Ok(devices.for_job(&job(specs, dataset.rows.n_samples(), dataset.features.len())))
    }

    /// What is left of the memory beside rows and scores.
    fn state_bytes(&self, n_rows: usize, n_features: usize) -> Option<usize> {
        let held = memory::held_bytes(n_rows as u64, n_features as u64, self.contenders.len() as u64);
        self.budget.0.map(|allowed| usize::try_from(allowed.saturating_sub(held)).unwrap_or(usize::MAX))
    }

    /// The model that the winner takes the place of.
    fn replaced_by_promotion(&self) -> Option<Existing> {
        let pipeline = self.source.pipeline()?;
        let target = promote::target(pipeline, self.args.promote.as_ref()?).ok()?;
        Existing::find(&self.args.models, pipeline, [target.name.as_str()])
    }

    /// Adds the winner's model, when that was asked for; its path.
    fn promote(
        &self,
        comparison: &Comparison,
        rows: Option<&FeatureMatrix>,
        output: &mut Output<'_>,
    ) -> anyhow::Result<Option<PathBuf>> {
        let (Some(name), Some(pipeline), Some(rows)) = (&self.args.promote, self.source.pipeline(), rows) else {
            return Ok(None);
        };
        let target = promote::target(pipeline, name)?;
        let winner = comparison.entries.first().filter(|entry| entry.outcome.is_ok());
        let is_winner = |spec: &&DetectorSpec| winner.is_some_and(|winner| winner.name == spec.name);
        let Some(winner) = self.contenders.iter().map(|contender| &contender.spec).find(is_winner) else {
            bail!("no detector took part, so there is none to promote");
        };
        let plan = self.budget.plan(crate::memory::Shape {
            n_entities: rows.n_samples() as u64,
            key_bytes: comparison.keys.as_ref().map_or(0, Keys::text_bytes) as u64,
            n_features: rows.n_features() as u64,
            n_detectors: 1,
            rows_in_memory: !winner.algorithm.supports_out_of_core(),
        })?;
        let how = (&comparison.device, self.args.seed, plan);
        promote::add_model(pipeline, (target, winner), rows, how, &self.args.models, output).map(Some)
    }
}

impl RowSource {
    fn pipeline(&self) -> Option<&Arc<Pipeline>> {
        match self {
            Self::Pipeline(settings) => Some(&settings.pipeline),
            Self::Table(_) => None,
        }
    }
}

fn of_pipeline(name: &str, args: &CompareArgs, budget: Budget) -> anyhow::Result<train::Settings> {
    let mut pipeline = Arc::new(Pipeline::load(name)?);
    if let Some(column) = &args.label {
        pipeline = dataset::with_label(Arc::unwrap_or_clone(pipeline), column)?;
    }
    let files = train::history_files(&pipeline, &args.input, "compare on")?;
    let models = args.models.clone();
    // What is left out is among the notes of the report.
    let (device, max_bad) = (args.device, load::MaxBad::ANY);
    let (is_sample, seed, quiet) = (args.input.is_empty(), args.seed, args.quiet);
    let analysts = args.labels.as_deref().map(Analysts::read).transpose()?;
    Ok(train::Settings {
        pipeline,
        files,
        models,
        device,
        seed,
        budget,
        max_bad,
        analysts,
        quiet,
        is_sample,
        force: false,
        moments: false,
    })
}

fn table_options(args: &CompareArgs) -> anyhow::Result<TableOptions> {
    Ok(TableOptions {
        files: load::resolve(&args.input)?,
        label: args.label.clone(),
        anomaly: args.anomaly.clone(),
        normal: args.normal_label.clone(),
        exclude: args.exclude.clone(),
        categorical: args.data.categorical,
    })
}

/// Fails if every detector failed, with the first reason.
fn ensure_any_succeeded(entries: &[Entry]) -> anyhow::Result<()> {
    let reasons: Vec<(&str, &String)> =
        entries.iter().filter_map(|entry| Some((entry.name.as_str(), entry.outcome.as_ref().err()?))).collect();
    match reasons.first() {
        Some((name, reason)) if reasons.len() == entries.len() => {
            bail!("no detector can be compared on these rows; `{name}`: {reason}")
        }
        _ => Ok(()),
    }
}

/// Which features have one value in all rows: they tell nothing, and detectors pass over them.
fn constant_features(rows: &FeatureMatrix, names: &[String]) -> Option<String> {
    const MOST: usize = 6;
    let mut firsts = vec![f64::NAN; names.len()];
    let mut varies = vec![false; names.len()];
    for row in rows.rows() {
        for ((first, varies), value) in firsts.iter_mut().zip(&mut varies).zip(row) {
            if first.is_nan() {
                *first = *value;
            }
            *varies |= *value != *first && !value.is_nan();
        }
    }
    let constant: Vec<&str> = names.iter().zip(&varies).filter(|name| !name.1).map(|name| name.0.as_str()).collect();
    let shown = constant[..constant.len().min(MOST)].join(", ");
    let more = if constant.len() > MOST { ", ..." } else { "" };
    (!constant.is_empty()).then(|| format!("features that never change: {shown}{more} ({})", constant.len()))
}

/// How rows are split.
struct SplitPlan {
    split: Split,
    parts: Parts,
    how: String,
}

impl SplitPlan {
    fn new(args: &CompareArgs, dataset: &Dataset) -> anyhow::Result<Self> {
        let labels = dataset.labels.as_deref();
        let share = args.data.test_share;
        let usual = if dataset.is_in_time { SplitName::Later } else { SplitName::Random };
        let (split, how) = match args.data.split.unwrap_or(usual) {
            _ if args.data.all_rows => (Split::AllRows, "the same"),
            SplitName::Later => (Split::Later(share), "the later ones"),
            SplitName::Random => (Split::Random(share), "drawn at random"),
        };
        let mut parts = split.parts(dataset.rows.n_samples(), labels, args.seed);
        if args.data.fit_on == FitOn::Normal {
            let Some(labels) = labels else {
                bail!("--fit-on normal needs labels: name their column with --label");
            };
            parts.fit.retain(|row| !labels[*row as usize]);
        }
        if parts.fit.is_empty() || parts.test.is_empty() {
            bail!(
                "{}: {} rows are too few to fit on some and score others: use --all-rows, or more rows",
                dataset.name,
                dataset.rows.n_samples()
            );
        }
        if let Some(labels) = labels {
            let has = |wanted| parts.test.iter().any(|row| labels[*row as usize] == wanted);
            let lacking = if has(true) { "normal row" } else { "anomaly" };
            if !(has(true) && has(false)) {
                bail!(
                    "{}: there is no {lacking} among the {} rows that are scored ({how}): use --split random or \
                     another --test-share, or leave out the labels",
                    dataset.name,
                    parts.test.len()
                );
            }
        }
        Ok(Self { split, parts, how: how.to_owned() })
    }

    /// How many rows are held in parts.
    fn n_rows(&self) -> usize {
        let Parts { fit, test } = &self.parts;
        if self.split == Split::AllRows { test.len() } else { fit.len() + test.len() }
    }

    /// The parts, with values where some were missing.
    fn data(&self, args: &CompareArgs, rows: FeatureMatrix, labels: Option<&[bool]>) -> Data {
        let Parts { fit, test } = &self.parts;
        let is_all = |part: &[u32]| part.len() == rows.n_samples();
        let labels = labels.map(|labels| test.iter().map(|row| labels[*row as usize]).collect::<Vec<bool>>());
        let (fit, test) = if is_all(fit) && is_all(test) {
            (rows, None)
        } else {
            let parts = (gather(&rows, fit), gather(&rows, test));
            drop(rows);
            (parts.0, Some(parts.1))
        };
        let imputation = Imputation::fit(args.data.missing, &fit);
        let (fit, test) = (imputation.fill(fit), test.map(|test| imputation.fill(test)));
        let scored = test.as_ref().unwrap_or(&fit);
        let synthetic = labels.is_none().then(|| Synthetic::new(scored, args.seed));
        Data { fit, test, labels, synthetic }
    }

    /// What is fitted on once more in two, of which one part is to set thresholds on; and normal rows of what is scored.
    fn three_parts(
        &self,
        args: &CompareArgs,
        rows: &FeatureMatrix,
        labels: Option<&[bool]>,
    ) -> anyhow::Result<ThreeParts> {
        let split = match self.split {
            Split::Later(_) => Split::Later(CALIBRATION_SHARE),
            Split::AllRows | Split::Random(_) => Split::Random(CALIBRATION_SHARE),
        };
        let of_fit: Option<Vec<bool>> =
            labels.map(|labels| self.parts.fit.iter().map(|row| labels[*row as usize]).collect());
        let inner = split.parts(self.parts.fit.len(), of_fit.as_deref(), args.seed);
        let is_normal = |row: &u32| labels.is_none_or(|labels| !labels[*row as usize]);
        let outer = |rows: Vec<u32>| rows.into_iter().map(|row| self.parts.fit[row as usize]);
        let fit: Vec<u32> = outer(inner.fit).collect();
        let calibration: Vec<u32> = outer(inner.test).filter(is_normal).collect();
        let held_out: Vec<u32> = self.parts.test.iter().copied().filter(is_normal).collect();
        if fit.is_empty() || calibration.is_empty() || held_out.is_empty() {
            bail!("there are too few rows to count false alarms on: --false-alarm-rates splits them in three");
        }
        let fit = gather(rows, &fit);
        let imputation = Imputation::fit(args.data.missing, &fit);
        let filled = |part: &[u32]| imputation.fill(gather(rows, part));
        Ok(ThreeParts { calibration: filled(&calibration), held_out: filled(&held_out), fit: imputation.fill(fit) })
    }
}
