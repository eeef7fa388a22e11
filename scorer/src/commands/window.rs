//! The window of a run: what it is given, and when.

use std::sync::Arc;
use std::thread;

use alerts::Desk;
use anyhow::Result;
use shared::model::Model;
use shared::pipeline::{DetectorSpec, Pipeline, Scored, ThresholdPolicy, ZScoreSpec};
use shared::threshold::{Cost, Trimmed};
use window::{
    About, Access, Committed, Detector, Ends, Feature, Intake, Journal, Keeping, Kind, Limits, Open, Questions, Refill,
    Server, Source, Words,
};

use super::alerting::AlertsAtWindow;
use super::on_kafka::OnKafka;
use super::posted::answer;
use super::redrives::{MOST_REDRIVEN, redrive};
use super::{Loaded, console};
use crate::args::DeliveryArg;
use crate::clock::now_since_epoch;
use crate::kafka::{
    KafkaSettings, OnMessage, RecentMessage, Redrive, Stream, TopicSettings, ensure_labels_topic, keep_labels,
    labels_topic, read_recent,
};
use crate::messages::{Content, Message};
use crate::posted::PostedRecords;
use crate::window_snapshot::snapshot;

/// Messages of each topic that are read back at the start: the newest.
const RECENT: usize = 10_000;

/// Erroneous messages that are.
const RECENT_ERRORS: usize = 2_000;

/// A window that has its address and is not open yet.
pub(super) struct Window {
    server: Server,
    intake: Intake,
    refill: Refill,
    journal: Journal,
    about: About,
    limits: Limits,
    /// Bytes that it takes to say who may look.
    of_access: usize,
    questions: Questions,
    posted: PostedRecords,
}

impl Window {
    /// Takes an address.
    ///
    /// # Errors
    /// When it is taken.
    pub(super) fn bind(access: Access, run: &RunOf<'_>, loaded: &Loaded) -> Result<Self> {
        let of_access = access.bytes();
        let (server, Ends { intake, refill, journal }) = Server::bind(access)?;
        let (server, questions) = server.with_questions();
        let posted = PostedRecords::new(&loaded.pipeline, loaded.detectors.clone());
        let (about, limits) = (about(run, loaded), Limits::default());
        Ok(Self { server, intake, refill, journal, about, limits, of_access, questions, posted })
    }

    /// Shows alerts too, where there are any.
    pub(super) fn with_alerts(self, desk: Option<Desk>) -> Self {
        match desk {
            Some(desk) => Self { server: self.server.with_alerts(Arc::new(AlertsAtWindow(desk))), ..self },
            None => self,
        }
    }

    /// The most bytes that it takes, about: what it keeps, and records that are sent again.
    pub(super) fn memory(&self) -> u64 {
        (self.limits.bytes() + self.of_access + Redrive::memory(MOST_REDRIVEN)) as u64
    }

    /// Leaves at the window what was committed, where it has room for it.
    pub(super) fn on_message(&self) -> OnMessage {
        let intake = self.intake.clone();
        Arc::new(move |message| {
            if let Some(kind) = kind(message) {
                intake.offer(kind, now_since_epoch(), || message.payload());
            }
        })
    }

    /// Opens it, says where it is, and begins to read back what was committed before.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn open(mut self, of: &OnKafka<'_>, pipeline: &Arc<Pipeline>, stream: &Stream) -> Result<Open> {
        let (server, redrives) = self.server.with_redrives();
        self.server = server;
        redrive(redrives, of, pipeline)?;
        let (open, refill, journal) = self.open_with(pipeline, stream, of.keeping.clone())?;
        if let Keeping::Topic(topic) = of.keeping.clone() {
            let settings = of.settings.clone();
            let keep = move || {
                if let Err(error) = keep_labels(&settings, &topic, journal) {
                    tracing::warn!(%error, topic, "the window does not keep what analysts say");
                }
            };
            thread::Builder::new().name("labels".to_owned()).spawn(keep)?;
        }
        if of.is_json {
            tracing::info!(address = %open, "window");
        } else {
            console::say(format_args!("window: {open}"));
        }
        let (settings, pipeline) = (of.settings.clone(), pipeline.clone());
        thread::Builder::new().name("refill".to_owned()).spawn(move || read_back(&settings, &pipeline, &refill))?;
        Ok(open)
    }

    /// Opens it where nothing was committed before, and what analysts say is gone with the process. What is earlier has come
    /// once the second value is gone.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn open_empty(self, pipeline: &Arc<Pipeline>, stream: &Stream) -> Result<(Open, Refill)> {
        let (open, refill, journal) = self.open_with(pipeline, stream, Keeping::Memory)?;
        journal.keep_in_memory()?;
        Ok((open, refill))
    }

    fn open_with(self, pipeline: &Arc<Pipeline>, stream: &Stream, keeping: Keeping) -> Result<(Open, Refill, Journal)> {
        let Self { server, refill, journal, about, limits, questions, posted, .. } = self;
        let (of, status) = (pipeline.clone(), stream.status());
        answer(questions, posted, (status.clone(), stream.pasts()))?;
        let ask = Arc::new(move || snapshot(&status.get(), &of));
        Ok((server.open(Source { about, ask, limits, keeping })?, refill, journal))
    }
}

/// Where what analysts say is kept. Without a topic for it, the stream runs all the same and the window says why.
pub(super) async fn keeping(settings: &KafkaSettings, pipeline: &Pipeline, create: Option<TopicSettings>) -> Keeping {
    let topic = labels_topic(pipeline);
    match ensure_labels_topic(settings, &topic, create).await {
        Ok(_) => Keeping::Topic(topic),
        Err(error) => {
            tracing::warn!(%error, topic, "the window does not keep what analysts say");
            Keeping::Nowhere(error.to_string())
        }
    }
}

