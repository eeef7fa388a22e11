//! What each command does: the wiring between the command line and the rest.

mod ab;
mod advice;
mod alerting;
mod alerts;
mod check;
mod columns;
mod config;
mod console;
mod demo;
mod doctor;
mod grow;
mod init;
mod labels;
mod live;
mod logs;
mod on_kafka;
mod posted;
mod published;
mod redrive;
mod redrives;
mod replay;
mod report;
mod reset;
mod rows;
mod run;
mod score;
mod simulate;
mod state;
mod status_log;
mod summary;
mod topics;
mod version;
mod watch;
mod window;
mod words;
mod worst;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use configuration::{Parsed, Setting, Source};
use shared::device::{ChosenDevice, Devices, Job, cache_folder};
use shared::model_source::{MODELS, ModelSource};
use shared::pipeline::Pipeline;

use crate::args::{AlertsCommand, Cli, ClockArg, Command, ConfigCommand, PipelineArgs, Simulation};
use crate::kafka::{KafkaError, KafkaSettings, Topics};
use crate::scoring::Detectors;

/// Does what the command line asks for.
///
/// # Errors
/// One sentence: what, where, and what would be right.
pub fn execute(parsed: Parsed<Cli>) -> Result<()> {
    let Parsed { command_line: cli, settings, warnings } = parsed;
    warn(&warnings, settings.iter().any(|setting| setting.name == "json-logs" && setting.values == ["true"]));
    if cli.command.is_none() && settings.iter().all(|setting| setting.source == Source::Default) {
        console::say(FIRST);
    }
    let creates_topics = settings.iter().any(|setting| setting.name == "no-create-topics");
    let done = start(cli.command.unwrap_or(Command::Run(cli.run)), &settings);
    if creates_topics { done } else { done.map_err(without_a_flag) }
}

/// What somebody reads first who types the name of the program and nothing else.
const FIRST: &str = "\
`scorer run`: scores what comes into the topic of pipeline `invoices` on localhost:9092 until Ctrl-C. `scorer --help` shows the \
rest, and `scorer demo` needs no Kafka.";

/// The same error, where no topic is there and no option of the command would create it.
fn without_a_flag(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<KafkaError>() {
        Some(KafkaError::MissingTopic(topic)) => KafkaError::NoTopic(topic.clone()).into(),
        _ => error,
    }
}

fn start(command: Command, settings: &[Setting]) -> Result<()> {
    match command {
        Command::Run(args) => block_on(run::run(args)),
        Command::Demo(args) => block_on(demo::demo(args)),
        Command::Score(args) => score::score(&args),
        Command::Ab(args) => ab::ab(&args),
        Command::Watch(args) => block_on(watch::watch(args)),
        Command::Report(args) => report::report(&args),
        Command::Labels(command) => labels::labels(&command),
        Command::Init(args) => init::init(&args),
        Command::Replay(args) => block_on(replay::replay(args)),
        Command::Simulate(Simulation::Invoices(args)) => simulate::invoices(args),
        Command::Simulate(Simulation::Transactions(args)) => block_on(simulate::transactions(*args)),
        Command::Topics(args) => block_on(topics::topics(args)),
        Command::State(args) => state::state(&args),
        Command::Reset(args) => block_on(reset::reset(&args)),
        Command::Grow(args) => block_on(grow::grow(args)),
        Command::Alerts(AlertsCommand::Test(args)) => alerts::test(&args),
        Command::Redrive(args) => block_on(redrive::redrive(args)),
        Command::Config(ConfigCommand::Show(args)) => config::show(settings, args.json),
        Command::Check(args) => block_on(check::check(args)),
        Command::Doctor(args) => doctor::doctor(&args, settings),
        Command::Version(args) => version::version(args.json),
    }
}

/// Says what is probably not as it was meant, where the log goes.
fn warn(warnings: &[String], is_json: bool) {
    for warning in warnings {
        if is_json {
            logs::init_logs(true);
            tracing::warn!("{warning}");
        } else {
            console::say(format_args!("warning: {warning}"));
        }
    }
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let result = runtime.block_on(work);
    // A call that blocks for ever, which is what an error may be about, must not keep the process.
    runtime.shutdown_background();
    result
}

