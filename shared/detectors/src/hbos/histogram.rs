//! A feature's histogram.

use super::Hbos;

/// Fewest and most bins, where their number is not given.
const N_BINS: std::ops::RangeInclusive<f64> = 5.0..=100.0;

/// Bins are not narrower than this, in standard deviations of the feature, where their number is not given.
const NARROWEST: f64 = 0.3;

/// The interquartile range of a normal distribution, in standard deviations.
const NORMAL_IQR: f64 = 1.349;

/// Bins of one width, and how surprising a value in each of them is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// Where the first bin begins.
    pub start: f64,
    /// How wide each bin is.
    pub width: f64,
    /// How much rarer a value of each bin is than one of the densest, in bits.
    pub surprise: Vec<f32>,
    /// The same of a value outside of all bins.
    pub unseen: f32,
}

impl Histogram {
    /// That of a feature's finite values, of which there is at least one.
    pub(super) fn of(mut values: Vec<f32>, params: &Hbos) -> Self {
        let spread = Spread::of(&values);
        if spread.max <= spread.min {
            return Self::of_constant(spread.min, params.alpha);
        }
        let (start, range) = (spread.min, spread.max - spread.min);
        let n_bins = params.n_bins.unwrap_or_else(|| suitable_bins(&mut values, range, spread.deviation));
        let width = range / n_bins as f64;
        let mut histogram = Self { start, width, surprise: Vec::new(), unseen: 0.0 };
        let mut counts = vec![0u64; n_bins];
        for value in values.iter() {
            counts[(histogram.position(*value) as usize).min(n_bins - 1)] += 1;
        }
        // What share of the rows would lie within a standard deviation if all bins there were like this one.
        let unit = spread.deviation / (width * values.len() as f64);
        histogram.weigh(&counts.iter().map(|&count| count as f64 * unit).collect::<Vec<_>>(), params.alpha);
        histogram
    }

    /// That of one value only: one bin around it, as wide as a scaled feature's standard deviation.
    fn of_constant(value: f64, alpha: f64) -> Self {
        let mut histogram = Self { start: value - 0.5, width: 1.0, surprise: Vec::new(), unseen: 0.0 };
        histogram.weigh(&[1.0], alpha);
        histogram
    }

    fn weigh(&mut self, densities: &[f64], alpha: f64) {
        let densest = densities.iter().copied().fold(0.0, f64::max);
        let surprise = |density: f64| ((densest + alpha) / (density + alpha)).log2() as f32;
        self.surprise = densities.iter().map(|&density| surprise(density)).collect();
        self.unseen = surprise(0.0);
    }

    /// Where a value lies, in bins from the start of the first one.
    pub(super) fn position(&self, value: f32) -> f64 {
        (f64::from(value) - self.start) / self.width
    }

    /// How surprising a value is: outside of the bins as in the outermost one, as long as it is within `tolerance`.
    pub(super) fn surprise_of(&self, value: f32, tolerance: f64) -> f32 {
        let (position, n_bins) = (self.position(value), self.surprise.len());
        if position < -tolerance || position > n_bins as f64 + tolerance {
            return self.unseen;
        }
        // Conversion of what is below 0 gives 0.
        self.surprise[(position as usize).min(n_bins - 1)]
    }

    /// The centre of the densest bin, the first of several.
    pub(super) fn mode(&self) -> f32 {
        let densest = self.surprise.iter().enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b));
        let bin = densest.map_or(0, |(bin, _)| bin);
        (self.start + (bin as f64 + 0.5) * self.width) as f32
    }
}

/// A feature in short.
struct Spread {
    min: f64,
    max: f64,
    /// The population standard deviation.
    deviation: f64,
}

impl Spread {
    fn of(values: &[f32]) -> Self {
        let (mut min, mut max, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
        for &value in values {
            let value = f64::from(value);
            (min, max, sum) = (min.min(value), max.max(value), sum + value);
        }
        let n = values.len() as f64;
        let mean = sum / n;
        let squares: f64 = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
        Self { min, max, deviation: (squares / n).sqrt() }
    }
}

/// How many bins of `2 IQR / n^(1/3)`, or of [`NARROWEST`] where that is wider, there are in `range`. Where the middle half of
/// the rows has one value, the IQR is that of a normal distribution with this deviation.
fn suitable_bins(values: &mut [f32], range: f64, deviation: f64) -> usize {
    let n = values.len();
    let mut quantile = |rank: usize| f64::from(*values.select_nth_unstable_by(rank, f32::total_cmp).1);
    let iqr = quantile(3 * (n - 1) / 4) - quantile((n - 1) / 4);
    let iqr = if iqr > 0.0 { iqr } else { NORMAL_IQR * deviation };
    let width = (2.0 * iqr / (n as f64).cbrt()).max(NARROWEST * deviation);
    // A NaN, or an infinity, comes to a bound as well.
    (range / width).ceil().max(*N_BINS.start()).min(*N_BINS.end()) as usize
}
