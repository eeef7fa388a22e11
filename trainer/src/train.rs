//! The whole training, step by step: device, load, group, fit and score every detector, write.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use shared::device::{self, ChosenDevice, DeviceError, DeviceRequest};
use shared::model::Model;
use shared::pipeline::{DetectorSpec, Pipeline};
use shared::time::Timestamp;

use crate::args::FitArgs;
use crate::console;
use crate::entities::{Entities, Grouping};
use crate::fit::{Trained, TrainingSet, n_steps};
use crate::load::{self, Loaded};
use crate::memory::{Budget, Shape};
use crate::output::Output;
use crate::overrides::Overrides;
use crate::progress::Progress;
use crate::reports::{Findings, TrainingReport};
use crate::summary;
use crate::timings::Timings;

/// What to train, on what, and where the models go.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The pipeline, flags applied.
    pub pipeline: Arc<Pipeline>,
    /// The files of history.
    pub files: Vec<PathBuf>,
    /// The folder of all models.
    pub models: PathBuf,
    /// What should compute.
    pub device: DeviceRequest,
    /// Seed of all randomness.
    pub seed: u64,
    /// How much memory may be taken.
    pub budget: Budget,
    /// Whether nothing but errors is printed.
    pub quiet: bool,
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
        Ok(Self {
            pipeline: Arc::new(pipeline),
            files: load::resolve(&args.input)?,
            models: args.models.clone(),
            device: args.device,
            seed: args.seed,
            budget: Budget::new(args.max_memory),
            quiet: args.quiet,
        })
    }
}

/// Trains as the command line asks for, writes models and reports, and prints the closing table.
///
/// # Errors
/// The first that occurs, as one sentence; no file was changed then.
pub fn train_and_report(args: &FitArgs) -> anyhow::Result<()> {
    let settings = Settings::new(args)?;
    let mut training = train(&settings)?;
    write(&settings, &mut training)?;
    if !settings.quiet {
        console::print(&summary::summary(&settings, &training))?;
    }
    Ok(())
}

/// Trains every detector of the pipeline.
///
/// # Errors
/// The first that occurs, as one sentence.
pub fn train(settings: &Settings) -> anyhow::Result<Training> {
    let mut timings = Timings::default();
    let progress = Progress { quiet: settings.quiet };
    // Asking for GPUs takes a while, in which the files can be read.
    let request = settings.device;
    let device = thread::spawn(move || device::choose(request));
    let (loaded, entities) = read(settings, progress, &mut timings)?;
    let plan = settings.budget.plan(shape(&settings.pipeline, entities.keys.len(), entities.keys.memory()))?;
    let device = timings.measure("device", || join(device))?;
    if !settings.quiet {
        console::print(&format!("device: {device}\n"))?;
    }
    let set = TrainingSet::new(&settings.pipeline, &entities.features, &device, settings.seed, plan);
    let trained = settings.pipeline.detectors.iter().map(|spec| train_detector(&set, spec, progress, &mut timings));
    let trained = trained.collect::<anyhow::Result<Vec<Trained>>>()?;
    Ok(Training { loaded, entities, trained, device, timings })
}

/// The history, put together into entities as it is read.
fn read(settings: &Settings, progress: Progress, timings: &mut Timings) -> anyhow::Result<(Loaded, Entities)> {
    let pipeline = &settings.pipeline;
    let (mut grouping, mut seconds) = (Grouping::new(pipeline), 0.0);
    let start = Instant::now();
    let loaded = load::load(pipeline, &settings.files, progress, &mut |lines, share| {
        let start = Instant::now();
        grouping.add(lines)?;
        seconds += start.elapsed().as_secs_f64();
        let shape = shape(pipeline, grouping.n_entities(), grouping.key_bytes());
        Ok(settings.budget.check_reading(shape, grouping.memory(), share)?)
    })?;
    timings.add("load", start.elapsed().as_secs_f64() - seconds);
    let start = Instant::now();
    let entities = grouping.finish()?;
    timings.add("group", seconds + start.elapsed().as_secs_f64());
    Ok((loaded, entities))
}

fn shape(pipeline: &Pipeline, n_entities: usize, key_bytes: usize) -> Shape {
    Shape {
        n_entities: n_entities as u64,
        key_bytes: key_bytes as u64,
        n_features: pipeline.features.len() as u64,
        n_detectors: pipeline.detectors.len() as u64,
    }
}

fn join(device: thread::JoinHandle<Result<ChosenDevice, DeviceError>>) -> anyhow::Result<ChosenDevice> {
    Ok(device.join().map_err(|_| anyhow::anyhow!("looking for a device failed; use `--device cpu`"))??)
}

fn train_detector(
    set: &TrainingSet<'_>,
    spec: &DetectorSpec,
    progress: Progress,
    timings: &mut Timings,
) -> anyhow::Result<Trained> {
    let bar = progress.steps(&format!("fitting {}", spec.name), n_steps(spec));
    let fitted = timings.measure(format!("fit {}", spec.name), || set.fit(spec, &|| bar.inc(1)))?;
    bar.finish_and_clear();
    Ok(timings.measure(format!("score {}", spec.name), || set.score(fitted))?)
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
    output.add(folder.join("training.json"), report.to_json()?);
    for Trained { model, .. } in trained.iter() {
        let path = Model::path(&settings.models, &model.pipeline, &model.detector);
        output.add(path, model.to_json().into_bytes());
    }
    Ok(timings.measure("write", || output.write())?)
}

fn now() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Timestamp)
}
