//! The whole training, step by step: device, load, group, fit and score every detector, write.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::Context;
use shared::device::{self, ChosenDevice, DeviceError, DeviceRequest, Devices, cache_folder};
use shared::model::training_report;
use shared::pipeline::{DetectorSpec, Pipeline};
use shared::shipped;
use shared::text::printable_lines;

use crate::analysts::Analysts;
use crate::args::FitArgs;
use crate::clock::now;
use crate::console;
use crate::entities::{Entities, EntityAggregator};
use crate::existing::{Destination, Existing};
use crate::fit::{Trained, TrainingSet, job};
use crate::labels;
use crate::load::{self, ChunkError, HistoryFile, LoadError, Loaded, MaxBad};
use crate::memory::{Budget, Shape};
use crate::output::Output;
use crate::overrides::Overrides;
use crate::progress::Progress;
use crate::reports::{Findings, TrainingReport};
use crate::timings::Timings;

/// What to train, on what, and where the models go.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The pipeline, flags applied.
    pub pipeline: Arc<Pipeline>,
    /// The files of history.
    pub files: Vec<HistoryFile>,
    /// The folder of all models.
    pub models: PathBuf,
    /// What should compute.
    pub device: DeviceRequest,
    /// Seed of all randomness.
    pub seed: u64,
    /// How much memory may be taken.
    pub budget: Budget,
    /// How much of a file may be dropped for one reason.
    pub max_bad: MaxBad,
    /// What analysts said, where they are asked.
    pub analysts: Option<Analysts>,
    /// Whether nothing but errors is printed.
    pub quiet: bool,
    /// Whether nobody named a history, and the files are the pipeline's sample.
    pub is_sample: bool,
    /// Whether such a training replaces models of another history, too.
    pub force: bool,
    /// Whether it is kept when and whose records are.
    pub moments: bool,
}

/// A finished training.
#[derive(Debug)]
pub struct Training {
    /// What was read.
    pub loaded: Loaded,
    /// What was trained on.
    pub entities: Entities,
    /// The detectors in the order of the pipeline file.
    pub trained: Vec<Trained>,
    /// What computed.
    pub device: ChosenDevice,
    /// How long each step took.
    pub timings: Timings,
}

impl Settings {
    /// From what was typed to what it means: the pipeline is loaded and the files are looked up.
    ///
    /// # Errors
    /// When the pipeline is not valid or a file is not there.
    pub fn new(args: &FitArgs) -> anyhow::Result<Self> {
        let mut pipeline = Pipeline::load(&args.pipeline)?;
        Overrides::from(args.overrides).apply(&mut pipeline);
        // What the file may not say, a flag may not either.
        for spec in &pipeline.detectors {
            let checked = spec.algorithm.check().and_then(|()| spec.threshold.check());
            let checked = checked.and_then(|()| labels::check(&pipeline, spec));
            checked.map_err(|problem| anyhow::anyhow!("detector `{}`: {problem}", spec.name))?;
        }
        // Without anything to train, history is not needed.
        let files = if pipeline.detectors.is_empty() {
            Vec::new()
        } else {
            history_files(&pipeline, &args.input, "learn from")?
        };
        Ok(Self {
            pipeline: Arc::new(pipeline),
            files,
            models: args.models.clone(),
            device: args.device,
            seed: args.seed,
            budget: Budget::new(args.max_memory),
            max_bad: args.max_bad,
            analysts: args.labels.as_deref().map(Analysts::read).transpose()?,
            quiet: args.quiet,
            is_sample: args.input.is_empty(),
            force: args.force,
            moments: false,
        })
    }
}

/// The files that were given, or the pipeline's sample history where none was; what it is to be used for is `purpose`.
///
/// # Errors
/// When none was given and there is no sample, or a file is not there.
pub fn history_files(pipeline: &Pipeline, given: &[String], purpose: &str) -> anyhow::Result<Vec<HistoryFile>> {
    if !given.is_empty() {
        return Ok(load::resolve(given)?.into_iter().map(Into::into).collect());
    }
    match pipeline.samples().and_then(|samples| shipped::history(samples.history)) {
        Some(sample) => Ok(vec![HistoryFile::on_disk_or(sample)]),
        None => anyhow::bail!(
            "pipeline `{}` has no sample data: name the history to {purpose} with --input FILE",
            pipeline.name
        ),
    }
}

