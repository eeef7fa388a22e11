//! `scorer ab`: how two detectors agree on the same entities, and, where labels say what those are, which is right.

mod json;
mod records;
mod report;
mod text;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use shared::pipeline::{Pipeline, Scored};
use shared::text::printable;
use shared::time::format_timestamp;

use self::report::{ComparisonReport, Labelled};
use super::console;
use super::logs::init_logs;
use crate::agreement::{Intake, Labels};
use crate::args::AbArgs;
use crate::file::{InputFile, pipeline_of_messages, read_labels, read_messages, read_verdicts};
use crate::kafka::{KafkaError, VerdictTopics, read_topic_labels};

pub(super) fn ab(args: &AbArgs) -> Result<()> {
    init_logs(false);
    let pipeline = Arc::new(Pipeline::load(&args.pipeline.pipeline)?);
    let names = choose(&pipeline, args)?;
    let report = compare(args, &pipeline, names)?;
    if args.json {
        console::print_json(&json::of(&report))?;
    } else {
        console::print(text::of(&report))?;
    }
    Ok(())
}

/// The two detectors, by default the first two.
fn choose(pipeline: &Pipeline, args: &AbArgs) -> Result<[String; 2]> {
    let all: Vec<&str> = pipeline.detector_topics().map(|(name, _)| name).collect();
    let known = || all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = [&args.a, &args.b].into_iter().flatten().find(|name| !all.contains(&name.as_str())) {
        bail!("pipeline `{}` has no detector `{unknown}`: it has {}", pipeline.name, known());
    }
    let other_than = |taken: Option<&str>| all.iter().copied().find(|name| Some(*name) != taken);
    let a = args.a.as_deref().or_else(|| other_than(args.b.as_deref()));
    let b = args.b.as_deref().or_else(|| other_than(a));
    match (a, b) {
        (Some(a), Some(b)) if a != b => Ok([a.to_owned(), b.to_owned()]),
        (Some(a), Some(_)) => bail!("`{a}` is both --a and --b: name two of {}", known()),
        _ => bail!("pipeline `{}` has no detector but {}: there is nothing to compare it with", pipeline.name, known()),
    }
}

fn compare(args: &AbArgs, pipeline: &Arc<Pipeline>, names: [String; 2]) -> Result<ComparisonReport> {
    check_labels(args, pipeline)?;
    let topics = args.input.is_empty().then(|| topics_of(pipeline, &names));
    let settings = args.brokers.settings()?;
    let look = |topics| VerdictTopics::until_now(&settings, topics, args.since);
    // The ends of the verdicts before the labels: of what comes meanwhile there may be a label and no verdict, which does
    // not matter, but no verdict without its label.
    let topics = topics.map(look).transpose().map_err(|error| without_topic(error, NO_VERDICTS))?;
    let mut labelled = None;
    let labels = read_labels_of(args, pipeline)?.map(|(labels, source)| {
        let anomalies = args.since.is_none().then(|| labels.n_anomalies());
        labelled = Some(Labelled { source, anomalies });
        labels
    });
    let [a, b] = &names;
    let mut intake = Intake::new(&pipeline.name, [a, b], labels.as_ref());
    let is_scored_now = match topics {
        Some(topics) => topics.read(&mut intake).map(|()| false)?,
        None => gather(args, pipeline, &names, &mut intake)?,
    };
    let source = describe_source(args, pipeline, &names);
    if intake.is_empty() {
        bail!(nothing_in(&source, is_scored_now, args, pipeline, &names));
    }
    if is_scored_now && labelled.is_none() && pipeline.label.is_some() {
        labelled = Some(Labelled { source: source.clone(), anomalies: None });
    }
    let (found, versions) = intake.finish(is_scored_now.then_some(true), args.examples);
    let versions = versions.map(|versions| versions.into_iter().collect());
    let entities = match &pipeline.scored {
        Scored::Sessions(_) => "invoices",
        Scored::Records(_) => "records",
    };
    Ok(ComparisonReport { pipeline: pipeline.name.clone(), names, versions, entities, source, found, labels: labelled })
}

/// Whether there are labels where they are asked for without a file.
fn check_labels(args: &AbArgs, pipeline: &Pipeline) -> Result<()> {
    match &args.labels {
        Some(None) if !args.input.is_empty() => {
            bail!("--labels reads the pipeline's topic: with --input, name a file of keys and labels, --labels FILE")
        }
        Some(None) if pipeline.label.is_none() => {
            bail!("pipeline `{}` has no [label]: name a file of keys and labels, --labels FILE", pipeline.name)
        }
        _ => Ok(()),
    }
}

