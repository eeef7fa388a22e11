//! An anomaly in full: why, all readings, and what every detector says.

use serde::Deserialize;
use serde_json::Value;
use shared::pipeline::Pipeline;
use shared::text::printable;
use shared::verdict::{EntityVerdict, ExplainedFeature, Severity};

use crate::commands::columns::{columns, indented, padded};

/// What a detector says of an entity, as far as it is shown.
#[derive(Deserialize)]
struct Opinion {
    anomalous: bool,
    severity: Option<Severity>,
    score: f32,
    threshold: f32,
    ratio: Option<f64>,
    p_value: Option<f64>,
    #[serde(default)]
    explanation: Vec<ExplainedFeature>,
}

/// All that is said of an anomaly, in lines of at most `width` columns.
pub(super) fn explained(verdict: &EntityVerdict, pipeline: &Pipeline, width: usize) -> String {
    let opinions = opinions(verdict);
    let mut lines = vec![indented(&what(verdict, pipeline), 2, width)];
    lines.push(indented(&format!("why: {}", shown(verdict.reason.as_deref().unwrap_or("-"))), 2, width));
    if !verdict.fields.is_empty() {
        let fields = verdict.fields.iter().map(|(name, value)| format!("{} {}", shown(name), plain(value)));
        lines.push(indented(&format!("fields: {}", fields.collect::<Vec<_>>().join(", ")), 2, width));
    }
    if let Some((detector, opinion)) = worst(&opinions).filter(|(_, opinion)| !opinion.explanation.is_empty()) {
        lines.push(indented(&format!("readings, with their shares of the score of {}:", shown(detector)), 2, width));
        lines.extend(opinion.explanation.iter().map(|feature| reading(feature, width)));
    }
    lines.push(indented("what each detector says:", 2, width));
    let name_width = opinions.iter().map(|(name, _)| columns(&shown(name))).max().unwrap_or_default();
    lines.extend(
        opinions.iter().map(|(name, opinion)| indented_after(&padded(&shown(name), name_width), &says(opinion), width)),
    );
    lines.join("\n")
}

fn opinions(verdict: &EntityVerdict) -> Vec<(&str, Opinion)> {
    let known = verdict.detectors.iter();
    known.filter_map(|(name, value)| Some((name.as_str(), Opinion::deserialize(value).ok()?))).collect()
}

