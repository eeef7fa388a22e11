//! A verdict: what a detector says of an entity, as it goes over the wire.

mod explanation;
mod figures;
mod named;
mod of_entity;
mod reason;
mod severity;
mod source;
mod told;

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use features::zscore::WindowSummary;
use records::time::{Timestamp, format_span, format_timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::detector::{Detector, ExplainedScore};
use crate::pipeline::{FieldValue, Pipeline, VerdictSchema, ZScoreSpec};

pub use explanation::ExplainedFeature;
pub use named::Named;
pub use of_entity::EntityVerdict;
pub use severity::Severity;
pub use source::VerdictSource;

use figures::{figure, significant, times};
use reason::reason;
use told::Told;

/// What is known of an entity beside its features. Its texts are shared by all who say something of it.
#[derive(Debug, Clone, PartialEq)]
pub struct EntitySummary {
    /// Its key.
    pub key: Arc<str>,
    /// How many lines it has.
    pub lines: u64,
    /// Its customer, when the pipeline names one and a line had it.
    pub customer: Option<Arc<str>>,
    /// The clock's time of its first line.
    pub first_timestamp: Timestamp,
    /// The clock's time of its last line.
    pub last_timestamp: Timestamp,
    /// Whether it was closed before its time, at a limit of the pipeline: lines of it may have come later.
    pub closed_early: bool,
    /// What verdicts repeat of it, in the order of the pipeline's fields.
    pub fields: Arc<[FieldValue]>,
}

/// The version of the form in which verdicts are written, where nobody wants an earlier one.
pub const SCHEMA: u32 = 2;

/// A verdict; its JSON is the message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The version of the form: [`SCHEMA`], or 1, which has no number in it.
    #[serde(default = "first_schema", skip_serializing_if = "is_first_schema")]
    pub schema: u32,
    /// The verdict's name, the same whenever its records are judged again: see [`Verdict::found_in`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The pipeline.
    pub pipeline: String,
    /// The entity's key, and the message's.
    pub key: String,
    /// The detector.
    pub detector: String,
    /// Version of its model.
    pub model_version: String,
    /// What the features of an entity depend on, as a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Whether the score exceeds the threshold.
    pub anomalous: bool,
    /// How bad that is; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Higher is more anomalous.
    pub score: f32,
    /// The score that an anomaly exceeds.
    pub threshold: f32,
    /// How many times the threshold the score is; absent where scores do not start at 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The share of training scores at least as large, or of those that were held out; absent where nothing was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// The predicted cluster; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<i32>,
    /// The features, by name, in order.
    pub features: Named,
    /// Each feature's share of the score, the largest first; one below 0 speaks for the entity.
    pub contributions: Named,
    /// Whether the shares are only an approximation: by how much the score falls when a feature is typical. Absent where
    /// they are exact.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// For each feature of a share, in the same order, the value that would have been normal.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub expected: Named,
    /// Whether the feature is `above` or `below` that; absent where it is neither.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub direction: Named,
    /// The same in words and in the units that people read, the largest share first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanation: Vec<ExplainedFeature>,
    /// What the pipeline file wants to be repeated of the entity; null where no line had it.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub fields: Named,
    /// How many lines the entity has.
    pub lines: u64,
    /// Its customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// When the entity was complete, by the clock of the stream: the time of its last line, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// The clock's time of its first line, RFC 3339.
    pub first_timestamp: String,
    /// The clock's time of its last line, RFC 3339.
    pub last_timestamp: String,
    /// Whether it was closed before its time, at a limit of the pipeline; absent where it was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed_early: bool,
    /// Where the entity's records are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<VerdictSource>,
}

/// The names of what a detector compares that compares the records of a window.
static OF_WINDOW: LazyLock<[Arc<str>; 6]> =
    LazyLock::new(|| ["value", "median", "mad", "mean", "std", "count"].map(Arc::from));

fn first_schema() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_first_schema(schema: &u32) -> bool {
    *schema == 1
}

