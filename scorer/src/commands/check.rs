//! `scorer check`: whether `run` would start, found out with what `run` itself does before it reads.

use std::fmt::Display;
use std::sync::Arc;

use anyhow::Result;
use shared::model::Model;
use shared::pipeline::Pipeline;
use shared::text::sentence;

use super::logs::init_logs;
use super::run::{choose_topics, delivery, kafka_settings, refuse_contradictions, topic_settings, window_of};
use super::words::listed;
use super::{LIVE_BATCH, Loaded, console, device_for, with_clock};
use crate::alerting::channel;
use crate::args::{CheckArgs, RunArgs};
use crate::exit_code::ChecksFailed;
use crate::kafka::{KafkaError, KafkaSettings, Topics, ask_registry, count_topics, look_at_group, missing_topics};

pub(super) async fn check(args: CheckArgs) -> Result<()> {
    init_logs(false);
    let args = args.run;
    let mut checks = Checks::default();
    // In the order of `run`, which ends with the first thing that is wrong.
    checks.note("options", refuse_contradictions(&args), |_| "they do not contradict each other".to_owned())?;
    let loaded = models(&args, &mut checks)?;
    let settings = checks.note("settings", kafka_settings(&args), |settings| {
        format!("brokers {}, {} settings of Kafka's clients", settings.brokers, settings.properties.len())
    })?;
    match (loaded, settings) {
        (Some(loaded), Some(settings)) => on_kafka(&args, &loaded, &settings, &mut checks).await?,
        _ => checks.skip("brokers", "pipeline, models and settings have to be right first")?,
    }
    state_folder(&args, &mut checks)?;
    checks.end()
}

/// Pipeline, device and models; what there is to run with, where all is well.
fn models(args: &RunArgs, checks: &mut Checks) -> Result<Option<Loaded>> {
    let pipeline = Pipeline::load(&args.pipeline.pipeline).map_err(anyhow::Error::from);
    let pipeline = pipeline.and_then(|pipeline| with_clock(pipeline, args.clock)).map(Arc::new);
    let of_pipeline = |pipeline: &Arc<Pipeline>| {
        let (features, detectors) = (pipeline.n_features(), pipeline.detectors.len() + pipeline.zscores.len());
        format!("`{}`, {features} features, {detectors} detectors, definition {}", pipeline.name, pipeline.definition)
    };
    let Some(pipeline) = checks.note("pipeline", pipeline, of_pipeline)? else {
        checks.skip("device, models", "the pipeline has to be right first")?;
        return Ok(None);
    };
    // What is measured of a GPU is not kept: nothing is created here.
    let device = device_for(&args.pipeline, &pipeline, LIVE_BATCH, None);
    let Some(device) = checks.note("device", device, ToString::to_string)? else {
        checks.skip("models", "the device has to be there first")?;
        return Ok(None);
    };
    let loaded = Loaded::new(&args.pipeline, pipeline, device);
    let loaded = checks.note("models", loaded, |loaded| {
        let of_model = |model: &Model| format!("{} {}", model.detector, model.version());
        let models: Vec<String> = loaded.detectors.models().map(of_model).collect();
        let from = loaded.models.folder().map_or("the program".to_owned(), |folder| folder.display().to_string());
        if models.is_empty() { "none is needed".to_owned() } else { format!("{} from {from}", models.join(", ")) }
    })?;
    let Some(loaded) = loaded else { return Ok(None) };
    for doubt in loaded.doubts() {
        checks.doubt("models", doubt)?;
    }
    if args.listen.is_some() {
        checks.note("window", window_of(args, &loaded), |_| "its address is free".to_owned())?;
    }
    Ok(Some(loaded))
}

async fn on_kafka(args: &RunArgs, loaded: &Loaded, settings: &KafkaSettings, checks: &mut Checks) -> Result<()> {
    let (pipeline, group) = (&loaded.pipeline, &args.group);
    let brokers = count_topics(settings).await.map_err(anyhow::Error::from);
    let are_reached = checks.note("brokers", brokers, |topics| format!("reached; {topics} topics may be seen"))?;
    let topics = if are_reached.is_some() { topics(args, loaded, settings, checks).await? } else { None };
    for spec in &pipeline.channels {
        let made = channel(spec, settings).map_err(anyhow::Error::from);
        checks.note("channel", made, |_| format!("`{}` is ready; `scorer alerts test` sends through it", spec.name))?;
    }
    let Some(topics) = topics else {
        checks.skip("group", "brokers and topics have to be right first")?;
        return registry(pipeline, checks).await;
    };
    let seen = look_at_group(settings, pipeline, group, &topics, delivery(args)).await;
    checks.note("group", seen.map_err(anyhow::Error::from), |partitions| match partitions {
        None => format!("`{group}` would begin with an empty topic"),
        Some(partitions) => format!(
            "`{group}` may read {partitions} partitions of `{}`; whether it may write is known once `run` does",
            topics.input
        ),
    })?;
    registry(pipeline, checks).await
}

