//! The report for machines.

use serde_json::{Map, Value, json};
use shared::evaluation::Confusion;

use super::report::{ComparisonReport, Labelled};
use crate::agreement::{Comparison, Example, Side};
use crate::truth::share;

/// The report as JSON; what is not known is `null`.
pub(super) fn of(report: &ComparisonReport) -> Value {
    let ComparisonReport { pipeline, entities, source, found, labels, .. } = report;
    let all = found.agreement.all();
    let mut value = json!({
        "pipeline": pipeline,
        "source": source,
        "entities": entities,
        "a": detector(report, Side::A),
        "b": detector(report, Side::B),
        "all_verdicts": found.is_complete,
        "both": all.both,
        "only_a": all.only[0],
        "only_b": all.only[1],
        "neither": known(found, all.neither),
        "jaccard": found.agreement.jaccard(),
        "spearman": found.spearman,
        "spearman_over": found.ranked,
        "superseded_verdicts": found.again,
        "labels": labels.as_ref().map(|labels| judged_by_labels(found, labels)),
    });
    value["examples"] = json!({ "only_a": examples(report, Side::A), "only_b": examples(report, Side::B) });
    value
}

/// A number that nobody knows where verdicts on normal entities are not there.
fn known(found: &Comparison, number: u64) -> Value {
    if found.is_complete { number.into() } else { Value::Null }
}

fn detector(report: &ComparisonReport, side: Side) -> Value {
    let (index, found) = (side.index(), &report.found);
    let versions: Map<String, Value> =
        report.versions[index].iter().map(|(version, verdicts)| (version.clone(), (*verdicts).into())).collect();
    json!({
        "detector": report.names[index],
        "verdicts_by_model_version": versions,
        "anomalous": found.agreement.all().flagged(side),
        "judged_alone": found.alone[index],
    })
}

fn judged_by_labels(found: &Comparison, labels: &Labelled) -> Value {
    let anomalies = labels.n_anomalies(found);
    let of = |side: Side| {
        let confusion = found.agreement.confusion(side);
        let Confusion { true_positives, false_positives, .. } = confusion;
        json!({
            "true_positives": true_positives,
            "false_positives": false_positives,
            "precision": share(true_positives, true_positives + false_positives),
            "recall": anomalies.and_then(|anomalies| share(true_positives, anomalies)),
        })
    };
    let (labelled, others, test) = (found.agreement.labelled, found.agreement.others, found.agreement.mcnemar());
    json!({
        "source": labels.source,
        "anomalies": anomalies,
        "a": of(Side::A),
        "b": of(Side::B),
        "only_a": { "anomalies": labelled.only[0], "others": others.only[0] },
        "only_b": { "anomalies": labelled.only[1], "others": others.only[1] },
        "only_a_right": test.only_first,
        "only_b_right": test.only_second,
        "p_value": test.p_value,
    })
}

fn examples(report: &ComparisonReport, side: Side) -> Vec<Value> {
    let has_labels = report.labels.is_some();
    let value = |example: &Example| {
        let cause = example.cause.as_ref();
        json!({
            "key": example.key,
            "score": example.score,
            "threshold": example.threshold,
            "feature": cause.map(|cause| &cause.feature),
            "value": cause.and_then(|cause| cause.value),
            "expected": cause.and_then(|cause| cause.usual),
            "share": cause.map(|cause| cause.share),
            "labelled": has_labels.then_some(example.is_labelled),
        })
    };
    report.found.examples[side.index()].iter().map(value).collect()
}