impl Verdict {
    /// The verdict, in version 2, of a detector of `pipeline` on an entity with these features and this score.
    pub fn new(
        pipeline: &Pipeline,
        detector: &Detector,
        entity: &EntitySummary,
        features: &[f64],
        score: &ExplainedScore,
    ) -> Self {
        let model = detector.model();
        let names = detector.names();
        let order = by_share(&score.shares);
        let in_order = |value: &dyn Fn(usize) -> Option<Value>| {
            order.iter().filter_map(|&index| Some((names[index].clone(), value(index)?))).collect()
        };
        let expected: Vec<f64> =
            (0..names.len()).map(|index| significant(detector.usual(index, score.expected[index]), 6)).collect();
        let side = |index: usize| {
            // What differs only by the rounding of float32 does not differ.
            let (value, usual) = (features[index], expected[index]);
            let differs = (value - usual).abs() > 1e-5 * value.abs().max(usual.abs());
            differs.then(|| if value > usual { "above".into() } else { "below".into() })
        };
        let anomalous = detector.is_anomalous((score.score, score.cluster));
        let threshold = model.threshold.of_cluster(score.cluster);
        let p_value = model.is_calibrated().then(|| model.p_value(score.score, score.cluster));
        let ratio = ratio(score.score, threshold);
        let explanation = explanation::explain(pipeline, detector, features, score, (&order, &expected));
        Self {
            schema: SCHEMA,
            id: None,
            pipeline: model.pipeline.clone(),
            key: entity.key.as_ref().to_owned(),
            detector: model.detector.clone(),
            model_version: detector.version().to_owned(),
            definition: Some(pipeline.definition.clone()),
            anomalous,
            severity: anomalous.then(|| Severity::of(p_value, ratio)),
            reason: Some(reason(&explanation, anomalous, (score.score, threshold))),
            score: score.score,
            threshold,
            ratio: ratio.map(|ratio| significant(ratio, 4)),
            p_value: p_value.map(|p_value| significant(p_value, 4)),
            cluster: score.cluster,
            features: names.iter().cloned().zip(features.iter().map(|&value| value.into())).collect(),
            contributions: in_order(&|index| Some(significant(score.shares[index], 4).into())),
            approximate: score.is_approximate,
            expected: in_order(&|index| Some(expected[index].into())),
            direction: in_order(&side),
            explanation,
            fields: fields_of(pipeline, entity),
            lines: entity.lines,
            customer_id: entity.customer.as_deref().map(str::to_owned),
            event_time: Some(format_timestamp(entity.last_timestamp)),
            first_timestamp: format_timestamp(entity.first_timestamp),
            last_timestamp: format_timestamp(entity.last_timestamp),
            closed_early: entity.closed_early,
            source: None,
        }
    }

    /// The verdict, in version 2, of a detector of `pipeline` that compares the records of a window: on a record with this
    /// value, of which
    /// `window` said the most and, unless it holds too few records, gave it this score.
    pub fn of_window(
        pipeline: &Pipeline,
        spec: &ZScoreSpec,
        entity: &EntitySummary,
        value: f64,
        (score, window): (f64, &WindowSummary),
    ) -> Self {
        let [own, median, mad, mean, std, count] = &*OF_WINDOW;
        let (center, spread) = if window.is_robust { (median, mad) } else { (mean, std) };
        let features: [(&Arc<str>, Value); 4] = [
            (own, value.into()),
            (center, window.center.into()),
            (spread, window.spread.into()),
            (count, window.count.into()),
        ];
        let of_value = |of_value: Value| std::iter::once((own.clone(), of_value)).collect::<Named>();
        // JSON has no infinity.
        let score = score.min(f64::from(f32::MAX)) as f32;
        let (anomalous, ratio) = (score > spec.threshold, ratio(score, spec.threshold));
        Self {
            schema: SCHEMA,
            id: None,
            pipeline: pipeline.name.clone(),
            key: entity.key.as_ref().to_owned(),
            detector: spec.name.clone(),
            model_version: spec.version.clone(),
            definition: Some(pipeline.definition.clone()),
            anomalous,
            severity: anomalous.then(|| Severity::of(None, ratio)),
            reason: Some(reason_of_window(spec, value, (score, window), anomalous)),
            score,
            threshold: spec.threshold,
            ratio: ratio.map(|ratio| significant(ratio, 4)),
            p_value: None,
            cluster: None,
            features: features.into_iter().map(|(name, number)| (name.clone(), number)).collect(),
            contributions: of_value(1.0.into()),
            approximate: false,
            expected: of_value(window.center.into()),
            direction: match value.partial_cmp(&window.center) {
                Some(Ordering::Greater) => of_value("above".into()),
                Some(Ordering::Less) => of_value("below".into()),
                _ => Named::default(),
            },
            explanation: Vec::new(),
            fields: fields_of(pipeline, entity),
            lines: entity.lines,
            customer_id: entity.customer.as_deref().map(str::to_owned),
            event_time: Some(format_timestamp(entity.last_timestamp)),
            first_timestamp: format_timestamp(entity.first_timestamp),
            last_timestamp: format_timestamp(entity.last_timestamp),
            closed_early: entity.closed_early,
            source: None,
        }
    }

