//! A pipeline file: what a record looks like, what is scored, by which features and detectors.
//!
//! The file is TOML. Reading it checks everything that can be checked without data, so that the rest of the
//! program may rely on it: names that are referred to exist, spans and formats make sense, outputs are named.

mod alerts;
mod check;
mod checker;
mod currency;
mod definition;
mod dialect;
mod drift;
mod fields;
mod file;
mod hops;
mod json;
mod key;
mod label;
mod reading;
mod registry;
mod zscore;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use features::aggregates::Feature;
use features::history::RecordFeatures;
use records::time::Millis;
use thiserror::Error;

use crate::shipped::{self, PIPELINES, Samples};
pub use alerts::{AlertBy, AlertCondition, AlertSpec, ChannelKind, ChannelSpec, MailSecurity, Reference};
pub use definition::Definition;
pub use detectors::scaler::Scaling;
pub use detectors::threshold::{HeldOut, ThresholdPolicy};
pub use detectors::{Algorithm, KSelection};
pub use drift::DriftSpec;
pub use features::history::{Measure, Transform};
pub use fields::{FieldValue, Fields, MAX_FIELD_BYTES, cut};
pub use hops::Hop;
pub use label::{Label, is_confirmed};
pub use reading::Reading;
pub use records::schema::{Column, ColumnType, Currency, InputFormat, Schema};
pub use registry::{Password, Registry};
pub use zscore::ZScoreSpec;

/// The threshold, where nobody says another.
pub const DEFAULT_THRESHOLD: ThresholdPolicy = ThresholdPolicy::Quantile(0.99);

/// The share of the entities that is held out of the training, where the threshold needs that and nobody says another.
pub const DEFAULT_CALIBRATION_SHARE: f64 = 0.25;

/// The share of the rows that a cluster needs to be usual, where a pipeline file does not say another.
pub const DEFAULT_MIN_SHARE: f64 = 0.005;

/// How far Kafka's timestamp of a record may be ahead, where nobody says.
const DEFAULT_RECORD_AHEAD: Millis = 5 * 60_000;

/// How far the date of a record may be ahead by which a clock goes, where nobody says.
const DEFAULT_EVENT_AHEAD: Millis = 2 * 86_400_000;

/// What is wrong with a pipeline file.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// Neither a file nor a name of a pipeline that ships.
    #[error("no pipeline `{name}`: it is neither a file nor one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that ship.
        known: String,
    },
    /// The file cannot be read.
    #[error("cannot read pipeline file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{origin} is not valid TOML: {message}")]
    Syntax {
        /// The file or the name.
        origin: String,
        /// The parser's words, with line and column.
        message: String,
    },
    /// A key that means nothing.
    #[error("{origin}: unknown key `{key}` in {section}{}", suggestion(nearest))]
    UnknownKey {
        /// The file or the name.
        origin: String,
        /// The section.
        section: String,
        /// The key.
        key: String,
        /// The valid key that is most like it.
        nearest: Option<String>,
    },
    /// A value that cannot be used.
    #[error("{origin}: {place}: {problem}")]
    Invalid {
        /// The file or the name.
        origin: String,
        /// Section and key.
        place: String,
        /// The problem, and a suggestion.
        problem: String,
    },
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

/// What time it is for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clock {
    /// The timestamp that Kafka keeps with each record.
    Record,
    /// The datetime column with this index.
    Column(usize),
}

/// What makes an entity, and what is made of it.
#[derive(Debug, Clone)]
pub enum Scored {
    /// The lines of one key, until none came for a while.
    Sessions(Sessions),
    /// Each record by itself.
    Records(Records),
}

/// Entities of several lines.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// An entity is complete when no line came for this long.
    pub gap: Millis,
    /// Open entities of one partition; beyond it the one with the earliest deadline closes early.
    pub max_open: usize,
    /// Lines of one entity; an entity with so many closes early.
    pub max_lines: u64,
    /// The features, in order.
    pub features: Vec<Feature>,
    /// All that is aggregated of an entity's lines: the features, then the numbers among the fields.
    pub accumulated: Vec<Feature>,
}

/// Entities of one record.
#[derive(Debug, Clone)]
pub struct Records {
    /// The features, in order, and what is remembered for them.
    pub features: RecordFeatures,
    /// How far ahead of Kafka's timestamp, and of the present, a record's own may be.
    pub ahead: Millis,
    /// Which hop this is, where there are several.
    pub hop: Option<Hop>,
}

