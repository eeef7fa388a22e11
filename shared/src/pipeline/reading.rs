//! How people read a feature: in which words, in which unit, and as what kind of number.
//!
//! A detector compares numbers that were transformed, such as the logarithm of a ratio. A [`Reading`] turns such a number
//! back into what it was made of. All inverses rise, so a quantile stays the quantile.

use features::aggregates::Feature;
use features::history::{Measure, RecordFeature, Transform};

use super::PipelineError;
use super::checker::Checker;
use super::file::FeatureSection;

/// The longest label or unit, in characters: they stand in sentences.
const MAX_CHARS: usize = 80;

/// How a feature is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it is called in a sentence, before its value; of a ratio, what it is a ratio to.
    pub label: Option<String>,
    /// What stands after its value.
    pub unit: Option<String>,
    /// What kind of number it is.
    pub measure: Measure,
    /// What was done with that number to make the feature.
    pub transform: Transform,
}

impl Reading {
    /// A number as it is, with this label and unit.
    pub fn of_number(label: Option<String>, unit: Option<String>) -> Self {
        Self { label, unit, measure: Measure::Number, transform: Transform::Nothing }
    }

    /// The number that a feature's value was made of.
    pub fn read(&self, value: f64) -> f64 {
        self.transform.inverse(value)
    }

    /// Whether `value` is the smallest that the feature can have: what it was made of may have been smaller.
    pub fn is_at_least_value(&self, value: f64) -> bool {
        self.transform == Transform::Log && value <= Transform::LEAST.ln()
    }

    /// Of a feature of several lines, with nothing said of it.
    pub(super) fn of_session(feature: &Feature) -> Self {
        let measure = match feature {
            feature if feature.is_hour() => Measure::Hour,
            feature if feature.is_day_of_week() => Measure::DayOfWeek,
            _ => Measure::Number,
        };
        Self { measure, ..Self::of_number(None, None) }
    }

    /// Of a feature of a record, with nothing said of it.
    pub(super) fn of_record(feature: &RecordFeature) -> Self {
        Self { measure: feature.measure(), transform: feature.transform(), ..Self::of_number(None, None) }
    }

    /// With what the pipeline file says.
    pub(super) fn with(self, checker: &Checker<'_>, section: &FeatureSection) -> Result<Self, PipelineError> {
        let place = |key: &str| format!("[features.{}] {key}", section.name);
        let measure = match section.reading.as_deref() {
            None => self.measure,
            Some("number") => Measure::Number,
            Some("ratio") => Measure::Ratio,
            Some("hour") => Measure::Hour,
            Some("day_of_week") => Measure::DayOfWeek,
            Some("flag") => Measure::Flag,
            Some(other) => {
                let problem = format!("`{other}` is no reading: use number, ratio, hour, day_of_week or flag");
                return checker.error(&place("reading"), problem);
            }
        };
        let label = words(checker, &place("label"), section.label.as_ref())?;
        let unit = words(checker, &place("unit"), section.unit.as_ref())?;
        Ok(Self { label, unit, measure, ..self })
    }
}

/// Words of a sentence.
pub(super) fn words(
    checker: &Checker<'_>,
    place: &str,
    text: Option<&String>,
) -> Result<Option<String>, PipelineError> {
    match text {
        Some(text) if text.trim().is_empty() || text.chars().count() > MAX_CHARS || text.contains(char::is_control) => {
            checker.error(place, format!("must be words of a sentence: 1 to {MAX_CHARS} characters on one line"))
        }
        text => Ok(text.map(|text| text.trim().to_owned())),
    }
}