    /// Names the records that the entity was made of, and gives the verdict its id: pipeline, detector, partition and offset
    /// of the first record, and key, with `/` between them. Only the key, which is last, may have a `/` in it.
    pub fn found_in(self, source: VerdictSource) -> Self {
        let id = source.first().map(|(partition, offset)| {
            format!("{}/{}/{partition}/{offset}/{}", self.pipeline, self.detector, self.key)
        });
        Self { id, source: Some(source), ..self }
    }

    /// In the form of this version: without what version 1 did not have.
    pub fn in_schema(self, schema: VerdictSchema) -> Self {
        match schema {
            VerdictSchema::V2 => self,
            VerdictSchema::V1 => Self {
                schema: 1,
                id: None,
                definition: None,
                severity: None,
                reason: None,
                ratio: None,
                explanation: Vec::new(),
                fields: Named::default(),
                event_time: None,
                source: None,
                ..self
            },
        }
    }

    /// The feature that gave the entity away, and its share.
    pub fn main_contribution(&self) -> Option<(&str, f64)> {
        self.contributions.iter().next().and_then(|(name, share)| Some((name, share.as_f64()?)))
    }
}

/// How many times the threshold a score is; `None` where scores do not start at 0.
fn ratio(score: f32, threshold: f32) -> Option<f64> {
    (threshold > 0.0).then(|| f64::from(score) / f64::from(threshold))
}

fn fields_of(pipeline: &Pipeline, entity: &EntitySummary) -> Named {
    let json = |value: &FieldValue| match value {
        FieldValue::Missing => Value::Null,
        FieldValue::Text(text) => (**text).into(),
        FieldValue::Number(number) => json_number(*number),
    };
    pipeline.fields.shared_names().zip(entity.fields.iter().map(json)).collect()
}

/// A number without the noise of its last digits, and without a point where it is whole.
fn json_number(value: f64) -> Value {
    /// Whole numbers up to this are exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let value = significant(value, 12);
    if value.fract() == 0.0 && value.abs() <= EXACT { (value as i64).into() } else { value.into() }
}

/// Why a record does not fit into its window: `amount 1,200 EUR, 44 times the median 27 of 33 records with the same
/// merchant_id within 1d (18 deviations away)`.
fn reason_of_window(
    spec: &ZScoreSpec,
    value: f64,
    (score, window): (f32, &WindowSummary),
    is_anomalous: bool,
) -> String {
    let (center, deviations) = if window.is_robust { ("median", "robust deviations") } else { ("mean", "deviations") };
    let told = Told {
        name: &spec.value_name,
        reading: &spec.reading,
        value,
        is_least: false,
        usual: window.center,
        range: None,
    };
    let compared = match times(value, window.center) {
        Some(many) => format!("{many} the {center} {}", figure(window.center)),
        None => format!("the {center} is {}", figure(window.center)),
    };
    let same = spec.by_name.as_ref().map_or_else(String::new, |by| format!(" with the same {by}"));
    let away = if window.count < spec.min_count {
        format!("too few to judge: {} are needed", spec.min_count)
    } else if f64::from(score) >= f64::from(f32::MAX) {
        "all others are alike".to_owned()
    } else {
        format!("{} {deviations} away", figure(score.into()))
    };
    let before = if is_anomalous { "" } else { "not unusual enough: " };
    let records = if window.count == 1 { "record" } else { "records" };
    format!(
        "{before}{}, {compared} of {} {records}{same} within {} ({away})",
        told.with_unit(value),
        figure(window.count as f64),
        format_span(spec.window)
    )
}

