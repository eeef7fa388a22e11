//! Scaling: from features in their own units to numbers that may stand beside each other in a distance.
//!
//! Every method centres, also `none`: distances do not change, and float32 keeps the digits that matter when
//! totals of tens of thousands stand beside prices of a few cents.

mod quantiles;

use clustering::matrix::{FeatureMatrix, Matrix};
use evaluation::statistics::{deviation, mean, mean_from_first, quantile, quantiles};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use quantiles::Quantiles;

/// How features are scaled before distances are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// Centred, in the features' own units.
    None,
    /// Mean 0, standard deviation 1.
    Standard,
    /// Median 0, interquartile range 1.
    Robust,
    /// Mean 0, standard deviation 1, after a symmetric logarithm: linear up to 5 standard deviations on both sides,
    /// logarithmic beyond. So a few enormous values neither set the scale of all others nor lose their order.
    Symlog,
    /// Normal scores of ranks: every feature of the history becomes a normal distribution, whatever its own is.
    Quantile,
}

impl Scaling {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Standard, Self::Robust, Self::Symlog, Self::Quantile];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Standard => "standard",
            Self::Robust => "robust",
            Self::Symlog => "symlog",
            Self::Quantile => "quantile",
        }
    }
}

/// Rows that a thread scales at a time.
const ROWS_A_TASK: usize = 4096;

/// Scaled values are held within these bounds, so that no sum of 64 squares leaves float32.
const LIMIT: f64 = 1e18;

/// What scaled values of so many features are held within, so that no squared distance leaves float32.
pub(crate) fn limit(n_features: usize) -> f64 {
    LIMIT / (n_features as f64 / 64.0).sqrt().max(1.0)
}

/// Whether these can be the values of a scaled row `(n_features)`, or means of such.
pub(crate) fn are_scaled(values: &[f32]) -> bool {
    let largest = limit(values.len()) as f32 * 1.001;
    values.iter().all(|value| value.abs() <= largest)
}

/// From how many standard deviations on [`Scaling::Symlog`] is logarithmic.
const LINEAR_TO: f64 = 5.0;

/// `(x - center) / scale`, feature by feature, in float64; for [`Scaling::Symlog`] that, after the symmetric logarithm,
/// once more; for [`Scaling::Quantile`] a map of each feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaler {
    /// How `center` and `scale` were found.
    pub method: Scaling,
    /// What is subtracted, a value a feature.
    pub center: Vec<f64>,
    /// What is divided by, a value a feature, above 0.
    pub scale: Vec<f64>,
    /// Centre and scale after the symmetric logarithm; `drawn_in` in files.
    #[serde(rename = "drawn_in", default, skip_serializing_if = "Option::is_none")]
    pub symlog: Option<Symlog>,
    /// The map of each feature, of [`Scaling::Quantile`]; there `center` is the median and `scale` the unit outside of all
    /// values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<Vec<Quantiles>>,
}

/// The second step of [`Scaling::Symlog`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symlog {
    /// What is subtracted, a value a feature.
    pub center: Vec<f64>,
    /// What is divided by, a value a feature, above 0.
    pub scale: Vec<f64>,
}

impl Scaler {
    /// Learns centre and scale from the rows of `features`.
    pub fn fit(method: Scaling, features: &FeatureMatrix) -> Self {
        let learned = features.map_columns(|column| LearnedColumn::fit(method, column));
        let center = learned.iter().map(|column| column.center).collect();
        let scale = learned.iter().map(|column| column.scale).collect();
        let symlog = (method == Scaling::Symlog).then(|| {
            let (center, scale) = learned.iter().map(|column| column.symlog).unzip();
            Symlog { center, scale }
        });
        let quantiles =
            (method == Scaling::Quantile).then(|| learned.into_iter().filter_map(|column| column.quantiles).collect());
        Self { method, center, scale, symlog, quantiles }
    }

