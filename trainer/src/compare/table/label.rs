//! The column that says which rows are anomalies.

use std::borrow::Cow;
use std::collections::BTreeMap;

use shared::text::printable;

use super::error::TableError;
use super::rows::Cell;

/// Most distinct values that are counted.
const MOST_VALUES: usize = 9;

/// Values that mean that a row is normal, and values that mean that it is not, whatever the other value is.
const NORMAL: [&str; 14] = [
    "0",
    "false",
    "f",
    "no",
    "n",
    "normal",
    "inlier",
    "benign",
    "legit",
    "legitimate",
    "genuine",
    "good",
    "nominal",
    "ok",
];
const ANOMALOUS: [&str; 14] = [
    "true",
    "t",
    "yes",
    "y",
    "anomaly",
    "anomalous",
    "abnormal",
    "outlier",
    "fraud",
    "fraudulent",
    "attack",
    "malicious",
    "bad",
    "defect",
];

/// The values of a label so far.
#[derive(Debug, Default)]
pub(super) struct LabelValues {
    /// How many rows have each, while they are few.
    counts: BTreeMap<String, u64>,
    has_more: bool,
    missing: Option<(u64, String)>,
}

/// A label's value, such that 1, 1.0 and 1e0 are one.
fn value(cell: Cell<'_>) -> Option<Cow<'_, str>> {
    match cell {
        Cell::Missing | Cell::Other(_) => None,
        Cell::Number(number) => Some(written(number).into()),
        Cell::Text(text) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Some(written(number).into()),
            _ => Some(text),
        },
    }
}

fn written(number: f64) -> String {
    // Minus zero is zero.
    format!("{}", number + 0.0)
}

impl LabelValues {
    /// Sees the label of a row.
    pub(super) fn see(&mut self, cell: Cell<'_>, place: impl FnOnce() -> String) {
        let Some(value) = value(cell) else {
            self.missing.get_or_insert_with(|| (0, place())).0 += 1;
            return;
        };
        let is_full = self.counts.len() == MOST_VALUES;
        match self.counts.get_mut(value.as_ref()) {
            Some(count) => *count += 1,
            None if is_full => self.has_more = true,
            None => {
                self.counts.insert(value.into_owned(), 1);
            }
        }
    }

    /// Which values are anomalies, where `anomaly` may say which one is.
    ///
    /// # Errors
    /// [`TableError`] when a row has no label, or its values do not say which rows are anomalies.
    pub(super) fn rule(&self, column: &str, anomaly: Option<&str>, normal: &[String]) -> Result<LabelRule, TableError> {
        if !normal.is_empty() {
            return self.with_normal(column, normal);
        }
        let column = column.to_owned();
        if let Some((count, first)) = self.missing.clone() {
            return Err(TableError::MissingLabel { column, count, first });
        }
        if let Some(wanted) = anomaly {
            let wanted = value(Cell::Text(wanted.trim().into())).unwrap_or_default().into_owned();
            if !self.counts.contains_key(&wanted) && !self.has_more {
                return Err(TableError::NoSuchLabel { column, value: wanted, values: self.listed() });
            }
            if self.counts.len() == 1 && !self.has_more {
                return Err(TableError::OneKind { column, value: wanted, lacking: "a normal row" });
            }
            return Ok(LabelRule { means: Means::Anomaly(wanted), is_said: true });
        }
        let counts: Vec<(&String, u64)> = self.counts.iter().map(|(value, count)| (value, *count)).collect();
        match counts[..] {
            [(value, _)] => {
                let lacking = if is_one_of(value, &ANOMALOUS) || value == "1" { "a normal row" } else { "an anomaly" };
                Err(TableError::OneKind { column, value: value.clone(), lacking })
            }
            [first, second] if !self.has_more => match clear(first.0, second.0) {
                Some(anomaly) => Ok(LabelRule { means: Means::Anomaly(anomaly.clone()), is_said: true }),
                None if first.1 == second.1 => Err(TableError::Ambiguous { column, values: self.listed() }),
                None => {
                    let rarer = if first.1 < second.1 { first.0 } else { second.0 };
                    Ok(LabelRule { means: Means::Anomaly(rarer.clone()), is_said: false })
                }
            },
            _ => Err(TableError::NotBinary { column, values: self.listed() }),
        }
    }

    fn listed(&self) -> String {
        let values: Vec<String> = self.counts.keys().map(|value| printable(value).to_string()).collect();
        let more = if self.has_more { ", ..." } else { "" };
        format!("{}{more}", values.join(", "))
    }
}

impl LabelValues {
    /// Every value is an anomaly but these.
    fn with_normal(&self, column: &str, normal: &[String]) -> Result<LabelRule, TableError> {
        let normal: Vec<String> =
            normal.iter().map(|text| value(Cell::Text(text.trim().into())).unwrap_or_default().into_owned()).collect();
        if let (Some((count, first)), false) = (self.missing.clone(), normal.contains(&String::new())) {
            return Err(TableError::MissingLabel { column: column.to_owned(), count, first });
        }
        let is_normal = |value: &String| normal.iter().any(|normal| normal.eq_ignore_ascii_case(value));
        let all = match (self.counts.keys().any(is_normal) || self.missing.is_some(), self.counts.keys().all(is_normal))
        {
            _ if self.has_more => None,
            (false, _) => Some("an anomaly"),
            (_, true) => Some("normal"),
            _ => None,
        };
        match all {
            Some(all) => Err(TableError::OneKindNamed {
                column: column.to_owned(),
                normal: normal.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(" "),
                all,
                values: self.listed(),
            }),
            None => Ok(LabelRule { means: Means::AllBut(normal), is_said: true }),
        }
    }
}

fn is_one_of(value: &str, names: &[&str]) -> bool {
    names.iter().any(|name| value.eq_ignore_ascii_case(name))
}

/// Which of two values means an anomaly, where they say so themselves.
fn clear<'a>(a: &'a String, b: &'a String) -> Option<&'a String> {
    let means = |value: &str, other: &str| {
        let is_normal = is_one_of(other, &NORMAL) && (other != "0" || value == "1" || value.parse::<f64>().is_err());
        is_one_of(value, &ANOMALOUS) || is_normal
    };
    match (means(a, b), means(b, a)) {
        (true, false) => Some(a),
        (false, true) => Some(b),
        _ => None,
    }
}

/// Which values mean an anomaly.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Means {
    /// This one alone.
    Anomaly(String),
    /// Every one but these; an empty text is a missing label.
    AllBut(Vec<String>),
}

/// Which value means an anomaly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LabelRule {
    means: Means,
    /// Whether the values say so, or somebody did.
    is_said: bool,
}

impl LabelRule {
    /// Whether a row with this label is an anomaly.
    pub(super) fn is_anomaly(&self, cell: Cell<'_>) -> bool {
        let value = value(cell);
        match &self.means {
            Means::Anomaly(anomaly) => value.is_some_and(|value| value == *anomaly),
            Means::AllBut(normal) => {
                let value = value.unwrap_or_default();
                !normal.iter().any(|normal| normal.eq_ignore_ascii_case(&value))
            }
        }
    }

    /// What has to be said of it.
    pub(super) fn note(&self, labels: &[bool]) -> Option<String> {
        let anomalies = labels.iter().filter(|label| **label).count();
        if let (false, Means::Anomaly(anomaly)) = (self.is_said, &self.means) {
            return Some(format!(
                "rows with the label {anomaly} are taken for the anomalies, being the rarer; --anomaly says otherwise"
            ));
        }
        (2 * anomalies > labels.len()).then(|| "more than half of the rows are anomalies".to_owned())
    }
}