/// The features' indices, the largest share first.
fn by_share(shares: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
    order
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;
    use crate::model::Model;

    const USUAL: [[f64; 2]; 5] = [[1.1, 9.0], [0.3, 4.0], [2.0, 20.0], [8.0, 17.0], [12.0, 400.0]];

    /// An invoice of 4,000 items, of which a detector with these usual ranges says that so many would have been normal.
    fn verdict(usual: &[[f64; 2]], expected_items: f64) -> Verdict {
        let pipeline = Pipeline::load("invoices").unwrap();
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let mut model = Model::load(&models, &pipeline, "kmeans").unwrap();
        (model.typical, model.usual) = (vec![2.9, 1.2, 6.0, 12.0, 91.0], usual.to_vec());
        assert_eq!(model.check(), Ok(()));
        let entity = EntitySummary {
            key: "560/539".into(),
            lines: 2,
            customer: Some("12415".into()),
            first_timestamp: 0,
            last_timestamp: 60_000,
            closed_early: false,
            fields: [FieldValue::Text("France".into()), FieldValue::Number(0.1 + 0.2)].into(),
        };
        let score = ExplainedScore {
            score: 1e6,
            cluster: Some(0),
            shares: vec![0.0, 0.0, 0.0, 0.003, 0.997],
            expected: vec![2.9, 1.2, 6.0, 12.0, expected_items],
            is_approximate: false,
        };
        let detector = Detector::new(model, &Device::flex());
        let features = [3.0, 1.0, 5.0, 12.0, 4000.0];
        let source = VerdictSource::in_topic("purchases", 2, &[(7, 8)]);
        Verdict::new(&pipeline, &detector, &entity, &features, &score).found_in(source)
    }

    /// A cluster of outliers is never called usual: the median of the history stands in for it.
    #[test]
    fn what_is_called_usual_lies_within_the_usual_range() {
        let said = |usual, expected| verdict(usual, expected).reason.unwrap();
        assert_eq!(said(&USUAL, 13_099.0), "4,000 items, 44 times the usual 91 (usual 12 to 400)");
        assert_eq!(said(&USUAL, 150.0), "4,000 items, 27 times the usual 150 (usual 12 to 400)");
        let found = verdict(&USUAL, 13_099.0);
        let of_items = |of: &Named| of.get("NumberItems").cloned();
        assert_eq!((of_items(&found.expected), of_items(&found.direction)), (Some(91.0.into()), Some("above".into())));
        let explained = &found.explanation[0];
        assert_eq!(
            (explained.value, explained.usual, explained.low, explained.high),
            (4000.0, 91.0, Some(12.0), Some(400.0))
        );
        // A model of an earlier trainer knows no ranges.
        assert_eq!(said(&[], 13_099.0), "4,000 items, 44 times the usual 91");
    }

    #[test]
    fn a_verdict_can_be_acted_on() {
        let found = verdict(&USUAL, 91.0);
        assert_eq!(found.id.as_deref(), Some("invoices/kmeans/2/7/560/539"));
        assert_eq!(found.severity, Some(Severity::Critical));
        assert!(found.ratio.is_some_and(|ratio| ratio > 10.0));
        assert_eq!(serde_json::to_string(&found.fields).unwrap(), r#"{"Country":"France","total":0.3}"#);
        assert_eq!(found.event_time.as_deref(), Some("1970-01-01T00:01:00Z"));
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), found);
    }

    #[test]
    fn version_1_has_nothing_of_version_2() {
        let old = verdict(&USUAL, 91.0).in_schema(VerdictSchema::V1);
        let Value::Object(json) = serde_json::to_value(&old).unwrap() else { panic!("an object") };
        let names: Vec<&str> = json.keys().map(String::as_str).collect();
        let expected = [
            "pipeline",
            "key",
            "detector",
            "model_version",
            "anomalous",
            "score",
            "threshold",
            "p_value",
            "cluster",
            "features",
            "contributions",
            "expected",
            "direction",
            "lines",
            "customer_id",
            "first_timestamp",
            "last_timestamp",
        ];
        assert_eq!(names, expected);
        assert_eq!(serde_json::from_value::<Verdict>(json.into()).unwrap(), old);
    }

    /// What all detectors say, in one message: the worst of them speaks.
    #[test]
    fn opinions_on_an_entity_go_together() {
        let (worst, mut other) = (verdict(&USUAL, 91.0), verdict(&USUAL, 150.0));
        (other.detector, other.severity) = ("other".to_owned(), Some(Severity::Low));
        let mut normal = Verdict { anomalous: false, severity: None, ..other.clone() };
        normal.detector = "third".to_owned();
        let together = EntityVerdict::of(&[&normal, &other, &worst]).unwrap();
        assert_eq!(together.id.as_deref(), Some("invoices/2/7/560/539"));
        assert_eq!((together.anomalous, together.severity), (true, Some(Severity::Critical)));
        assert_eq!(
            (&together.reason, &together.anomalous_to),
            (&worst.reason, &vec!["other".to_owned(), "kmeans".to_owned()])
        );
        assert_eq!(together.detectors.keys().collect::<Vec<_>>(), ["third", "other", "kmeans"]);
        assert_eq!(together.detectors["other"]["reason"], Value::from(other.reason));
        assert!(together.detectors["third"].get("features").is_none());
        let quiet = EntityVerdict::of(&[&normal]).unwrap();
        assert_eq!((quiet.anomalous, quiet.severity, quiet.anomalous_to), (false, None, Vec::new()));
        assert_eq!(EntityVerdict::of(&[]), None);
    }

    #[test]
    fn the_largest_contribution_comes_first() {
        assert_eq!(by_share(&[0.1, 0.9, -0.2, 0.1]), [1, 0, 3, 2]);
    }
}