    /// Checks what was learned or read from a file.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, n_features: usize) -> Result<(), String> {
        let second = self.symlog.as_ref().map(|second| (&second.center, &second.scale));
        if (self.method == Scaling::Symlog) != second.is_some() {
            return Err("its scaler is not that of its method".into());
        }
        match (&self.quantiles, self.method) {
            (Some(quantiles), Scaling::Quantile) if quantiles.len() == n_features => {
                quantiles.iter().try_for_each(Quantiles::check)?;
            }
            (None, method) if method != Scaling::Quantile => {}
            _ => return Err("its scaler is not that of its method".into()),
        }
        for (center, scale) in std::iter::once((&self.center, &self.scale)).chain(second) {
            if center.len() != n_features || scale.len() != n_features {
                return Err(format!("its scaler is not for {n_features} features"));
            }
            let is_finite = center.iter().chain(scale).all(|value| value.is_finite());
            if !is_finite || scale.iter().any(|&scale| scale <= 0.0) {
                return Err("its scaler holds a value that is not finite or a scale that is not above 0".into());
            }
        }
        Ok(())
    }

    /// Scales rows.
    ///
    /// # Panics
    /// When the number of features is not the one the scaler was fitted on.
    pub fn transform(&self, features: &FeatureMatrix) -> Matrix {
        assert_eq!(features.n_features(), self.center.len(), "the features that the scaler was fitted on");
        let n_features = features.n_features();
        let mut scaled = vec![0.0; features.values().len()];
        let (from, to) = (features.values(), scaled.as_mut_slice());
        if features.n_samples() <= ROWS_A_TASK {
            // No other thread is woken for a few rows of a stream.
            self.transform_rows(from, to);
        } else {
            let size = ROWS_A_TASK * n_features;
            from.par_chunks(size).zip(to.par_chunks_mut(size)).for_each(|(from, to)| self.transform_rows(from, to));
        }
        Matrix::from_values(n_features, scaled)
    }

    /// Scales rows that stand one after the other: both `(any, n_features)`.
    fn transform_rows(&self, from: &[f64], to: &mut [f32]) {
        let n_features = self.center.len();
        for (from, to) in from.chunks_exact(n_features).zip(to.chunks_exact_mut(n_features)) {
            to.iter_mut().zip(self.transform_row(from)).for_each(|(to, scaled)| *to = scaled);
        }
    }

    /// Scales a row: `(n_features)`.
    pub fn transform_row(&self, row: &[f64]) -> impl Iterator<Item = f32> {
        let limit = limit(row.len());
        row.iter().enumerate().map(move |(index, &x)| self.scaled(index, x).clamp(-limit, limit) as f32)
    }

    fn scaled(&self, feature: usize, x: f64) -> f64 {
        if let Some(quantiles) = &self.quantiles {
            return quantiles[feature].score(x, self.scale[feature]);
        }
        let scaled = scaled(x, self.center[feature], self.scale[feature]);
        match &self.symlog {
            None => scaled,
            Some(second) => (symlog(scaled) - second.center[feature]) / second.scale[feature],
        }
    }

    /// A scaled row back in the features' own units.
    pub fn inverse(&self, row: &[f32]) -> Vec<f64> {
        let inverse = |(index, x): (usize, &f32)| {
            if let Some(quantiles) = &self.quantiles {
                return quantiles[index].value(f64::from(*x), self.scale[index]).clamp(f64::MIN, f64::MAX);
            }
            let scaled = match &self.symlog {
                None => f64::from(*x),
                Some(second) => inverse_symlog(f64::from(*x) * second.scale[index] + second.center[index]),
            };
            // The inverse of a logarithm may leave float64, which is held at its largest number.
            (scaled * self.scale[index] + self.center[index]).clamp(f64::MIN, f64::MAX)
        };
        row.iter().enumerate().map(inverse).collect()
    }
}