/// Whose run it is.
pub(super) struct RunOf<'a> {
    pub(super) group: &'a str,
    pub(super) instance_id: Option<&'a str>,
    pub(super) delivery: DeliveryArg,
}

/// What the window is told of.
fn kind(message: &Message) -> Option<Kind> {
    match &message.content {
        Content::Verdict(verdict) if verdict.anomalous => Some(Kind::Verdict),
        Content::Entity(verdict) if verdict.anomalous => Some(Kind::Verdict),
        Content::Erroneous(_) => Some(Kind::DeadLetter),
        Content::Verdict(_)
        | Content::Entity(_)
        | Content::Cancellations(_)
        | Content::Report(_)
        | Content::ForNextHop { .. } => None,
    }
}

/// Reads the newest messages of every topic back. What cannot be read is missing in the window, and nowhere else.
fn read_back(settings: &KafkaSettings, pipeline: &Pipeline, refill: &Refill) {
    let verdicts = pipeline.detector_topics().map(|(_, topic)| topic).chain(pipeline.verdicts_topic.as_deref());
    let topics = verdicts.map(|topic| (topic, Kind::Verdict, RECENT));
    for (topic, kind, most) in topics.chain([(pipeline.erroneous_topic.as_str(), Kind::DeadLetter, RECENT_ERRORS)]) {
        let take = |RecentMessage { payload, at, is_of_normal }: RecentMessage<'_>| {
            if !is_of_normal {
                // Once the window is gone nobody is left to tell.
                let _ = refill.add(Committed { kind, payload: payload.to_vec(), at });
            }
        };
        if let Err(error) = read_recent(settings, topic, most, take) {
            tracing::warn!(%error, topic, "the window does not show what was published to a topic before this start");
        }
    }
}

fn about(run: &RunOf<'_>, Loaded { pipeline, detectors, device, .. }: &Loaded) -> About {
    let trained = pipeline.detectors.iter().zip(detectors.models()).map(|(spec, model)| trained(pipeline, spec, model));
    let (entity, entities) = match &pipeline.scored {
        Scored::Sessions(_) => ("invoice", "invoices"),
        Scored::Records(_) => ("record", "records"),
    };
    About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pipeline: pipeline.name.clone(),
        topic: pipeline.topic.clone(),
        erroneous_topic: pipeline.erroneous_topic.clone(),
        group: run.group.to_owned(),
        instance: run.instance_id.map(str::to_owned),
        delivery: match run.delivery {
            DeliveryArg::ExactlyOnce => "exactly once",
            DeliveryArg::AtLeastOnce => "at least once",
        }
        .to_owned(),
        device: device.to_string(),
        words: Words {
            entity: entity.to_owned(),
            entities: entities.to_owned(),
            customer: pipeline.entity.customer.map(|column| pipeline.schema.columns[column].name.clone()),
        },
        detectors: trained.chain(pipeline.zscores.iter().map(untrained)).collect(),
    }
}

fn trained(pipeline: &Pipeline, spec: &DetectorSpec, model: &Model) -> Detector {
    let thresholds = || model.threshold.by_cluster.iter().copied().chain([model.threshold.value]);
    let features = model.features.iter().zip(&pipeline.readings).enumerate();
    // Nobody knows what an imported model was trained on.
    let has_history = model.training.rows > 0;
    Detector {
        name: spec.name.clone(),
        algorithm: model.parameters.name().to_owned(),
        topic: spec.topic.clone(),
        model_version: Some(model.version()),
        trained_on: has_history.then_some(model.training.rows),
        flagged_in_training: has_history.then_some(model.training.anomalies),
        threshold: thresholds().reduce(f32::min),
        highest_threshold: thresholds().reduce(f32::max),
        threshold_policy: match &model.imported {
            Some(imported) => format!("the job of {} that trained it", imported.program),
            None => policy(model.threshold.policy),
        },
        features: features
            .map(|(index, (name, reading))| {
                let read = |value: f64| Some(reading.read(value)).filter(|value| value.is_finite());
                let usual = model.usual.get(index);
                Feature {
                    name: name.clone(),
                    unit: reading.unit.clone(),
                    label: reading.label.clone(),
                    low: usual.and_then(|[low, _]| read(*low)),
                    usual: model.typical.get(index).and_then(|value| read(*value)),
                    high: usual.and_then(|[_, high]| read(*high)),
                }
            })
            .collect(),
    }
}

fn untrained(spec: &ZScoreSpec) -> Detector {
    Detector {
        name: spec.name.clone(),
        algorithm: "zscore-window".to_owned(),
        topic: spec.topic.clone(),
        model_version: Some(spec.version.clone()),
        threshold: Some(spec.threshold),
        highest_threshold: Some(spec.threshold),
        threshold_policy: "the pipeline file".to_owned(),
        ..Detector::default()
    }
}

fn policy(policy: ThresholdPolicy) -> String {
    match policy {
        ThresholdPolicy::Quantile(share) => format!("the score that {share} of the history do not exceed"),
        ThresholdPolicy::Top(count) => format!("the {count} highest scores of the history"),
        ThresholdPolicy::FalseAlarmRate(rate) => format!("a false-alarm rate of at most {rate}"),
        ThresholdPolicy::TrimmedRate(Trimmed { false_alarm_rate, trim }) => {
            format!("a false-alarm rate of {false_alarm_rate}, by held-out scores without the largest {trim} of them")
        }
        ThresholdPolicy::Cost(Cost { missed, review }) => {
            format!("the least cost, where a missed anomaly costs {missed} and looking at a report {review}")
        }
    }
}
