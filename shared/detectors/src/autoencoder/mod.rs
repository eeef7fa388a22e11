//! Autoencoder: an anomaly is what cannot be told again from a short description of it (Hawkins, He, Williams and Baxter,
//! "Outlier Detection Using Replicator Neural Networks", DaWaK 2002).
//!
//! 1. A network of fully connected layers leads each row through a narrow layer, the bottleneck, back to a row: it learns
//!    what the rows have in common, since there is no room for what they have not.
//! 2. It is trained by gradients, batch by batch, with AdamW (Loshchilov and Hutter 2019), and dropout against learning by
//!    heart. A tenth of the rows is held out; the weights that do best on them are kept, and training ends when they get no
//!    better.
//! 3. The score is the mean of the squared errors over the features, in the units of the rows.
//!
//! Some rows of any history are anomalies, and the network is to learn nothing from them, for otherwise it could tell them
//! again. So features are standardised by median and quartiles for the network; what lies far out comes in held within
//! bounds, and so does what the network is to answer; and Huber's loss counts a large error by its size and not by its
//! square. The score takes the error against the row's true value, so nothing of an outlier is hidden from it.

mod dropout;
mod learned;
mod network;
mod order;
mod standard;
mod training;

#[cfg(test)]
mod tests;

use clustering::matrix::Matrix;
use serde::{Deserialize, Serialize};

use crate::random::Stream;
use crate::{Context, Fit, FitError, Learned};

pub use learned::Reconstruction;

use network::n_weights;
use standard::Standard;
use training::Training;

/// Most layers of the encoder.
const MAX_LAYERS: usize = 8;

/// Widest layer.
const MAX_WIDTH: usize = 1 << 14;

/// Most weights: 256 MiB of a model.
const MAX_WEIGHTS: usize = 1 << 26;

/// Most rows a batch.
const MAX_BATCH: usize = 1 << 16;

/// Fewest rows: something to learn from, and something to hold out.
const MIN_ROWS: usize = 10;

/// Parameters of an autoencoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Autoencoder {
    /// Most values that come out of each layer of the encoder, the widest first and the bottleneck last; the decoder has the
    /// same layers in the opposite order. From 1 to 8 layers, each from 1 to 16,384 wide.
    pub hidden: Vec<usize>,
    /// Most width of the bottleneck, as a share of the number of features, at least 2; each layer before it may be twice as
    /// wide as the next. Where there are few features, layers as wide as `hidden` would let everything through. Above 0, at
    /// most 1,000, which leaves `hidden` as it is.
    pub bottleneck: f64,
    /// Most passes over the rows, or over the 128 batches next in turn where there are more: from 1 to 10,000.
    pub epochs: usize,
    /// Rows a step of training, fewer in a table that has not eight times as many: from 1 to 65,536.
    pub batch: usize,
    /// How far a step goes: above 0, at most 1.
    pub learning_rate: f64,
    /// Training ends when so many epochs were no better than the best one: at least 1.
    pub patience: usize,
    /// Share of the hidden units that a step leaves out: at least 0, at most 0.9.
    pub dropout: f64,
    /// How strongly weights are drawn to 0, in each step times `learning_rate`: at least 0, at most 1.
    pub weight_decay: f64,
    /// Most distance from the median, in robust standard deviations, of what goes into the network: from 0.1 to 1,000.
    pub clip: f64,
}

/// What did well in the mean over public tables of 3 to 166 features.
impl Default for Autoencoder {
    fn default() -> Self {
        Self {
            hidden: vec![64, 32],
            bottleneck: 0.25,
            epochs: 20,
            batch: 256,
            learning_rate: 3e-3,
            patience: 5,
            dropout: 0.2,
            weight_decay: 1e-4,
            clip: 5.0,
        }
    }
}

impl Autoencoder {
    /// How many values come out of each layer, the input first.
    fn widths(&self, n_features: usize) -> Vec<usize> {
        let bottleneck = (self.bottleneck * n_features as f64).ceil();
        let n_layers = self.hidden.len();
        let limit = |index: usize| (bottleneck * 2f64.powi((n_layers - 1 - index) as i32)).max(2.0) as usize;
        let encoder: Vec<usize> =
            self.hidden.iter().enumerate().map(|(index, &width)| width.min(limit(index))).collect();
        let decoder = encoder.iter().rev().skip(1);
        [n_features].iter().chain(&encoder).chain(decoder).chain(&[n_features]).copied().collect()
    }

    fn check_training(&self) -> Result<(), String> {
        if !(1..=10_000).contains(&self.epochs) {
            return Err("epochs must be between 1 and 10000".to_owned());
        }
        if !(1..=MAX_BATCH).contains(&self.batch) {
            return Err(format!("batch must be between 1 and {MAX_BATCH}"));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return Err("learning_rate must be above 0 and at most 1".to_owned());
        }
        if self.patience == 0 {
            return Err("patience must be at least 1".to_owned());
        }
        if !(0.0..=0.9).contains(&self.dropout) {
            return Err("dropout must be between 0 and 0.9".to_owned());
        }
        if !(0.0..=1.0).contains(&self.weight_decay) {
            return Err("weight_decay must be between 0 and 1".to_owned());
        }
        Ok(())
    }
}

impl Fit for Autoencoder {
    type Learned = Reconstruction;

    fn check(&self) -> Result<(), String> {
        if !(1..=MAX_LAYERS).contains(&self.hidden.len()) {
            return Err(format!("hidden must be the widths of 1 to {MAX_LAYERS} layers, as in [64, 32]"));
        }
        if self.hidden.iter().any(|width| !(1..=MAX_WIDTH).contains(width)) {
            return Err(format!("hidden must have widths between 1 and {MAX_WIDTH}"));
        }
        if !(self.bottleneck > 0.0 && self.bottleneck <= 1000.0) {
            return Err("bottleneck must be above 0 and at most 1000".to_owned());
        }
        if !(0.1..=1000.0).contains(&self.clip) {
            return Err("clip must be between 0.1 and 1000".to_owned());
        }
        self.check_training()
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<Reconstruction, FitError> {
        let (n_samples, n_features) = (x.n_samples(), x.n_features());
        if n_samples < MIN_ROWS {
            return Err(FitError::TooFewRows { n_samples, needed: MIN_ROWS, why: "an autoencoder".into() });
        }
        let too_large = |why: &str| FitError::TooLarge { n_samples, n_features, why: why.to_owned() };
        if u32::try_from(n_samples).is_err() {
            return Err(too_large("an autoencoder counts rows in 32 bits, so train it on a part of them"));
        }
        let widths = self.widths(n_features);
        if n_weights(&widths).is_none_or(|n| n > MAX_WEIGHTS) {
            return Err(too_large(&format!("the network would have more than {MAX_WEIGHTS} weights; lower hidden")));
        }
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples });
        }
        let standard = Standard::fit(x, &mut Stream::NetworkScale.of(context.seed));
        let weights = Training::new(self, x, &standard, &widths, context).run(context.on_step)?;
        let learned = Reconstruction::new(widths, self.clip as f32, standard, weights);
        learned.check(n_features).map_err(|problem| {
            FitError::Numeric(format!(
                "the autoencoder learned what cannot be used, {problem}: lower its learning_rate"
            ))
        })?;
        Ok(learned)
    }

    fn n_steps(&self) -> u64 {
        self.epochs as u64
    }
}