/// What is scored.
#[derive(Debug, Clone)]
pub struct Entity {
    /// Index of the column whose value the lines of one entity share, or names a record; see also [`Schema::key`].
    pub key: usize,
    /// How long a key that was scored is remembered, to tell what comes late or twice.
    pub remember: Millis,
    /// What time it is.
    pub clock: Clock,
    /// How long after its deadline an entity is closed while nothing comes: a line stamped in time may still be on its way.
    pub grace: Millis,
    /// How far the clock's time of a record may be ahead, where the file says so.
    pub ahead: Option<Millis>,
    /// Index of the datetime column that `--clock event` uses.
    pub event_time: Option<usize>,
    /// Columns that at least one line of the entity must have.
    pub required: Vec<usize>,
    /// Column whose value names the customer in a verdict.
    pub customer: Option<usize>,
    /// Bytes of what is kept of one partition: of its open entities, of which the one with the earliest deadline closes
    /// early, or of its keys' past, of which the one that was met the longest ago is forgotten.
    pub max_state_bytes: usize,
}

/// Cancellations: entities whose key starts with a prefix are counted, not scored.
#[derive(Debug, Clone)]
pub struct Cancellations {
    /// The prefix of a cancelled key.
    pub key_prefix: String,
    /// How far the count looks back.
    pub window: Millis,
    /// How often the count is published.
    pub slide: Millis,
    /// How long a partition is quiet before the window no longer waits for it.
    pub idle_timeout: Millis,
    /// Where it is published.
    pub topic: String,
}

/// A detector that is trained, as the pipeline file asks for it.
#[derive(Debug, Clone)]
pub struct DetectorSpec {
    /// Its name: the folder of its model, the `detector` of its verdicts.
    pub name: String,
    /// How it is trained.
    pub algorithm: Algorithm,
    /// How features are scaled first.
    pub scaling: Scaling,
    /// From which score on an entity is anomalous.
    pub threshold: ThresholdPolicy,
    /// Whether each cluster has a threshold of its own.
    pub per_cluster: bool,
    /// Which of the entities are held out of the training, where the threshold needs that.
    pub calibration: HeldOut,
    /// The share of the entities that is held out.
    pub calibration_share: f64,
    /// Where its anomalies are published.
    pub topic: String,
}

/// A checked pipeline file.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its name: the folder of its models.
    pub name: String,
    /// Whether it is one that ships with the program, as it ships: models that ship were trained for it.
    pub ships: bool,
    /// The topic its records come from.
    pub topic: String,
    /// What its records look like.
    pub schema: Arc<Schema>,
    /// Where the schemas are that its records name, when they do.
    pub registry: Option<Registry>,
    /// Where records say what they are, when they do.
    pub label: Option<Label>,
    /// What is scored.
    pub entity: Entity,
    /// Cancellations, when they are counted.
    pub cancellations: Option<Cancellations>,
    /// What makes an entity, and its features.
    pub scored: Scored,
    /// The detectors that are trained, in order.
    pub detectors: Vec<DetectorSpec>,
    /// The detectors that compare the records of a window and need no training, in order.
    pub zscores: Vec<ZScoreSpec>,
    /// How each feature is read: `(n_features)`.
    pub readings: Vec<Reading>,
    /// What verdicts repeat of an entity.
    pub fields: Fields,
    /// Where erroneous lines and entities go.
    pub erroneous_topic: String,
    /// Where the verdicts of all detectors on an entity go together, when they are wanted.
    pub verdicts_topic: Option<String>,
    /// How verdicts are written.
    pub verdict_schema: VerdictSchema,
    /// When somebody is told, in order.
    pub alerts: Vec<AlertSpec>,
    /// The ways on which they are told, in order.
    pub channels: Vec<ChannelSpec>,
    /// When the stream is called no longer like the training.
    pub drift: DriftSpec,
    /// Hash of all that the features of an entity depend on: 8 hexadecimal digits.
    pub definition: String,
    /// What its models are trained for.
    pub meaning: Definition,
}

/// The version of the form in which verdicts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictSchema {
    /// Without what version 2 has more.
    V1,
    /// With id, source, severity, reason and fields.
    V2,
}