/// Trains every detector of the pipeline that needs it; there is at least one.
///
/// # Errors
/// The first that occurs, as one sentence.
pub fn train(settings: &Settings) -> anyhow::Result<Training> {
    let mut timings = Timings::default();
    let progress = Progress { quiet: settings.quiet };
    // Asking for GPUs takes a while, in which the files can be read.
    let request = settings.device;
    let devices = thread::spawn(move || Devices::find(request, cache_folder()));
    let (loaded, mut entities) = read(settings, progress, &mut timings)?;
    if let Some(analysts) = &settings.analysts {
        leave_out_confirmed(&mut entities, analysts)?;
    }
    let plan = settings.budget.plan(shape(&settings.pipeline, entities.keys.len(), entities.keys.text_bytes()))?;
    let devices = timings.measure("device", || join(devices))?;
    let (pipeline, n_samples) = (&settings.pipeline, entities.keys.len());
    let device = devices.for_job(&job(pipeline.detectors.iter(), n_samples, pipeline.n_features()));
    if !settings.quiet {
        console::print(&format!("device: {device}\n"))?;
    }
    let (trained, device) = on_a_device(device, |device| {
        let set = TrainingSet::new(&settings.pipeline, &entities.features, device, settings.seed, plan)
            .with_labels(entities.labels.as_ref());
        let specs = settings.pipeline.detectors.iter();
        specs.map(|spec| train_detector(&set, spec, progress, &mut timings)).collect()
    })?;
    Ok(Training { loaded, entities, trained, device, timings })
}

/// Leaves out what analysts have confirmed, and says so where that is nothing: the file may be of another history.
fn leave_out_confirmed(entities: &mut Entities, analysts: &Analysts) -> anyhow::Result<()> {
    let left_out = entities.leave_out_confirmed(|key| analysts.is_anomaly(key))?;
    if left_out == 0 && analysts.n_anomalies() > 0 {
        let anomalies = analysts.n_anomalies();
        eprintln!(
            "warning: none of the {anomalies} confirmed anomalies in {analysts} is in this history: nothing is left out"
        );
    }
    Ok(())
}

/// Does `work` on `device` or, when that fails and may be replaced, all of it again on the CPU; the result, and the device
/// that gave it.
fn on_a_device<T>(
    device: ChosenDevice,
    mut work: impl FnMut(&ChosenDevice) -> anyhow::Result<T>,
) -> anyhow::Result<(T, ChosenDevice)> {
    match device::guarded(&device, || work(&device)) {
        Ok(result) => Ok((result?, device)),
        Err(failure) => {
            let warning = format!("warning: {}; the fit is repeated on the CPU", failure.what_happened());
            let cpu = device.replaced_after(failure)?;
            eprintln!("{warning}");
            Ok((work(&cpu)?, cpu))
        }
    }
}

/// The history, put together into entities as it is read; read once more where its records turn out to be in no order.
pub(crate) fn read(
    settings: &Settings,
    progress: Progress,
    timings: &mut Timings,
) -> anyhow::Result<(Loaded, Entities)> {
    match read_into(EntityAggregator::new(&settings.pipeline), settings, progress, timings) {
        Err(error) if matches!(error.downcast_ref(), Some(LoadError::Chunk(ChunkError::OutOfOrder(_)))) => {
            read_into(EntityAggregator::holding(&settings.pipeline), settings, progress, timings)
        }
        result => result,
    }
}

fn read_into(
    aggregator: EntityAggregator<'_>,
    settings: &Settings,
    progress: Progress,
    timings: &mut Timings,
) -> anyhow::Result<(Loaded, Entities)> {
    let mut aggregator = if settings.moments { aggregator.with_moments() } else { aggregator };
    let (pipeline, mut seconds) = (&settings.pipeline, 0.0);
    let start = Instant::now();
    let loaded = load::load(pipeline, &settings.files, progress, &mut |lines, share| {
        let start = Instant::now();
        aggregator.add(lines)?;
        seconds += start.elapsed().as_secs_f64();
        let shape = shape(pipeline, aggregator.n_entities(), aggregator.key_bytes());
        Ok(settings.budget.check_reading(shape, aggregator.memory(), share)?)
    })?;
    loaded.check(pipeline, settings.max_bad)?;
    if let Some(odd) = &loaded.odd_dates {
        eprintln!("warning: {}", printable_lines(&odd.to_string()));
    }
    timings.add("load", start.elapsed().as_secs_f64() - seconds);
    let start = Instant::now();
    let entities = aggregator.finish()?;
    timings.add("group", seconds + start.elapsed().as_secs_f64());
    Ok((loaded, entities))
}

