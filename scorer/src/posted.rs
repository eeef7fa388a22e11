//! Records that somebody posts, scored at once: through the same state machine and the same detectors as those of the stream, with
//! a state machine of their own, so that nothing of the stream changes and nothing is published.

use std::borrow::Cow;
use std::io::{self, Cursor};
use std::sync::Arc;

use serde::Serialize;
use shared::history::{History, RecordFeatures};
use shared::line::{LineParser, Part};
use shared::pipeline::{Clock, InputFormat, Pipeline, Records, Scored};
use shared::reason::Reason;
use shared::records::FileRecords;
use shared::schema::RecordsAt;
use shared::time::{Millis, Timestamp};
use shared::verdict::{EntityVerdict, Severity, Verdict};
use window::{Reply, Written};

use crate::core::{ClosedEntity, Core, Counters, Erroneous, Input, Output, Record};
use crate::scoring::Detectors;

/// A hundred years.
const CENTURY: Millis = 100 * 365 * 86_400_000;

/// What stands for the place of a record that has none.
const PLACE: &str = "posted";

/// Scores records that are posted.
#[derive(Debug)]
pub struct PostedRecords {
    /// For records as the stream has them.
    on_topic: Arc<Pipeline>,
    json: Arc<Pipeline>,
    /// For several of them in an array; that is one message.
    array: Arc<Pipeline>,
    csv: Arc<Pipeline>,
    detectors: Arc<Detectors>,
}

/// What the answer knows of what came before the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Past {
    /// No feature looks at it.
    NotNeeded,
    /// Nothing: the record was scored as if it were the first of its keys.
    None,
    /// What the stream remembers.
    State,
}

/// What is said of records that were posted.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    pipeline: &'a str,
    key: &'a str,
    /// Nothing that is posted is.
    published: bool,
    past: Past,
    anomalous: bool,
    anomalous_to: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
    reason: Option<&'a str>,
    /// Of each trained detector, as the messages of the stream have them.
    verdicts: &'a [Verdict],
    /// Detectors that judge a record later, beside others.
    not_judged: Vec<&'a str>,
}

impl PostedRecords {
    /// Scores records of `pipeline` with these detectors.
    pub fn new(pipeline: &Pipeline, detectors: Arc<Detectors>) -> Self {
        // The time of a record is its own, as in a file: it comes before Kafka has one for it.
        let mut pipeline = pipeline.clone().with_event_clock().unwrap_or_else(|_| pipeline.clone());
        // Lines that come together are together, whatever lies between their dates.
        if let Scored::Sessions(sessions) = &mut pipeline.scored {
            sessions.gap = CENTURY;
        }
        let written = |format| {
            let schema = &pipeline.schema;
            let is_so = schema.format == format && schema.schemas.is_none();
            if is_so { pipeline.clone() } else { pipeline.clone().with_format(format) }
        };
        let mut array = written(InputFormat::Json);
        Arc::make_mut(&mut array.schema).json.records.get_or_insert(RecordsAt::Message);
        Self {
            json: Arc::new(written(InputFormat::Json)),
            array: Arc::new(array),
            csv: Arc::new(written(InputFormat::Csv)),
            on_topic: Arc::new(pipeline),
            detectors,
        }
    }

    /// What the detectors say of the entity that these records make, at this time of day. Where features look at a past,
    /// `past_of` is asked for that of the record's keys: `None` where nobody knows it.
    pub fn reply(
        &self,
        written: Written,
        records: &[u8],
        now: Timestamp,
        past_of: impl FnOnce(Vec<Option<String>>) -> Result<Option<History>, String>,
    ) -> Reply {
        self.judged(written, records, now, past_of).unwrap_or_else(|reply| reply)
    }

    fn judged(
        &self,
        written: Written,
        records: &[u8],
        now: Timestamp,
        past_of: impl FnOnce(Vec<Option<String>>) -> Result<Option<History>, String>,
    ) -> Result<Reply, Reply> {
        if self.detectors.is_empty() {
            let why = "all detectors of this pipeline compare the records of a window: none judges a record at once";
            return Err(refused(Vec::new(), why.to_owned()));
        }
        let pipeline = self.pipeline(written, records);
        if pipeline.schema.unknown_schema(records, None).is_some() {
            let why =
                "the stream has not met the schema that the record names: try again once a record with it has come";
            return Err(Reply::NotNow(why.to_owned()));
        }
        let records = split(pipeline, records).map_err(|error| refused(Vec::new(), error.to_string()))?;
        let (past, mut core) = match features_with_a_past(pipeline) {
            None => (Past::NotNeeded, Core::new(pipeline.clone())),
            Some(features) => match keys_of(pipeline, features, &records).map(past_of).transpose() {
                Ok(Some(Some(history))) => (Past::State, Core::remembering(pipeline.clone(), history)),
                Ok(Some(None) | None) => (Past::None, Core::new(pipeline.clone())),
                Err(why) => return Err(Reply::NotNow(why)),
            },
        };
        let mut outputs = Vec::new();
        // By the clock of the records this is not needed.
        let timestamp = if pipeline.entity.clock == Clock::Record { now } else { 0 };
        for (number, record) in (1..).zip(&records) {
            let record =
                Record { written_by: Some(now), file: Some(PLACE), ..Record::new(0, number, timestamp, record) };
            core.apply(Input::Record(record), &mut outputs);
        }
        core.apply(Input::End, &mut outputs);
        let entity = only_entity(outputs, &core.counters())?;
        self.answer(&entity, past)
    }

