//! `scorer score`: a file through the same state machine and detectors, without Kafka.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use super::logs::init_logs;
use super::worst::Worst;
use super::{console, load, summary};
use crate::args::ScoreArgs;
use crate::clock::now_since_epoch;
use crate::core::{Core, Input, Output, Record};
use crate::file::{FileLines, InputFile, OutputError, VerdictFile, is_standard_output};
use crate::messages::{Content, Encoded, Encoder};
use crate::scoring::Detectors;
use crate::status::Status;

/// Outputs a batch.
const BATCH: usize = 8192;

pub(super) fn score(args: &ScoreArgs) -> Result<()> {
    match score_all(args) {
        // A reader that has seen enough, as in `| head`, is no error.
        Err(error) if error.downcast_ref::<OutputError>().is_some_and(OutputError::is_broken_pipe) => Ok(()),
        done => done,
    }
}

fn score_all(args: &ScoreArgs) -> Result<()> {
    init_logs(false);
    let mut file = VerdictFile::new(&args.output)?;
    let loaded = load(&args.pipeline, BATCH, |pipeline| Ok(pipeline.with_event_clock()?))?;
    loaded.warn_of_sample_models();
    let (start, now) = (Instant::now(), now_since_epoch());
    let mut lines = FileLines::new(InputFile::open(&args.input)?, &loaded.pipeline)?;
    let source = args.input.display().to_string();
    let encoder = Encoder::new(loaded.pipeline.clone(), &source, !args.anomalies_only, usize::MAX).of_file();
    let mut results = Results::new(&loaded.detectors, &encoder, &mut file);
    // A file's records may be written in another way than the stream's.
    let pipeline = lines.pipeline(&loaded.pipeline);
    let mut core = Core::new(Arc::new(pipeline));
    let mut outputs = Vec::new();
    while let Some(line) = lines.next_line()? {
        // A file has no timestamps of Kafka's; by the event clock they are not needed. What it says was written before.
        let number = i64::try_from(line.number).unwrap_or(i64::MAX);
        let (written_by, file) = (Some(now), Some(source.as_str()));
        let record = Record { written_by, file, item: line.item, ..Record::new(0, number, 0, &line.record) };
        core.apply(Input::Record(record), &mut outputs);
        if outputs.len() >= BATCH {
            results.take(&mut outputs)?;
        }
    }
    core.apply(Input::End, &mut outputs);
    results.take(&mut outputs)?;
    warn_of_odd_dates(&core);
    let Results { status, worst, .. } = results;
    let status = Status { counters: core.counters(), ..status };
    file.finish()?;
    console::say(format_args!("device: {}", loaded.device));
    console::say(summary::text(&status, &loaded.pipeline));
    if let Some(text) = worst.text() {
        console::say(text);
    }
    let written =
        if is_standard_output(&args.output) { "written".to_owned() } else { args.output.display().to_string() };
    console::say(format_args!("{written} in {:.2} s", start.elapsed().as_secs_f64()));
    Ok(())
}

fn warn_of_odd_dates(core: &Core) {
    for (column, lines) in core.odd_dates() {
        tracing::warn!(
            lines,
            "`{column}` is before 1970, or more than a year from now: see whether `datetime_formats` in the pipeline file \
             reads dates as they are meant"
        );
    }
}

struct Results<'a> {
    detectors: &'a Detectors,
    encoder: &'a Encoder,
    file: &'a mut VerdictFile,
    status: Status,
    worst: Worst,
}

impl<'a> Results<'a> {
    fn new(detectors: &'a Detectors, encoder: &'a Encoder, file: &'a mut VerdictFile) -> Self {
        let anomalies = detectors.names().map(|name| (name.to_owned(), 0)).collect();
        let status = Status { anomalies, drift: detectors.drift().clone(), ..Status::default() };
        Self { detectors, encoder, file, status, worst: Worst::default() }
    }

    fn take(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
        let Encoded { messages, truth, agreement, observations } =
            self.encoder.encode(std::mem::take(outputs), self.detectors)?;
        self.status.truth.merge(truth);
        self.status.agreement.merge(agreement);
        // Its end says what came of it.
        self.status.drift.add(&observations);
        for message in messages {
            self.status.count(&message);
            if let Content::Verdict(verdict) = &message.content {
                self.worst.add(verdict);
            }
            self.file.push(message)?;
        }
        Ok(())
    }
}
