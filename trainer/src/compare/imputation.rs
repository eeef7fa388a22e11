//! What takes the place of missing values: a statistic of the rows that detectors are fitted on, and of no others.

use rayon::prelude::*;
use shared::evaluation::statistics::middle;
use shared::matrix::FeatureMatrix;
use thiserror::Error;

use super::args::MissingRule;
use crate::numbers::grouped;

/// Values are missing, and that is refused.
#[derive(Debug, Error, PartialEq)]
#[error("values are missing in {columns}: use --missing median, mean or zero, or fill them")]
pub struct MissingValues {
    columns: String,
}

/// A value for each feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Imputation {
    values: Vec<f64>,
}

impl Imputation {
    /// Learns from the rows that detectors are fitted on. A feature of which nothing is known there gets 0.
    pub fn fit(rule: MissingRule, rows: &FeatureMatrix) -> Self {
        let of = |index: usize| {
            let known: Vec<f64> = rows.column(index).filter(|value| !value.is_nan()).collect();
            match rule {
                _ if known.is_empty() => 0.0,
                MissingRule::Zero | MissingRule::Refuse => 0.0,
                // Divided before they are added: a sum of large values may not be finite where their mean is.
                MissingRule::Mean => known.iter().map(|value| value / known.len() as f64).sum(),
                MissingRule::Median => median(known),
            }
        };
        // Only what is missing somewhere is looked at twice, but where is not known yet.
        Self { values: (0..rows.n_features()).into_par_iter().map(of).collect() }
    }

    /// The rows with values where some were missing.
    pub fn fill(&self, rows: FeatureMatrix) -> FeatureMatrix {
        let n_features = rows.n_features();
        let mut values = rows.into_values();
        for row in values.chunks_exact_mut(n_features) {
            for (value, replacement) in row.iter_mut().zip(&self.values) {
                if value.is_nan() {
                    *value = *replacement;
                }
            }
        }
        FeatureMatrix::from_values(n_features, values)
    }
}

/// The value in the middle, or between the two.
fn median(mut values: Vec<f64>) -> f64 {
    middle(&mut values).map_or(0.0, |(lower, upper)| lower + (upper - lower) / 2.0)
}

/// How many values are missing, said in a line; none when none is.
///
/// # Errors
/// [`MissingValues`] when some are, and the rule refuses that.
pub fn missing_values(
    rule: MissingRule,
    rows: &FeatureMatrix,
    names: &[String],
) -> Result<Option<String>, MissingValues> {
    let mut counts = vec![0u64; names.len()];
    for row in rows.rows() {
        counts.iter_mut().zip(row).for_each(|(count, value)| *count += u64::from(value.is_nan()));
    }
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return Ok(None);
    }
    let columns = listed(names.iter().zip(&counts).filter(|column| *column.1 > 0));
    let place = match rule {
        MissingRule::Refuse => return Err(MissingValues { columns }),
        MissingRule::Zero => "0",
        MissingRule::Mean => "the mean of the fitted rows",
        MissingRule::Median => "the median of the fitted rows",
    };
    Ok(Some(format!("missing values become {place}: {columns}")))
}

fn listed<'a>(columns: impl Iterator<Item = (&'a String, &'a u64)>) -> String {
    const MOST: usize = 6;
    let all: Vec<String> = columns.map(|(name, count)| format!("{name} ({})", grouped(*count))).collect();
    let more = all.len().saturating_sub(MOST);
    let text = all.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{text} and {more} more columns") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAN: f64 = f64::NAN;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|index| format!("f{index}")).collect()
    }

    #[test]
    fn each_rule_has_its_statistic() {
        let rows = FeatureMatrix::from_values(2, vec![1.0, NAN, 9.0, NAN, NAN, NAN, 2.0, NAN, 4.0, NAN]);
        let filled = |rule| Imputation::fit(rule, &rows).fill(rows.clone()).values()[4..6].to_vec();
        assert_eq!(filled(MissingRule::Median), [3.0, 0.0]);
        assert_eq!(filled(MissingRule::Mean), [4.0, 0.0]);
        assert_eq!(filled(MissingRule::Zero), [0.0, 0.0]);
    }

    #[test]
    fn what_is_missing_is_counted_or_refused() {
        let rows = FeatureMatrix::from_values(2, vec![1.0, NAN, 9.0, 1.0]);
        let note = missing_values(MissingRule::Median, &rows, &names(2)).unwrap().unwrap();
        assert_eq!(note, "missing values become the median of the fitted rows: f1 (1)");
        let error = missing_values(MissingRule::Refuse, &rows, &names(2)).unwrap_err().to_string();
        assert_eq!(error, "values are missing in f1 (1): use --missing median, mean or zero, or fill them");
        let whole = FeatureMatrix::from_values(1, vec![1.0]);
        assert_eq!(missing_values(MissingRule::Refuse, &whole, &names(1)), Ok(None));
    }

    proptest! {
        #[test]
        fn the_median_is_in_the_middle(values in proptest::collection::vec(-1e6..1e6f64, 1..50)) {
            let found = median(values.clone());
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            let n = sorted.len();
            let expected = if n % 2 == 1 { sorted[n / 2] } else { f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]) };
            prop_assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0));
        }
    }
}
