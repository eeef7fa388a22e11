//! Verdicts as they were written, to a topic or a file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use shared::verdict::Verdict;

use super::cause::Cause;
use super::counts::Side;
use super::entity_id::EntityId;
use super::labels::Labels;
use super::pairs::{Comparison, Judged, Pairs};

/// Versions of a model that are told apart.
const MOST_VERSIONS: usize = 20;

/// Takes verdicts of two detectors of a pipeline, and passes over everything else.
#[derive(Debug)]
pub struct Intake<'a> {
    pipeline: &'a str,
    names: [&'a str; 2],
    labels: Option<&'a Labels>,
    pairs: Pairs,
    versions: [BTreeMap<String, u64>; 2],
    others: u64,
}

/// What is needed of a verdict on a normal entity: nearly all are.
#[derive(Debug, Deserialize)]
struct VerdictHead<'a> {
    #[serde(borrow)]
    pipeline: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    detector: Cow<'a, str>,
    #[serde(borrow)]
    model_version: Cow<'a, str>,
    anomalous: bool,
    score: f32,
    threshold: f32,
    #[serde(borrow)]
    first_timestamp: Cow<'a, str>,
    #[serde(borrow)]
    last_timestamp: Cow<'a, str>,
}

impl<'a> Intake<'a> {
    /// Takes verdicts of the detectors `names` of `pipeline`.
    pub fn new(pipeline: &'a str, names: [&'a str; 2], labels: Option<&'a Labels>) -> Self {
        Self { pipeline, names, labels, pairs: Pairs::default(), versions: Default::default(), others: 0 }
    }

    /// The detector of that name.
    pub fn side(&self, detector: &str) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| self.names[side.index()] == detector)
    }

    /// Whether labels came by themselves.
    pub fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// Whether that key is labelled as an anomaly's.
    pub fn is_labelled(&self, key: &str) -> bool {
        self.labels.is_some_and(|labels| labels.is_anomaly(key))
    }

    /// Takes a message, which may be something else than a verdict.
    pub fn message(&mut self, payload: &[u8]) {
        let head: Option<VerdictHead<'_>> = serde_json::from_slice(payload).ok();
        let head = head.filter(|head| head.pipeline == self.pipeline);
        let Some((head, side)) = head.and_then(|head| self.side(&head.detector).map(|side| (head, side))) else {
            self.others += 1;
            return;
        };
        let judged = Judged {
            side,
            id: EntityId::new(&head.key, &*head.first_timestamp, &*head.last_timestamp),
            key: &head.key,
            score: head.score,
            threshold: head.threshold,
            is_anomalous: head.anomalous,
            is_labelled: self.is_labelled(&head.key),
        };
        let cause = || serde_json::from_slice::<Verdict>(payload).ok().as_ref().and_then(Cause::of);
        self.take(&judged, &head.model_version, cause);
    }

    /// Takes a verdict that was made by this version of its model.
    pub fn take(&mut self, judged: &Judged<'_>, version: &str, cause: impl FnOnce() -> Option<Cause>) {
        self.pairs.add(judged, cause);
        let versions = &mut self.versions[judged.side.index()];
        if let Some(count) = versions.get_mut(version) {
            *count += 1;
        } else if versions.len() < MOST_VERSIONS {
            versions.insert(version.to_owned(), 1);
        }
    }

    /// Messages that are no verdict of either detector.
    pub fn others(&self) -> u64 {
        self.others
    }

    /// Whether no verdict came.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// How the two agree, as [`Pairs::finish`], and the versions of their models, with how many verdicts each made.
    pub fn finish(self, is_complete: Option<bool>, n_examples: usize) -> (Comparison, [BTreeMap<String, u64>; 2]) {
        (self.pairs.finish(is_complete, n_examples), self.versions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(detector: &str, key: &str, score: f32, more: &str) -> String {
        let anomalous = score > 2.0;
        format!(
            r#"{{"topic":"t","pipeline":"p","key":"{key}","detector":"{detector}","model_version":"v1","anomalous":{anomalous},"score":{score},"threshold":2.0,"features":{{"X":7.5}},"contributions":{{"X":1.0}},"expected":{{"X":1.5}},"lines":1,"first_timestamp":"a","last_timestamp":"b"{more}}}"#
        )
    }

    #[test]
    fn messages_that_are_no_verdicts_are_passed_over() {
        let mut labels = Labels::default();
        labels.add("1", true);
        let mut intake = Intake::new("p", ["one", "two"], Some(&labels));
        for message in [
            verdict("one", "1", 3.0, ""),
            verdict("two", "1", 1.0, r#","closed_early":true"#),
            verdict("two", "2", 1.0, ""),
            verdict("three", "1", 3.0, ""),
            verdict("one", "1", 3.0, "").replace("\"p\"", "\"q\""),
            r#"{"pipeline":"p","kind":"line","reasons":[]}"#.to_owned(),
            "nonsense".to_owned(),
            String::new(),
        ] {
            intake.message(message.as_bytes());
        }
        assert_eq!(intake.others(), 5);
        let (found, versions) = intake.finish(None, 3);
        assert_eq!((found.agreement.labelled.only, found.alone), ([1, 0], [0, 1]));
        assert_eq!(found.examples[0][0].cause.as_ref().unwrap().to_string(), "X = 7.50, usually 1.50 (100%)");
        assert!(found.examples[0][0].is_labelled);
        assert_eq!(versions.map(|versions| versions["v1"]), [1, 2]);
    }
}
