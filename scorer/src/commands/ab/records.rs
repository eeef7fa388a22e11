//! Records that both detectors score now, as `scorer score` would.

use std::sync::Arc;

use anyhow::{Result, bail};
use shared::pipeline::Pipeline;
use shared::verdict::Verdict;

use super::{FileContent, Opened, mixed};
use crate::agreement::{Cause, EntityId, Intake, Judged};
use crate::args::AbArgs;
use crate::clock::now_since_epoch;
use crate::commands::{console, load};
use crate::core::{ClosedEntity, Core, Input, Output, Record, WindowVerdict};
use crate::file::FileLines;
use crate::scoring::Detectors;

/// Outputs a batch.
const BATCH: usize = 8192;

/// Scores the records of `files`, one after the other as if they were one, with the two detectors and no others.
pub(super) fn score<'a>(
    args: &AbArgs,
    names: &[String; 2],
    files: impl Iterator<Item = Result<Opened<'a>>>,
    intake: &mut Intake<'_>,
) -> Result<()> {
    let loaded = load(&args.pipeline, BATCH, |mut pipeline| {
        pipeline.detectors.retain(|spec| names.contains(&spec.name));
        pipeline.zscores.retain(|spec| names.contains(&spec.name));
        Ok(pipeline.with_event_clock()?)
    })?;
    loaded.warn_of_sample_models();
    let pipeline = loaded.pipeline;
    let mut judge = Judge { pipeline: &pipeline, detectors: &loaded.detectors, intake };
    // How the records of the first file are written, and of all others.
    let mut read_as: Option<Pipeline> = None;
    let (mut core, mut outputs, mut offset, now) = (None, Vec::new(), 0, now_since_epoch());
    for file in files {
        let (path, content) = file?;
        let FileContent::Records(file) = content else { return Err(mixed(path, "verdicts", "records")) };
        let mut lines = FileLines::new(file, read_as.as_ref().unwrap_or(&pipeline))?;
        let format = lines.format();
        let read_as = read_as.get_or_insert_with(|| lines.pipeline(&pipeline));
        let (written, core) = core.get_or_insert_with(|| (format, Core::new(Arc::new(read_as.clone()))));
        if *written != format {
            bail!("{} has another format than the files before it: give files of one format", path.display());
        }
        while let Some(line) = lines.next_line()? {
            let record = Record { written_by: Some(now), ..Record::new(0, offset, 0, &line.record) };
            core.apply(Input::Record(record), &mut outputs);
            offset += 1;
            if outputs.len() >= BATCH {
                judge.take(&mut outputs)?;
            }
        }
    }
    if let Some((_, mut core)) = core {
        core.apply(Input::End, &mut outputs);
    }
    judge.take(&mut outputs)?;
    console::say(format_args!("device: {}", loaded.device));
    Ok(())
}

/// Turns what the state machine says into verdicts of the two.
struct Judge<'a, 'b> {
    pipeline: &'a Pipeline,
    detectors: &'a Detectors,
    intake: &'a mut Intake<'b>,
}

impl Judge<'_, '_> {
    fn take(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
        let mut entities = Vec::new();
        for output in outputs.drain(..) {
            match output {
                Output::Closed(entity) => entities.push(entity),
                Output::Windowed(found) => self.windowed(&found),
                Output::Erroneous(_)
                | Output::Cancellations(_)
                | Output::Report(_)
                | Output::Forwarded(_)
                | Output::Watermark(_) => {}
            }
        }
        self.closed(&entities)
    }

    fn closed(&mut self, entities: &[ClosedEntity]) -> Result<()> {
        for judgements in self.detectors.judgements(entities)? {
            let Some(side) = self.intake.side(&judgements.detector) else { continue };
            let mut anomalies = judgements.anomalies.iter().peekable();
            for (place, (entity, &(score, threshold))) in entities.iter().zip(&judgements.scores).enumerate() {
                let verdict = anomalies.next_if(|(at, _)| *at == place).map(|(_, verdict)| verdict);
                let summary = &entity.summary;
                let judged = Judged {
                    side,
                    id: EntityId::new(&summary.key, summary.first_timestamp, summary.last_timestamp),
                    key: &summary.key,
                    score,
                    threshold,
                    is_anomalous: verdict.is_some(),
                    is_labelled: self.is_labelled(&summary.key, entity.truth.as_deref()),
                };
                self.intake.take(&judged, &judgements.version, || verdict.and_then(Cause::of));
            }
        }
        Ok(())
    }

    fn windowed(&mut self, found: &WindowVerdict) {
        let WindowVerdict { detector, summary, value, score, window, truth, .. } = found;
        let Some(spec) = self.pipeline.zscores.get(*detector) else { return };
        let Some(side) = self.intake.side(&spec.name) else { return };
        let verdict = Verdict::of_window(self.pipeline, spec, summary, *value, (*score, window));
        let judged = Judged {
            side,
            id: EntityId::new(&summary.key, summary.first_timestamp, summary.last_timestamp),
            key: &summary.key,
            score: verdict.score,
            threshold: verdict.threshold,
            is_anomalous: verdict.anomalous,
            is_labelled: self.is_labelled(&summary.key, truth.as_deref()),
        };
        self.intake.take(&judged, &verdict.model_version, || Cause::of(&verdict));
    }

    /// By the labels that were asked for by themselves, or else by what the record says.
    fn is_labelled(&self, key: &str, truth: Option<&str>) -> bool {
        if self.intake.has_labels() { self.intake.is_labelled(key) } else { truth.is_some() }
    }
}