/// How many times `scale` a value is from `center`.
fn scaled(x: f64, center: f64, scale: f64) -> f64 {
    let distance = x - center;
    // A distance that leaves float64 is between two of the largest numbers there are.
    if distance.is_finite() { distance / scale } else { x / scale - center / scale }
}

/// Linear up to [`LINEAR_TO`], with the logarithm's slope from there on, in both directions.
fn symlog(z: f64) -> f64 {
    let beyond = z.abs() - LINEAR_TO;
    if beyond <= 0.0 { z } else { (LINEAR_TO + beyond.ln_1p()).copysign(z) }
}

fn inverse_symlog(y: f64) -> f64 {
    let beyond = y.abs() - LINEAR_TO;
    if beyond <= 0.0 { y } else { (LINEAR_TO + beyond.exp_m1()).copysign(y) }
}

/// Values that differ by this many roundings are one value: a mean of equal prices is not always that price.
const ROUNDINGS: f64 = 64.0;

/// What is learned of one feature.
struct LearnedColumn {
    center: f64,
    scale: f64,
    /// Centre and scale after the symmetric logarithm, of [`Scaling::Symlog`].
    symlog: (f64, f64),
    /// Of [`Scaling::Quantile`].
    quantiles: Option<Quantiles>,
}

impl LearnedColumn {
    fn fit(method: Scaling, mut column: Vec<f64>) -> Self {
        let (mean, deviation) = mean_and_deviation(&column);
        let learned = Self { center: mean, scale: usable(deviation, mean, 1.0), symlog: (0.0, 1.0), quantiles: None };
        // Half of the values may be equal although the others differ: then the deviation is all there is.
        let robust = |[low, median, high]: [f64; 3]| (median, usable(high - low, median, learned.scale));
        match method {
            Scaling::None => Self { scale: 1.0, ..learned },
            Scaling::Standard => learned,
            Scaling::Symlog => {
                if usable(deviation, mean, 0.0) == 0.0 {
                    return learned;
                }
                column.iter_mut().for_each(|x| *x = symlog(scaled(*x, learned.center, learned.scale)));
                let (mean, deviation) = mean_and_deviation(&column);
                Self { symlog: (mean, usable(deviation, mean, 1.0)), ..learned }
            }
            Scaling::Robust => {
                let (center, scale) = robust(quantiles(&mut column, QUARTILES));
                Self { center, scale, ..learned }
            }
            Scaling::Quantile => {
                column.sort_unstable_by(f64::total_cmp);
                let (center, scale) = robust(QUARTILES.map(|share| quantile(&column, share)));
                Self { center, scale, quantiles: Some(Quantiles::fit(&column)), ..learned }
            }
        }
    }
}

/// What [`Scaling::Robust`] is made of.
const QUARTILES: [f64; 3] = [0.25, 0.5, 0.75];

/// The mean of equal values, or of nearly equal ones, is off by the roundings of their sum, and they would deviate from it by
/// as much. There both are taken from the first value on.
fn mean_and_deviation(column: &[f64]) -> (f64, f64) {
    let center = mean(column.iter().copied());
    let spread = deviation(column, center);
    if spread > column.len() as f64 * f64::EPSILON * center.abs() {
        return (center, spread);
    }
    let center = mean_from_first(column);
    (center, deviation(column, center))
}