fn shape(pipeline: &Pipeline, n_entities: usize, key_bytes: usize) -> Shape {
    Shape {
        n_entities: n_entities as u64,
        key_bytes: key_bytes as u64,
        n_features: pipeline.n_features() as u64,
        n_detectors: pipeline.detectors.len() as u64,
        rows_in_memory: pipeline.detectors.iter().any(|spec| !spec.algorithm.supports_out_of_core()),
    }
}

fn join(devices: thread::JoinHandle<Result<Devices, DeviceError>>) -> anyhow::Result<Devices> {
    Ok(devices.join().map_err(|_| anyhow::anyhow!("looking for a device failed; use `--device cpu`"))??)
}

fn train_detector(
    set: &TrainingSet<'_>,
    spec: &DetectorSpec,
    progress: Progress,
    timings: &mut Timings,
) -> anyhow::Result<Trained> {
    let bar = progress.steps(&format!("fitting {}", spec.name), spec.algorithm.n_steps());
    let fitted = timings.measure(format!("fit {}", spec.name), || set.fit(spec, &|| bar.inc(1)))?;
    bar.finish_and_clear();
    Ok(timings.measure(format!("score {}", spec.name), || set.score(fitted))?)
}

/// Where the models go: where they were meant to, or beside models of another history that they must not replace.
///
/// # Errors
/// As [`Destination::sparing`].
pub fn destination(settings: &Settings, training: &Training) -> anyhow::Result<Destination> {
    let Settings { models, pipeline, files, is_sample, force, .. } = settings;
    let fingerprint = training.trained.first().map(|trained| trained.model.training.data_fingerprint.as_str());
    match fingerprint {
        // Who names a history wants its models here. Sample data are no reason to lose what was trained on others.
        Some(fingerprint) if *is_sample && !force => {
            let inputs: Vec<String> = files.iter().map(ToString::to_string).collect();
            Destination::sparing(models, pipeline, (fingerprint, &inputs))
        }
        _ => {
            let detectors = pipeline.detectors.iter().map(|spec| spec.name.as_str());
            Ok(Destination::anyway(models, Existing::find(models, pipeline, detectors)))
        }
    }
}

/// Writes reports and models: all of them, or none.
///
/// # Errors
/// The first that occurs, as one sentence.
pub fn write(settings: &Settings, training: &mut Training) -> anyhow::Result<()> {
    let Training { loaded, entities, trained, device, timings } = training;
    let findings = Findings { pipeline: &settings.pipeline, entities, trained };
    let folder = settings.models.join(&settings.pipeline.name).join("reports");
    let mut output = Output::default();
    timings.measure("report", || findings.add_reports(&folder, &mut output)).context("cannot make the reports")?;
    let report = TrainingReport::new(findings, loaded, device, &settings.files, timings, now());
    // Before the models: the scorer finds by it that a training ended before all of them were in their places.
    output.add(training_report(&settings.models, &settings.pipeline.name), report.to_json()?);
    for Trained { model, .. } in trained.iter() {
        output.add_model(&settings.models, model);
    }
    Ok(timings.measure("write", || output.write())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A GPU that is not there, which nobody finds out who does not use it.
    fn gpu(is_automatic: bool) -> ChosenDevice {
        ChosenDevice { name: "Some GPU".into(), reason: "asked for".into(), is_automatic, ..ChosenDevice::absent() }
    }

    fn fit(device: &ChosenDevice) -> anyhow::Result<u32> {
        if device.is_cpu() { Ok(7) } else { panic!("out of memory") }
    }

    #[test]
    fn what_a_chosen_gpu_fails_at_is_done_again_on_the_cpu() {
        let (result, device) = on_a_device(gpu(true), fit).unwrap();
        assert_eq!((result, device.short_name()), (7, "cpu"));
        assert!(device.reason.starts_with("Some GPU failed; "), "{device}");
    }

    #[test]
    fn what_a_named_gpu_fails_at_is_an_error() {
        let error = on_a_device(gpu(false), fit).unwrap_err().to_string();
        let wanted = "device `Some GPU` failed: out of memory; use `--device cpu`, or `--device auto`, which goes on \
            with the CPU";
        assert_eq!(error, wanted);
    }

    #[test]
    fn an_error_of_the_work_is_no_failure_of_the_device() {
        let mut calls = 0;
        let result = on_a_device(gpu(true), |_| -> anyhow::Result<()> {
            calls += 1;
            anyhow::bail!("all rows are equal")
        });
        assert_eq!((result.unwrap_err().to_string().as_str(), calls), ("all rows are equal", 1));
    }
}
