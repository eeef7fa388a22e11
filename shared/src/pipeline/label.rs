//! `[label]`: what a record itself says it is, for judging detectors by it. Only detectors that learn from labels learn from it, and
//! no feature reads it.

use records::dialect::without_zero_fraction;

use super::checker::Checker;
use super::file::{FeatureSection, LabelSection};
use super::{Column, ColumnType, PipelineError};

const DEFAULT_NORMAL: [&str; 4] = ["", "0", "false", "normal"];

/// Where a record's label stands, and which labels mean that nothing is wrong.
#[derive(Debug, Clone)]
pub struct Label {
    /// Index of the text column that holds it.
    pub column: Option<usize>,
    /// Kafka header that holds it.
    pub header: Option<String>,
    /// Labels that mean "not an anomaly"; upper and lower case are the same.
    pub normal: Vec<String>,
}

/// A label that stands nowhere in a record, as where labels come by themselves.
impl Default for Label {
    fn default() -> Self {
        Self { column: None, header: None, normal: default_normal() }
    }
}

fn default_normal() -> Vec<String> {
    DEFAULT_NORMAL.map(str::to_owned).to_vec()
}

impl Label {
    /// Whether a record with the label `text` has none. When detectors are judged it counts as normal, as most records are; none
    /// learns from it.
    pub fn is_unknown(text: Option<&str>) -> bool {
        text.is_none_or(|text| text.trim().is_empty())
    }

    /// The scenario that a record with the label `text` belongs to, or `None` when it is normal. A record without a label
    /// is normal.
    pub fn scenario<'a>(&self, text: Option<&'a str>) -> Option<&'a str> {
        let text = text?.trim();
        // 1.0 is the label 1, as tables with gaps write it.
        let text = without_zero_fraction(text).unwrap_or(text);
        (!text.is_empty() && !self.normal.iter().any(|normal| normal.eq_ignore_ascii_case(text))).then_some(text)
    }
}

/// What an analyst's word in a file of `scorer labels export` says, whatever a pipeline calls normal: `anomaly` is one,
/// `false_alarm` is none, and of `unsure` nobody knows. `None` where the text is no such word.
pub fn is_confirmed(text: &str) -> Option<bool> {
    match text.trim() {
        "anomaly" => Some(true),
        "false_alarm" | "unsure" => Some(false),
        _ => None,
    }
}

/// Checks the section. The column of the label becomes one of texts: true, 1 and "fraud" are labels alike, and no record is
/// lost for a bad one.
pub(super) fn check(
    checker: &Checker<'_>,
    section: &LabelSection,
    features: &[FeatureSection],
    columns: &mut [Column],
) -> Result<Label, PipelineError> {
    let column = match &section.column {
        Some(name) => Some(checker.resolve("[label] column", name, columns)?),
        None => None,
    };
    if let Some(column) = column.map(|index| &mut columns[index]) {
        if column.kind == ColumnType::Datetime {
            return checker.error("[label] column", format!("`{}` must not be a datetime", column.name));
        }
        if column.if_missing.is_some() {
            let problem = format!("`{}` is the label: a record without one is normal", column.name);
            return checker.error("[input.missing]", problem);
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let reads = |it: &&FeatureSection| it.expression.split(|c| !is_word(c)).any(|word| word == column.name);
        if let Some(feature) = features.iter().find(reads) {
            return checker.error(&format!("[features] {}", feature.name), is_label(column));
        }
        *column = column.of_labels();
    }
    if section.header.as_ref().is_some_and(|header| header.is_empty()) {
        return checker.error("[label] header", "must not be empty");
    }
    if column.is_none() && section.header.is_none() {
        return checker.error("[label]", "needs `column`, `header` or both: where the label of a record stands");
    }
    let trimmed = |normal: &Vec<String>| normal.iter().map(|text| text.trim().to_owned()).collect();
    Ok(Label {
        column,
        header: section.header.clone(),
        normal: section.normal.as_ref().map_or_else(default_normal, trimmed),
    })
}

/// Fails when `column`, which `place` of the file names, is the label's: what reads it would know the answer.
pub(super) fn check_not_read(
    checker: &Checker<'_>,
    place: &str,
    column: usize,
    label: Option<&Label>,
    columns: &[Column],
) -> Result<(), PipelineError> {
    if label.and_then(|label| label.column) != Some(column) {
        return Ok(());
    }
    checker.error(place, is_label(&columns[column]))
}

fn is_label(column: &Column) -> String {
    format!("`{}` is the column of [label]: it is for judging, not for learning", column.name)
}
