//! `[[alerts]]`, checked.

use std::collections::HashSet;

use super::keys::{known, only_own, unknown};
use super::{AlertBy, AlertCondition, AlertSpec};
use crate::pipeline::PipelineError;
use crate::pipeline::checker::Checker;
use crate::pipeline::file::AlertSection;

/// The severities, as verdicts name them, the lowest first.
const SEVERITIES: [&str; 4] = ["low", "medium", "high", "critical"];

/// What an alert is about.
const KINDS: [&str; 5] = ["anomaly", "erroneous_rate", "lag", "silence", "drift"];

/// Entities that a rule may count: as many are remembered of each group.
const MOST_COUNTED: u32 = 1_000;

/// What alerts may name.
pub(in super::super) struct Names<'a> {
    pub channels: Vec<&'a str>,
    pub detectors: Vec<&'a str>,
    pub fields: Vec<&'a str>,
    pub has_customer: bool,
}

/// The alerts.
pub(in super::super) fn alerts(
    checker: &Checker<'_>,
    sections: &[AlertSection],
    names: &Names<'_>,
) -> Result<Vec<AlertSpec>, PipelineError> {
    let mut seen = HashSet::new();
    if let Some(twice) = sections.iter().find(|section| !seen.insert(&section.name)) {
        return checker.error("[[alerts]] name", format!("`{}` stands twice", twice.name));
    }
    sections.iter().map(|section| alert(checker, section, names)).collect()
}

fn alert(checker: &Checker<'_>, section: &AlertSection, names: &Names<'_>) -> Result<AlertSpec, PipelineError> {
    checker.name("[[alerts]] name", &section.name)?;
    let place = |key: &str| format!("[[alerts]] {}: {key}", section.name);
    if section.channels.is_empty() {
        return checker.error(&place("channels"), "must name at least one of [[channels]]");
    }
    known(checker, &place("channels"), &section.channels, "channel", &names.channels)?;
    let when = section.when.as_deref().unwrap_or(KINDS[0]);
    let condition = condition(checker, section, when, &names.detectors)?;
    let is_of_anomalies = matches!(condition, AlertCondition::Anomaly { .. });
    let mut group_by = Vec::new();
    for name in &section.group_by {
        if !is_of_anomalies {
            return checker.error(&place("group_by"), "is for alerts on anomalies: remove it, or when");
        }
        group_by.push(match name.as_str() {
            "key" => AlertBy::Key,
            "customer" if !names.has_customer => {
                return checker
                    .error(&place("group_by"), "there is no customer: name its column with [entity] customer");
            }
            "customer" => AlertBy::Customer,
            "detector" => AlertBy::Detector,
            field => {
                let mut all = vec!["key", "customer", "detector"];
                all.extend(&names.fields);
                known(checker, &place("group_by"), std::slice::from_ref(name), "field of [outputs]", &all)?;
                AlertBy::Field(field.to_owned())
            }
        });
    }
    let span = |key: &str, text: &Option<String>| text.as_ref().map(|text| checker.span(&place(key), text)).transpose();
    let quiet = if is_of_anomalies { 30 * 60_000 } else { 60_000 };
    Ok(AlertSpec {
        name: section.name.clone(),
        condition,
        group_by,
        throttle: span("throttle", &section.throttle)?.unwrap_or(5 * 60_000),
        repeat: span("repeat", &section.repeat)?,
        resolve_after: span("resolve_after", &section.resolve_after)?.unwrap_or(quiet),
        channels: section.channels.clone(),
    })
}

fn condition(
    checker: &Checker<'_>,
    section: &AlertSection,
    when: &str,
    detectors: &[&str],
) -> Result<AlertCondition, PipelineError> {
    let place = |key: &str| format!("[[alerts]] {}: {key}", section.name);
    let span =
        |key: &str, text: &Option<String>, usual: &str| checker.span(&place(key), text.as_deref().unwrap_or(usual));
    let (own, condition): (&[&str], AlertCondition) = match when {
        "anomaly" => {
            let severity = section.severity.as_deref().unwrap_or("low");
            let Some(severity) = SEVERITIES.iter().find(|known| **known == severity) else {
                return checker.error(&place("severity"), unknown(severity, "severity", &SEVERITIES));
            };
            let wanted = section.detectors.clone().unwrap_or_default();
            known(checker, &place("detectors"), &wanted, "detector", detectors)?;
            let count = checker.limit(&place("count"), section.count, 1)?;
            if count > MOST_COUNTED {
                return checker.error(&place("count"), format!("must be at most {MOST_COUNTED}"));
            }
            if count > 1 && section.window.is_none() {
                return checker.error(&place("window"), "is needed where there is a count, such as \"10m\"");
            }
            let window = span("window", &section.window, "1h")?;
            let condition = AlertCondition::Anomaly { severity, detectors: wanted, count, window };
            (&["severity", "detectors", "count", "window"], condition)
        }
        "erroneous_rate" => {
            let Some(above) = section.above.filter(|above| (0.0..1.0).contains(above)) else {
                return checker.error(&place("above"), "must be a share from 0 to 1, such as 0.05");
            };
            let window = span("window", &section.window, "5m")?;
            let min_records = checker.limit(&place("min_records"), section.min_records, 100)?;
            (&["above", "window", "min_records"], AlertCondition::ErroneousRate { above, window, min_records })
        }
        "lag" => {
            if section.records.is_none() && section.age.is_none() {
                return checker.error(&place("records"), "is needed for when = \"lag\", or age, such as \"5m\"");
            }
            let age = section.age.as_ref().map(|text| checker.span(&place("age"), text)).transpose()?;
            let lasting = span("lasting", &section.lasting, "1m")?;
            (&["records", "age", "lasting"], AlertCondition::Lag { records: section.records, age, lasting })
        }
        "silence" => {
            let lasting = span("lasting", &section.lasting, "10m")?;
            (&["lasting"], AlertCondition::Silence { lasting })
        }
        "drift" => (&[], AlertCondition::Drift),
        other => return checker.error(&place("when"), unknown(other, "condition", &KINDS)),
    };
    let given = [
        ("severity", section.severity.is_some()),
        ("detectors", section.detectors.is_some()),
        ("count", section.count.is_some()),
        ("window", section.window.is_some()),
        ("above", section.above.is_some()),
        ("min_records", section.min_records.is_some()),
        ("records", section.records.is_some()),
        ("age", section.age.is_some()),
        ("lasting", section.lasting.is_some()),
    ];
    only_own(checker, &place, &given, own, &format!("when = \"{when}\""))?;
    Ok(condition)
}