/// The one that speaks: of equal severities, the first.
fn worst<'a>(opinions: &'a [(&'a str, Opinion)]) -> Option<&'a (&'a str, Opinion)> {
    opinions.iter().reduce(|worst, next| if next.1.severity > worst.1.severity { next } else { worst })
}

/// Which entity it is: `critical: InvoiceNo 520001, CustomerID 14087, 2010-03-15 10:28`
fn what(verdict: &EntityVerdict, pipeline: &Pipeline) -> String {
    let name = |column: usize| shown(&pipeline.schema.columns[column].name);
    let severity = verdict.severity.map_or("anomaly", |severity| severity.name());
    let mut said = format!("{severity}: {} {}", name(pipeline.entity.key), shown(&verdict.key));
    if let Some((column, customer)) = pipeline.entity.customer.zip(verdict.customer_id.as_deref()) {
        said += &format!(", {} {}", name(column), shown(customer));
    }
    let time = shown(&verdict.first_timestamp);
    format!("{said}, {}", time.get(..16).map_or(time.clone(), |minutes| minutes.replace('T', " ")))
}

/// `    84%  6,218 items, 82 times the usual 76 (usual 14 to 213)`
fn reading(feature: &ExplainedFeature, width: usize) -> String {
    indented_after(&format!("{:>4.0}%", feature.share * 100.0), &shown(&feature.text), width)
}

/// `critical: 27 times its threshold; p-value 0.0004`
fn says(opinion: &Opinion) -> String {
    let Opinion { anomalous, severity, score, threshold, ratio, p_value, .. } = opinion;
    let level = match severity {
        Some(severity) => severity.name(),
        None if *anomalous => "anomaly",
        None => "normal",
    };
    let score = match ratio {
        Some(ratio) if *ratio >= 10.0 => format!("the score is {ratio:.0} times the threshold"),
        Some(ratio) => format!("the score is {ratio:.1} times the threshold"),
        None => format!("the score is {score:.3}, the threshold {threshold:.3}"),
    };
    let rare =
        p_value.map_or_else(String::new, |p_value| format!("; about {} of the history scores as high", share(p_value)));
    format!("{level}: {score}{rare}")
}

/// A p-value as a share: `0.04%`
fn share(p_value: f64) -> String {
    let percent = p_value * 100.0;
    if percent >= 1.0 { format!("{percent:.0}%") } else { format!("{percent:.2}%") }
}

/// A text behind a name, its further lines below its first.
fn indented_after(name: &str, text: &str, width: usize) -> String {
    let indent = 4 + columns(name) + 2;
    let text = indented(text, indent.min(width / 2), width);
    if indent > width / 2 {
        return format!("{}\n{text}", indented(name, 4, width));
    }
    format!("    {name}  {}", text.trim_start())
}

fn shown(text: &str) -> String {
    printable(text).to_string()
}

/// A field without the signs of JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        Value::Null => "unknown".to_owned(),
        other => shown(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::commands::columns::WIDTH;

    fn feature(name: &str, share: f64, text: &str) -> Value {
        json!({ "feature": name, "share": share, "value": 1.0, "usual": 1.0, "text": text })
    }

    fn verdict(text: &str, detector: &str) -> EntityVerdict {
        let features = [
            feature("a", 0.84, text),
            feature("b", 0.16, "first line in the hour from 10:00"),
            feature("c", -0.01, "12 lines"),
        ];
        serde_json::from_value(json!({
            "schema": 2, "pipeline": "invoices", "key": "520001", "anomalous": true, "severity": "critical", "reason": text,
            "anomalous_to": [detector], "features": {}, "lines": 4, "customer_id": "14087",
            "fields": { "Country": "France", "total": 1780.5, "note": null },
            "first_timestamp": "2010-03-15T10:28:00Z", "last_timestamp": "2010-03-15T10:28:00Z",
            "detectors": {
                "quiet": { "anomalous": false, "score": -1.5, "threshold": -1.0, "p_value": 0.31 },
                detector: {
                    "anomalous": true, "severity": "critical", "score": 270.0, "threshold": 10.0, "ratio": 27.0, "p_value": 0.0004,
                    "explanation": features,
                },
                "zscore": { "anomalous": true, "severity": "low", "score": 1.5, "threshold": 1.0, "ratio": 1.5 },
            },
        }))
        .unwrap()
    }

    fn shown_in(width: usize, verdict: &EntityVerdict) -> String {
        explained(verdict, &Pipeline::load("invoices").unwrap(), width)
    }

    #[test]
    fn an_anomaly_is_explained_in_full() {
        let reason =
            "highest unit price 1,275 GBP, 76 times the usual 16.7 (usual 1.95 to 18); also average unit price 445 GBP";
        insta::assert_snapshot!(shown_in(WIDTH, &verdict(reason, "kmeans")), @"
          critical: InvoiceNo 520001, CustomerID 14087, 2010-03-15 10:28
          why: highest unit price 1,275 GBP, 76 times the usual 16.7 (usual 1.95 to 18); also average unit
          price 445 GBP
          fields: Country France, total 1780.5, note unknown
          readings, with their shares of the score of kmeans:
              84%  highest unit price 1,275 GBP, 76 times the usual 16.7 (usual 1.95 to 18); also average
                   unit price 445 GBP
              16%  first line in the hour from 10:00
              -1%  12 lines
          what each detector says:
            quiet   normal: the score is -1.500, the threshold -1.000; about 31% of the history scores as
                    high
            kmeans  critical: the score is 27 times the threshold; about 0.04% of the history scores as high
            zscore  low: the score is 1.5 times the threshold
        ");
    }

    proptest! {
        /// No record makes a line that a terminal would break.
        #[test]
        fn no_line_is_too_wide(text in "([a-z]{1,9} |日本|🙂|\\PC|\n){0,80}", detector in "(\\PC|日){1,70}", width in 60usize..=WIDTH) {
            let mut verdict = verdict(&text, &detector);
            verdict.key.clone_from(&text);
            verdict.first_timestamp.clone_from(&text);
            verdict.fields.insert(text.clone(), text.clone().into());
            for line in shown_in(width, &verdict).split('\n') {
                prop_assert!(line.width() <= width, "{} columns: {:?}", line.width(), line);
            }
        }
    }
}