/// A spread around `center`, or `otherwise` where it is 0, not finite, or no more than rounding.
fn usable(spread: f64, center: f64, otherwise: f64) -> f64 {
    if spread > ROUNDINGS * f64::EPSILON * center.abs() && spread.is_finite() { spread } else { otherwise }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(values: &[f64]) -> FeatureMatrix {
        FeatureMatrix::from_values(1, values.to_vec())
    }

    #[test]
    fn each_method_has_its_centre_and_scale() {
        let data = column(&[1.0, 2.0, 3.0, 4.0, 10.0]);
        let of = |method| {
            let scaler = Scaler::fit(method, &data);
            (scaler.center[0], scaler.scale[0])
        };
        assert_eq!(of(Scaling::None), (4.0, 1.0));
        assert_eq!(of(Scaling::Robust), (3.0, 2.0));
        assert_eq!(of(Scaling::Standard), (4.0, 10.0_f64.sqrt()));
    }

    #[test]
    fn a_constant_feature_scales_to_zero() {
        for method in Scaling::ALL {
            let data = column(&[7.5; 4]);
            assert_eq!(Scaler::fit(method, &data).transform(&data).values(), [0.0; 4]);
        }
    }

    proptest! {
        /// Also where the sum of the values rounds, as that of ten times 0.1 does.
        #[test]
        fn equal_values_have_scale_1(value in -1e9f64..1e9, power in -12i32..12, n in 1usize..10_000) {
            let value = value * 10f64.powi(power);
            let data = column(&vec![value; n]);
            for method in Scaling::ALL {
                let scaler = Scaler::fit(method, &data);
                prop_assert_eq!((scaler.center[0], scaler.scale[0]), (value, 1.0), "{:?}", method);
                prop_assert!(scaler.transform(&data).values().iter().all(|&x| x == 0.0), "{:?}", method);
            }
        }

        /// A price that is computed in several ways has one value; what differs by a percent is as far away as it is.
        #[test]
        fn roundings_are_no_spread(value in 0.01f64..1e6, roundings in proptest::collection::vec(0u64..9, 2..300)) {
            let values: Vec<f64> = roundings.iter().map(|n| f64::from_bits(value.to_bits() + n)).collect();
            for method in Scaling::ALL {
                let scaler = Scaler::fit(method, &column(&values));
                let other = f64::from(scaler.transform(&column(&[value * 1.01])).values()[0]);
                prop_assert!(other.abs() <= value * 0.0101, "{method:?} {other}");
            }
        }

        /// Half of the values differ by roundings alone, the others do not: the quartiles are no scale.
        #[test]
        fn quartiles_that_differ_by_roundings_are_no_scale(value in 0.01f64..1e6, n in 20usize..300) {
            let nearly = |index: usize| f64::from_bits(value.to_bits() + (index % 3) as u64);
            let far = |index: usize| value * if index.is_multiple_of(8) { 3.0 } else { 1.0 };
            let values: Vec<f64> = (0..n).map(|index| if index % 4 == 0 { far(index) } else { nearly(index) }).collect();
            let scale = Scaler::fit(Scaling::Robust, &column(&values)).scale[0];
            prop_assert!(scale > value * 0.01, "{scale}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Selection gives what sorting gives, several columns what each gives alone, and many rows what each gives alone: to
        /// the bit.
        #[test]
        fn order_threads_and_batches_change_nothing(
            rows in proptest::collection::vec([-9f64..9.0, -1e6f64..1e6, 0f64..2.0], 1..400), repeat in 1usize..30,
        ) {
            // A third column of few values.
            let rows = rows.into_iter().map(|[a, b, c]| [a, b, c.round()]).collect::<Vec<_>>().repeat(repeat);
            let data = FeatureMatrix::from_values(3, rows.iter().flatten().copied().collect());
            for method in Scaling::ALL {
                let scaler = Scaler::fit(method, &data);
                for feature in 0..3 {
                    let alone = Scaler::fit(method, &column(&data.column(feature).collect::<Vec<f64>>()));
                    prop_assert_eq!((scaler.center[feature], scaler.scale[feature]), (alone.center[0], alone.scale[0]));
                    if method == Scaling::Robust {
                        let mut sorted: Vec<f64> = data.column(feature).collect();
                        sorted.sort_by(f64::total_cmp);
                        let range = quantile(&sorted, 0.75) - quantile(&sorted, 0.25);
                        let is_usable = usable(range, quantile(&sorted, 0.5), 0.0) > 0.0;
                        prop_assert_eq!(scaler.center[feature].to_bits(), quantile(&sorted, 0.5).to_bits());
                        prop_assert!(!is_usable || scaler.scale[feature].to_bits() == range.to_bits());
                    }
                }
                let scaled = scaler.transform(&data);
                let alone: Vec<f32> = data.rows().flat_map(|row| scaler.transform_row(row)).collect();
                prop_assert_eq!(scaled.values(), &alone[..]);
            }
        }
    }

    #[test]
    fn centring_keeps_the_digits_of_large_values() {
        let data = column(&[1e9, 1e9 + 1.0, 1e9 + 2.0]);
        let scaled = Scaler::fit(Scaling::None, &data).transform(&data);
        assert_eq!(scaled.values(), [-1.0, 0.0, 1.0]);
    }

    #[test]
    fn the_inverse_gives_the_features_back() {
        let data = column(&[1.0, 5.0, 12.0]);
        let scaler = Scaler::fit(Scaling::Robust, &data);
        let scaled = scaler.transform(&data);
        for (row, expected) in scaled.rows().zip(data.rows()) {
            assert!((scaler.inverse(row)[0] - expected[0]).abs() < 1e-5);
        }
    }

    #[test]
    fn enormous_values_come_nearer_and_keep_their_order() {
        let mut values: Vec<f64> = (0..1000).map(|i| f64::from(i % 10)).collect();
        values.extend([1e6, 2e6]);
        let data = column(&values);
        let scaler = Scaler::fit(Scaling::Symlog, &data);
        let scaled = scaler.transform(&data);
        let (x, standard) = (scaled.values(), Scaler::fit(Scaling::Standard, &data).transform(&data));
        assert!(x[1001] > x[1000] && x[1000] > x[9]);
        assert!(x[9] - x[0] > 2.0 * (standard.values()[9] - standard.values()[0]), "the others have room");
        let out = scaler.inverse(&x[1001..])[0];
        assert!((out / 2e6 - 1.0).abs() < 1e-4, "{out}");
    }

    #[test]
    fn the_largest_numbers_scale_like_others() {
        for method in Scaling::ALL {
            for values in [vec![f64::MIN, 0.0, f64::MAX], vec![1e308; 5], [vec![1.0; 99], vec![1e308, 1e308]].concat()]
            {
                let data = column(&values);
                let scaler = Scaler::fit(method, &data);
                assert_eq!(scaler.check(1), Ok(()), "{method:?} {values:?}");
                let scaled = scaler.transform(&data);
                assert!(scaled.values().iter().all(|x| x.is_finite()), "{method:?} {values:?}");
                assert!(scaled.values().is_sorted(), "{method:?} keeps the order of {values:?}");
                assert!(scaled.rows().all(|row| scaler.inverse(row)[0].is_finite()), "{method:?} {values:?}");
            }
        }
        let data = column(&[f64::MIN, f64::MAX]);
        let scaled = Scaler::fit(Scaling::Standard, &data).transform(&data);
        assert!((scaled.values()[0] + 1.0).abs() < 1e-6 && (scaled.values()[1] - 1.0).abs() < 1e-6, "{scaled:?}");
    }

    #[test]
    fn a_squared_distance_of_many_features_stays_finite() {
        for n_features in [1, 64, 10_000] {
            let (low, high) = (vec![-1e300; n_features], vec![1e300; n_features]);
            let data = FeatureMatrix::from_values(n_features, [low, high].concat());
            let scaler = Scaler { scale: vec![1.0; n_features], ..Scaler::fit(Scaling::None, &data) };
            let rows = scaler.transform(&data);
            let squares = rows.row(0).iter().zip(rows.row(1)).map(|(a, b)| (a - b) * (a - b));
            assert!(squares.sum::<f32>().is_finite(), "{n_features}");
        }
    }

    #[test]
    fn huge_values_stay_finite() {
        let data = column(&[0.0, 1.0, 2.0, 1e300]);
        let scaled = Scaler::fit(Scaling::Robust, &data).transform(&data);
        assert!(scaled.values().iter().all(|x| (x * x * 64.0).is_finite()));
    }
}