impl Pipeline {
    /// Loads a pipeline by the name of one that ships, or from a file.
    ///
    /// # Errors
    /// [`PipelineError`], in one sentence that names the file, the place and what would be right.
    pub fn load(name_or_file: &str) -> Result<Self, PipelineError> {
        if let Some(found) = shipped::pipeline(name_or_file) {
            let pipeline = Self::parse(found.text, &format!("pipeline `{}`", found.name))?;
            return Ok(Self { ships: true, ..pipeline });
        }
        let path = Path::new(name_or_file);
        let looks_like_file = path.extension().is_some() || path.components().count() > 1;
        if !looks_like_file && !path.exists() {
            let known = PIPELINES.map(|shipped| shipped.name).join(", ");
            return Err(PipelineError::Unknown { name: name_or_file.to_owned(), known });
        }
        let text =
            std::fs::read_to_string(path).map_err(|source| PipelineError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The sample data of a pipeline that ships, where it has some; of any other, none.
    pub fn samples(&self) -> Option<Samples> {
        shipped::pipeline(&self.name)?.samples
    }

    /// Reads a pipeline from TOML; `origin` names it in errors.
    ///
    /// # Errors
    /// [`PipelineError`], as [`Pipeline::load`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, PipelineError> {
        check::check(file::read(text, origin)?, origin)
    }

    /// The same pipeline for records that are written in another way.
    pub fn with_format(mut self, format: InputFormat) -> Self {
        let schema = Arc::make_mut(&mut self.schema);
        (schema.format, schema.schemas) = (format, None);
        self
    }

    /// The names of the features, in order.
    pub fn feature_names(&self) -> Vec<String> {
        match &self.scored {
            Scored::Sessions(sessions) => sessions.features.iter().map(|feature| feature.name.clone()).collect(),
            Scored::Records(records) => records.features.features().iter().map(|it| it.name.clone()).collect(),
        }
    }

    /// How many features an entity has.
    pub fn n_features(&self) -> usize {
        match &self.scored {
            Scored::Sessions(sessions) => sessions.features.len(),
            Scored::Records(records) => records.features.features().len(),
        }
    }

    /// The features of entities of several lines; none where each record is scored by itself.
    pub fn session_features(&self) -> &[Feature] {
        match &self.scored {
            Scored::Sessions(sessions) => &sessions.features,
            Scored::Records(_) => &[],
        }
    }

    /// All that is aggregated of an entity's lines: the features first; nothing where each record is scored by itself.
    pub fn session_accumulated(&self) -> &[Feature] {
        match &self.scored {
            Scored::Sessions(sessions) => &sessions.accumulated,
            Scored::Records(_) => &[],
        }
    }

    /// The index of the column called `name`.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.schema.columns.iter().position(|column| column.name == name)
    }

    /// The columns that say which records belong together: those with the same value have to be in one partition. None
    /// where each record is scored without a look at others, or every one with a look at [all](Pipeline::sees_all).
    pub fn placed_by(&self) -> Vec<usize> {
        match &self.scored {
            Scored::Sessions(_) => vec![self.entity.key],
            Scored::Records(records) => {
                let relations = records.features.relations().iter().map(|relation| relation.key);
                let mut columns: Vec<usize> = Vec::new();
                for column in relations.chain(self.zscores.iter().filter_map(|spec| spec.by)) {
                    if !columns.contains(&column) {
                        columns.push(column);
                    }
                }
                columns
            }
        }
    }

    /// A detector that compares each record with all others, whatever their keys: all have to be in one partition.
    pub fn sees_all(&self) -> Option<&ZScoreSpec> {
        self.zscores.iter().find(|spec| spec.by.is_none())
    }

    /// Whether records have no key but the place where they stand, which no two share.
    pub fn is_keyless(&self) -> bool {
        self.schema.key.as_ref().is_some_and(|key| key.parts.is_empty())
    }

    /// The key of a record of the topic that has no other; `item` is its place in a message that holds several.
    pub fn key_in_topic(&self, (partition, offset): (i32, i64), item: Option<u32>) -> String {
        let item = item.map_or_else(String::new, |item| format!("-{item}"));
        format!("{}-{partition}-{offset}{item}", self.topic)
    }

    /// Whether `key` is a cancellation's.
    pub fn is_cancellation(&self, key: &str) -> bool {
        self.cancellations.as_ref().is_some_and(|cancellations| key.starts_with(&cancellations.key_prefix))
    }