/// The labels that were asked for by themselves, and where they are from.
fn read_labels_of(args: &AbArgs, pipeline: &Arc<Pipeline>) -> Result<Option<(Labels, String)>> {
    match &args.labels {
        None => Ok(None),
        Some(Some(path)) => {
            let labels = read_labels(InputFile::open(path)?, pipeline)?;
            Ok(Some((labels, path.display().to_string())))
        }
        Some(None) => {
            // Of all times: a verdict may come long after its record, and its record's label is needed.
            let labels = read_topic_labels(&args.brokers.settings()?, pipeline)
                .map_err(|error| without_topic(error, "name a file of keys and labels, --labels FILE"))?;
            Ok(Some((labels, format!("topic `{}`", pipeline.topic))))
        }
    }
}

/// What an input file holds.
enum FileContent {
    Parquet,
    Messages(InputFile),
    Records(InputFile),
}

/// A file and what it holds.
type Opened<'a> = (&'a Path, FileContent);

fn open<'a>(path: &'a Path, pipeline: &Pipeline) -> Result<Opened<'a>> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
        return Ok((path, FileContent::Parquet));
    }
    let mut file = InputFile::open(path)?;
    match pipeline_of_messages(&file.first_line()?) {
        None => Ok((path, FileContent::Records(file))),
        Some(of) if of == pipeline.name => Ok((path, FileContent::Messages(file))),
        Some(of) => bail!(
            "{} holds verdicts of pipeline `{}` and not of `{}`: name theirs with --pipeline",
            path.display(),
            printable(&of),
            pipeline.name
        ),
    }
}

/// Hands over the verdicts of files; whether they were made just now, those on normal entities too.
fn gather(args: &AbArgs, pipeline: &Pipeline, names: &[String; 2], intake: &mut Intake<'_>) -> Result<bool> {
    let Some((first, rest)) = args.input.split_first() else { return Ok(false) };
    let first = open(first, pipeline)?;
    let are_records = matches!(first.1, FileContent::Records(_));
    let files = std::iter::once(Ok(first)).chain(rest.iter().map(|path| open(path, pipeline)));
    if are_records {
        records::score(args, names, files, intake)?;
        return Ok(true);
    }
    for file in files {
        match file? {
            (path, FileContent::Parquet) => read_verdicts(path, intake)?,
            (_, FileContent::Messages(file)) => read_messages(file, intake)?,
            (path, FileContent::Records(_)) => return Err(mixed(path, "records", "verdicts")),
        }
    }
    Ok(false)
}

fn mixed(path: &Path, holds: &str, others: &str) -> anyhow::Error {
    anyhow!("{} holds {holds} and the files before it {others}: compare one kind at a time", path.display())
}

fn topics_of<'a>(pipeline: &'a Pipeline, names: &[String; 2]) -> [&'a str; 2] {
    let topic_of = |wanted: &String| pipeline.detector_topics().find(|(name, _)| name == wanted);
    [0, 1].map(|index| topic_of(&names[index]).map_or("", |(_, topic)| topic))
}

/// What to do where there is no topic of verdicts.
const NO_VERDICTS: &str = "run `scorer run --all-verdicts` first, or name files with --input FILE";

/// A topic that is not there is not for a reader to create.
fn without_topic(error: KafkaError, advice: &str) -> anyhow::Error {
    match error {
        KafkaError::MissingTopic(topic) => anyhow!("topic `{topic}` does not exist: {advice}"),
        error => error.into(),
    }
}

fn describe_source(args: &AbArgs, pipeline: &Pipeline, names: &[String; 2]) -> String {
    if args.input.is_empty() {
        let since = args.since.map_or_else(String::new, |since| format!(" since {}", format_timestamp(since)));
        let [a, b] = topics_of(pipeline, names);
        return format!("topics `{a}` and `{b}`{since}");
    }
    args.input.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Why there is nothing to compare.
fn nothing_in(source: &str, is_scored_now: bool, args: &AbArgs, pipeline: &Pipeline, [a, b]: &[String; 2]) -> String {
    let name = &pipeline.name;
    if is_scored_now {
        return format!(
            "{source}: none of the records could be judged: are they of pipeline `{name}`? `scorer score` says what is wrong with each"
        );
    }
    let advice = match (args.input.is_empty(), args.since) {
        (true, Some(_)) => "leave --since out, or",
        (true, None) => "let `scorer run --all-verdicts` publish some, or",
        (false, _) => "let `scorer score` write some, or",
    };
    format!(
        "{source}: no verdict of `{a}` or `{b}` of pipeline `{name}` is there: {advice} name files of records with --input FILE"
    )
}
