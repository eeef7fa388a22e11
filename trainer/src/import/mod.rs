//! `trainer import`: models that another program trained become models of a pipeline, with the same verdicts.
//!
//! `spark` reads what Spark saved, `threshold` the file with the threshold, `model` puts both together, and `history`
//! adds what a training would know of the history.

pub mod args;
mod distance;
mod history;
mod model;
mod report;
pub mod spark;
mod threshold;

use std::path::Path;

use anyhow::{Context, bail};
use shared::model::{Model, fingerprint};
use shared::pipeline::{DetectorSpec, Pipeline};

use crate::console;
use crate::existing::Existing;
use crate::inspect::inspect;
use crate::output::Output;
use args::{ImportArgs, ImportFrom, SparkArgs};
use model::Source;
use spark::{SourceFile, SparkModel};

/// Imports a model as the command line asks for it, writes it, and prints what it is.
///
/// # Errors
/// The first that occurs, as one sentence; no file was changed then.
pub fn import_and_report(args: &ImportArgs) -> anyhow::Result<()> {
    let ImportFrom::Spark(args) = &args.from;
    let pipeline = Pipeline::load(&args.pipeline)?;
    let model = read(args, &pipeline)?;
    let existing = Existing::find(&args.models, &pipeline, [model.detector.as_str()]);
    write(&args.models, &model)?;
    if !args.quiet {
        console::print(&told(args, &model, existing.as_ref())?)?;
    }
    Ok(())
}

/// The model that the files hold, for a detector of the pipeline.
fn read(args: &SparkArgs, pipeline: &Pipeline) -> anyhow::Result<Model> {
    let found = SparkModel::read(&args.folder)?;
    let spec = detector(pipeline, args.detector.as_deref(), &found)?;
    let threshold = threshold::read(&args.threshold)?;
    let source = Source {
        fingerprint: fingerprint_of(&found.files, &threshold.files),
        found,
        distance: args.distance.into(),
        threshold: threshold.value,
    };
    let model = source.model(pipeline, spec).with_context(|| format!("cannot import {}", args.folder.display()))?;
    if args.history.is_empty() { Ok(model) } else { history::add(model, args, pipeline) }
}

/// The detector that was named, or else the one that is trained by the algorithm of what was found.
fn detector<'a>(pipeline: &'a Pipeline, named: Option<&str>, found: &SparkModel) -> anyhow::Result<&'a DetectorSpec> {
    let (algorithm, class) = (found.algorithm(), &found.class);
    let is_fit = |spec: &&DetectorSpec| spec.algorithm.name() == algorithm;
    let fitting = || names(pipeline.detectors.iter().filter(is_fit));
    if let Some(name) = named {
        let Some(spec) = pipeline.detectors.iter().find(|spec| spec.name == name) else {
            let known = names(pipeline.detectors.iter());
            bail!("pipeline `{}` has no detector `{name}` that is trained; it has {known}", pipeline.name);
        };
        if !is_fit(&spec) {
            bail!(
                "the model is a {class}, and detector `{name}` of pipeline `{}` is trained by {}: name one that is trained by \
                 {algorithm} ({})",
                pipeline.name,
                spec.algorithm.name(),
                fitting()
            );
        }
        return Ok(spec);
    }
    let mut specs = pipeline.detectors.iter().filter(is_fit);
    match (specs.next(), specs.next()) {
        (Some(spec), None) => Ok(spec),
        (None, _) => bail!(
            "the model is a {class}, and pipeline `{}` has no detector that is trained by {algorithm}",
            pipeline.name
        ),
        (Some(_), Some(_)) => bail!(
            "pipeline `{}` has several detectors that are trained by {algorithm}: name one with --detector ({})",
            pipeline.name,
            fitting()
        ),
    }
}

fn names<'a>(specs: impl Iterator<Item = &'a DetectorSpec>) -> String {
    let names: Vec<&str> = specs.map(|spec| spec.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What tells these files from others: their names and hashes, a line each.
fn fingerprint_of(model: &[SourceFile], threshold: &[SourceFile]) -> String {
    let line = |of: &'static str| move |file: &SourceFile| format!("{}  {of}/{}\n", file.sha256, file.name);
    let lines: String = model.iter().map(line("model")).chain(threshold.iter().map(line("threshold"))).collect();
    fingerprint(lines.as_bytes())
}

/// Writes the model. A report on a training that names another model of the detector no longer names any: else the scorer would
/// take that training for one that ended half-way.
fn write(models: &Path, model: &Model) -> anyhow::Result<()> {
    let mut output = Output::default();
    if let Some((path, bytes)) = report::without(models, &model.pipeline, &model.detector) {
        output.add(path, bytes);
    }
    output.add_model(models, model);
    Ok(output.write()?)
}

fn told(args: &SparkArgs, model: &Model, replaced: Option<&Existing>) -> anyhow::Result<String> {
    let path = Model::path(&args.models, &model.pipeline, &model.detector);
    let mut text = inspect(&path)?;
    text.push_str(&format!(
        "\n features, in the order of the centres: {}\n\n the model is in {}\n",
        model.features.join(", "),
        path.display()
    ));
    if let Some(replaced) = replaced {
        text.push_str(&format!(" it replaces {},\n   {}\n", replaced.names(), replaced.history()));
    }
    if args.history.is_empty() {
        text.push_str(
            " without --history it knows no p-values and no usual ranges: severities go by the ratio of score and\n threshold alone\n",
        );
    }
    Ok(text)
}