/// The pipeline with the clock that was asked for.
fn with_clock(pipeline: Pipeline, clock: Option<ClockArg>) -> Result<Pipeline> {
    match clock {
        Some(ClockArg::Event) => Ok(pipeline.with_event_clock()?),
        Some(ClockArg::Record) => Ok(pipeline.with_record_clock()),
        None => Ok(pipeline),
    }
}

/// The topics as a group has run the pipeline so far.
async fn topics_of(settings: &KafkaSettings, pipeline: &Pipeline, group: &str) -> Result<Topics> {
    let (settings, pipeline, group) = (settings.clone(), pipeline.clone(), group.to_owned());
    // Waiting for a broker blocks.
    Ok(tokio::task::spawn_blocking(move || Topics::of_group(&settings, &pipeline, &group)).await??)
}

/// A pipeline, its detectors on a device, the device, and where the models are from.
struct Loaded {
    pipeline: Arc<Pipeline>,
    detectors: Arc<Detectors>,
    device: ChosenDevice,
    models: ModelSource,
}

/// Invoices of a micro-batch of a busy stream: some tens of thousands of lines, every 100 ms.
const LIVE_BATCH: usize = 2048;

/// Loads what is needed to score batches of about `batch` entities.
fn load(args: &PipelineArgs, batch: usize, change: impl FnOnce(Pipeline) -> Result<Pipeline>) -> Result<Loaded> {
    let pipeline = Arc::new(change(Pipeline::load(&args.pipeline)?)?);
    let device = device_for(args, &pipeline, batch, cache_folder())?;
    let loaded = Loaded::new(args, pipeline, device)?;
    for doubt in loaded.doubts() {
        tracing::warn!("{doubt}");
    }
    Ok(loaded)
}

/// The device for batches of about `batch` entities. What is measured is kept in the folder `cache`.
fn device_for(args: &PipelineArgs, pipeline: &Pipeline, batch: usize, cache: Option<PathBuf>) -> Result<ChosenDevice> {
    let with_kernels = pipeline.detectors.iter().filter(|spec| spec.algorithm.has_gpu_kernels());
    let n_clusters: usize = with_kernels.map(|spec| spec.algorithm.most_clusters().unwrap_or(1)).sum();
    let job = match n_clusters {
        0 => Job::WithoutKernel,
        _ => Job::batch(batch, pipeline.n_features(), n_clusters),
    };
    Ok(Devices::find(args.device, cache)?.for_job(&job))
}

impl Loaded {
    /// The models of a pipeline, on a device.
    fn new(args: &PipelineArgs, pipeline: Arc<Pipeline>, device: ChosenDevice) -> Result<Self> {
        let models = ModelSource::find(args.models.as_deref(), &pipeline);
        let detectors = Arc::new(Detectors::load(&models, &pipeline, &device)?);
        Ok(Self { pipeline, detectors, device, models })
    }

    /// Why the models may not be those that are meant, a sentence each.
    fn doubts(&self) -> Vec<String> {
        let listed = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
        let name = &self.pipeline.name;
        let others = self.detectors.of_another_training(&self.models, &self.pipeline);
        let of_another_training = (!others.is_empty()).then(|| {
            format!(
                "the models of pipeline `{name}` are of different trainings: {} is not of the last one, which may have been \
                 ended before it was written; train again",
                listed(&others)
            )
        });
        let unfit = self.detectors.doubts(&self.pipeline).into_iter().map(|(doubt, names)| {
            format!(
                "the models {} of pipeline `{name}` may not fit it: {doubt}; train again to be sure",
                listed(&names)
            )
        });
        of_another_training.into_iter().chain(unfit).collect()
    }

    /// Says so where models that know nothing of the user's data stand in for those that are not there.
    fn warn_of_sample_models(&self) {
        if self.models == ModelSource::BuiltIn && !self.detectors.is_empty() {
            tracing::warn!(
                "there are no models of pipeline `{name}` in ./{MODELS}: those that are built into the program judge, which \
                 were trained on sample data; train your own with `trainer --pipeline {name} --input FILE`",
                name = self.pipeline.name
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_about_an_option_is_for_commands_that_have_it() {
        let missing = without_a_flag(KafkaError::MissingTopic("t".to_owned()).into()).to_string();
        assert!(
            missing.starts_with("topic `t` does not exist: ") && !missing.contains("--no-create-topics"),
            "{missing}"
        );
        let other = without_a_flag(anyhow::anyhow!("something else")).to_string();
        assert_eq!(other, "something else");
    }
}