    /// Everything that the running state of an open entity depends on, one fact a line.
    ///
    /// State written under one layout must not be read under another: its numbers would mean something else.
    pub fn state_layout(&self) -> String {
        let Entity { key, remember, required, customer, .. } = &self.entity;
        let name = |column: usize| &self.schema.columns[column].name;
        // Deadlines are moments of this clock.
        let clock = match self.entity.clock {
            Clock::Record => "record".to_owned(),
            Clock::Column(column) => format!("column {}", name(column)),
        };
        let mut facts = vec![format!("key {}", name(*key)), format!("clock {clock}")];
        facts.extend(match &self.scored {
            Scored::Sessions(sessions) => Some(format!("session_gap {} ms", sessions.gap)),
            Scored::Records(_) => None,
        });
        facts.push(format!("remember {remember} ms"));
        match &self.scored {
            Scored::Sessions(sessions) => facts.extend(
                sessions
                    .features
                    .iter()
                    .map(|feature| format!("feature {}={}", feature.name, feature.expression(&self.schema.columns))),
            ),
            Scored::Records(records) => {
                facts.push(format!("time {}", name(records.features.time())));
                facts.extend(records.features.layout());
            }
        }
        facts.extend(self.zscores.iter().map(|spec| spec.layout(&self.schema.columns)));
        // Fields wait with the entities or records that they are of.
        let waits = match &self.scored {
            Scored::Sessions(_) => true,
            Scored::Records(records) => {
                records.features.lateness() > 0 || !self.zscores.is_empty() || records.hop.is_some()
            }
        };
        facts.extend(self.fields.layout(&self.schema.columns).filter(|_| waits));
        facts.extend(required.iter().map(|&column| format!("required {}", name(column))));
        facts.extend(customer.iter().map(|&column| format!("customer {}", name(column))));
        facts.extend(self.cancellations.iter().map(|Cancellations { key_prefix, window, slide, .. }| {
            format!("cancellations {key_prefix} window {window} ms slide {slide} ms")
        }));
        facts.extend(self.schema.currency.iter().map(|Currency { column, amount, base, .. }| {
            format!("currency {} in {base} by {}", name(*amount), name(*column))
        }));
        facts.extend(self.hop_layout());
        facts.join("\n")
    }

    /// Every topic the pipeline writes to.
    pub fn output_topics(&self) -> Vec<&str> {
        let mut topics = vec![self.erroneous_topic.as_str()];
        topics.extend(self.cancellations.iter().map(|cancellations| cancellations.topic.as_str()));
        topics.extend(self.detectors.iter().map(|detector| detector.topic.as_str()));
        topics.extend(self.zscores.iter().map(|spec| spec.topic.as_str()));
        topics.extend(self.verdicts_topic.as_deref());
        topics.extend(self.channels.iter().filter_map(ChannelSpec::topic));
        topics
    }

    /// Every detector's name and topic, those that are trained first.
    pub fn detector_topics(&self) -> impl Iterator<Item = (&str, &str)> {
        let trained = self.detectors.iter().map(|spec| (spec.name.as_str(), spec.topic.as_str()));
        trained.chain(self.zscores.iter().map(|spec| (spec.name.as_str(), spec.topic.as_str())))
    }

    /// How far the clock's time of a record may be ahead of the moment at which the broker appended it, or of the present.
    /// Dates that people write are often a day off.
    pub fn clock_ahead(&self) -> Millis {
        let default = match self.entity.clock {
            Clock::Record => DEFAULT_RECORD_AHEAD,
            Clock::Column(_) => DEFAULT_EVENT_AHEAD,
        };
        self.entity.ahead.unwrap_or(default)
    }

    /// The same pipeline with its clock taken from the records' own datetime column.
    ///
    /// # Errors
    /// When the pipeline has no datetime column.
    pub fn with_event_clock(mut self) -> Result<Self, PipelineError> {
        let Some(column) = self.entity.event_time else {
            return Err(PipelineError::Invalid {
                origin: format!("pipeline `{}`", self.name),
                place: "[input] columns".into(),
                problem: "the event clock needs a column of type datetime, and there is none".into(),
            });
        };
        self.entity.clock = Clock::Column(column);
        Ok(self)
    }

    /// The same pipeline with its clock taken from Kafka's record timestamps.
    pub fn with_record_clock(mut self) -> Self {
        self.entity.clock = Clock::Record;
        self
    }
}

/// The key of a record of a file that has no other; `item` is its place in a line that holds several.
pub fn key_in_file(file: &str, line: u64, item: Option<u32>) -> String {
    let item = item.map_or_else(String::new, |item| format!(":{item}"));
    format!("{file}:{line}{item}")
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