    /// The pipeline for records that are written in this way.
    fn pipeline(&self, written: Written, records: &[u8]) -> &Arc<Pipeline> {
        let pipeline = match written {
            Written::Csv => &self.csv,
            Written::Json => &self.json,
            Written::AsOnTopic => &self.on_topic,
        };
        let schema = &pipeline.schema;
        let is_plain_json = schema.format == InputFormat::Json && schema.schemas.is_none() && schema.json.is_plain();
        if is_plain_json && is_array(records) { &self.array } else { pipeline }
    }

    fn answer(&self, entity: &ClosedEntity, past: Past) -> Result<Reply, Reply> {
        let pipeline = &self.on_topic;
        let verdicts = self.detectors.at_once(entity);
        let all: Vec<&Verdict> = verdicts.iter().collect();
        let failed = || Reply::NotNow("the verdicts could not be written".to_owned());
        let EntityVerdict { anomalous, anomalous_to, severity, reason, .. } =
            EntityVerdict::of(&all).ok_or_else(failed)?;
        let verdicts: Vec<Verdict> = verdicts.into_iter().map(|it| it.in_schema(pipeline.verdict_schema)).collect();
        let answer = Answer {
            pipeline: &pipeline.name,
            key: &entity.summary.key,
            published: false,
            past,
            anomalous,
            anomalous_to: &anomalous_to,
            severity,
            reason: reason.as_deref(),
            verdicts: &verdicts,
            not_judged: pipeline.zscores.iter().map(|spec| spec.name.as_str()).collect(),
        };
        serde_json::to_string(&answer).map(Reply::Scored).map_err(|_| failed())
    }
}

/// Whether JSON is an array.
fn is_array(json: &[u8]) -> bool {
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    json.trim_ascii_start().first() == Some(&b'[')
}

/// The messages that hold these records: lines of CSV are one each.
fn split<'a>(pipeline: &Pipeline, bytes: &'a [u8]) -> io::Result<Vec<Cow<'a, [u8]>>> {
    let schema = &pipeline.schema;
    if schema.format != InputFormat::Csv {
        return Ok(vec![Cow::Borrowed(bytes)]);
    }
    let mut lines = FileRecords::whole(Cursor::new(bytes), &schema.csv, schema.max_record_bytes)?;
    let mut records = Vec::new();
    while let Some(line) = lines.next_record()? {
        records.push(schema.csv.encoding.encode(Cow::Owned(line.raw.to_vec())));
    }
    // That there is nothing is what the record itself has to say.
    if records.is_empty() {
        records.push(Cow::Borrowed(&[]));
    }
    Ok(records)
}

/// The features of a pipeline, where they look at a past.
fn features_with_a_past(pipeline: &Pipeline) -> Option<&RecordFeatures> {
    match &pipeline.scored {
        Scored::Records(Records { features, .. }) if !features.relations().is_empty() => Some(features),
        Scored::Records(_) | Scored::Sessions(_) => None,
    }
}

/// The keys of the first record whose past is looked at; `None` of a record that is erroneous.
fn keys_of(pipeline: &Pipeline, features: &RecordFeatures, records: &[Cow<'_, [u8]>]) -> Option<Vec<Option<String>>> {
    let mut keys = None;
    LineParser::new(pipeline.schema.clone()).each(records.first()?, |_, part| {
        if let (Part::Line(line), None) = (part, &keys) {
            keys = Some(features.keys(line).into_iter().map(|key| key.map(str::to_owned)).collect());
        }
    });
    keys
}

/// The entity that all records make.
fn only_entity(outputs: Vec<Output>, counters: &Counters) -> Result<ClosedEntity, Reply> {
    let (mut entities, mut reasons, mut lines, mut is_entity) = (Vec::new(), Vec::<Reason>::new(), 0u64, false);
    for output in outputs {
        match output {
            Output::Closed(entity) => entities.push(entity),
            Output::Erroneous(Erroneous::Line { reasons: found, .. }) => {
                lines += 1;
                add(&mut reasons, found);
            }
            Output::Erroneous(Erroneous::Entity { reasons: found, .. }) => {
                is_entity = true;
                add(&mut reasons, found);
            }
            Output::Windowed(_)
            | Output::Cancellations(_)
            | Output::Report(_)
            | Output::Forwarded(_)
            | Output::Watermark(_)
            | Output::Erroneous(Erroneous::Lost { .. }) => {}
        }
    }
    if !reasons.is_empty() {
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let what = match (lines, counters.records) {
            (_, 1) => "the record is erroneous".to_owned(),
            (0, _) if is_entity => "the records make an erroneous entity".to_owned(),
            (lines, all) => format!("{lines} of {all} records are erroneous"),
        };
        let why = format!("{what}: {}", reasons.join(", "));
        return Err(refused(reasons, why));
    }
    let count = entities.len();
    match entities.pop() {
        Some(entity) if count == 1 => Ok(entity),
        Some(_) => Err(refused(Vec::new(), format!("the records are of {count} entities: post those of one"))),
        None if counters.cancellation_lines > 0 => {
            Err(refused(Vec::new(), "the record is a cancellation, which is counted and not scored".to_owned()))
        }
        None => Err(refused(Vec::new(), "there is no record that could be scored".to_owned())),
    }
}

/// Adds what is not there yet.
fn add(reasons: &mut Vec<Reason>, found: Vec<Reason>) {
    for reason in found {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
}

fn refused(reasons: Vec<String>, why: String) -> Reply {
    Reply::Refused { reasons, why }
}

#[cfg(test)]
mod tests;