/// The topics as `run` would use them, where they are right.
async fn topics(
    args: &RunArgs,
    loaded: &Loaded,
    settings: &KafkaSettings,
    checks: &mut Checks,
) -> Result<Option<Topics>> {
    let (pipeline, group) = (&loaded.pipeline, &args.group);
    let chosen = choose_topics(args, settings, pipeline).await;
    let said = |topics: &Topics| match topics.is_repartitioned() {
        true => format!("lines of `{}` go through `{}`", topics.source, topics.input),
        false => format!("`{}` is read as it is", topics.source),
    };
    let Some(topics) = checks.note("input", chosen, said)? else { return Ok(None) };
    let missing = missing_topics(settings, pipeline, group, &topics, topic_settings(&args.create)).await;
    let fit = checks.note("topics", missing.map_err(anyhow::Error::from), |missing| match missing.as_slice() {
        [] => "all are there, and as they have to be".to_owned(),
        missing => {
            let names: Vec<&str> = missing.iter().map(String::as_str).collect();
            format!("those that are there fit; `run` would create {}", listed(&names))
        }
    })?;
    Ok(fit.map(|_| topics))
}

async fn registry(pipeline: &Arc<Pipeline>, checks: &mut Checks) -> Result<()> {
    if pipeline.registry.is_none() {
        return Ok(());
    }
    let said = |url: &Option<String>| format!("{} answers", url.as_deref().unwrap_or_default());
    checks.note("registry", ask_registry(pipeline).await.map_err(anyhow::Error::from), said)?;
    Ok(())
}

/// Only looks: the folder is made by `run`.
fn state_folder(args: &RunArgs, checks: &mut Checks) -> Result<()> {
    let path = &args.state_dir;
    let outcome = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok("is there"),
        Ok(_) => Err("it is not a folder".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("is made when `run` needs it"),
        Err(error) => Err(error.to_string()),
    };
    let outcome = outcome.map_err(|cause| KafkaError::StateFolder { path: path.clone(), cause }.into());
    checks.note("state", outcome, |how| format!("{} {how}", path.display()))?;
    Ok(())
}

/// What was looked at so far.
#[derive(Debug, Default)]
struct Checks {
    done: usize,
    failed: usize,
    /// The first that failed: the one that `run` ends with.
    first: Option<anyhow::Error>,
}

impl Checks {
    /// Prints an outcome on a line, and gives back what there is to go on with.
    fn note<T>(&mut self, name: &str, outcome: Result<T>, said: impl FnOnce(&T) -> String) -> Result<Option<T>> {
        self.done += 1;
        match outcome {
            Ok(found) => {
                line("ok", name, said(&found))?;
                Ok(Some(found))
            }
            Err(error) => {
                line("wrong", name, sentence(error.as_ref()))?;
                self.failed += 1;
                self.first.get_or_insert(error);
                Ok(None)
            }
        }
    }

    /// Something that `run` would warn of.
    fn doubt(&self, name: &str, text: impl Display) -> Result<()> {
        line("doubt", name, text)
    }

    fn skip(&self, name: &str, why: &str) -> Result<()> {
        line("-", name, format_args!("not looked at: {why}"))
    }

    fn end(self) -> Result<()> {
        let Self { done, failed, first } = self;
        match first {
            None => Ok(()),
            Some(first) => Err(ChecksFailed { failed, done, first }.into()),
        }
    }
}

fn line(outcome: &str, name: &str, text: impl Display) -> Result<()> {
    Ok(console::print(format_args!("{outcome:<5} {name:<8} {text}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_end_as_the_first_one_that_failed() {
        let missing = || Err::<(), _>(KafkaError::MissingTopic("t".to_owned()).into());
        let mut checks = Checks::default();
        assert_eq!(checks.note("a", Ok(3), ToString::to_string).unwrap(), Some(3));
        assert!(checks.note("b", missing(), |_| String::new()).unwrap().is_none());
        assert!(checks.note("c", Err::<(), _>(anyhow::anyhow!("later")), |_| String::new()).unwrap().is_none());
        let error = checks.end().unwrap_err();
        let failed = error.downcast_ref::<ChecksFailed>().unwrap();
        assert_eq!((failed.failed, failed.done), (2, 3));
        assert!(failed.first.is::<KafkaError>());
        Checks::default().end().unwrap();
    }
}
