//! Training: which steps there are, and when it is enough.

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use clustering::matrix::{Matrix, host_values};

use crate::random::Stream;
use crate::{Context, FitError};

use super::Autoencoder;
use super::dropout::Dropout;
use super::network::{Network, initial_weights};
use super::order::Order;
use super::standard::Standard;

/// Errors up to this many standard deviations count by their square and larger ones by their size (Huber 1964), so that
/// an anomaly pulls no harder than this.
const HUBER: f32 = 1.0;

/// Least and most steps of an epoch. With many rows an epoch is a part of them, and the next one goes on from there.
const STEPS_AN_EPOCH: (usize, usize) = (8, 128);

/// An epoch is better than the best one when its loss is lower by this share.
const LEAST_GAIN: f64 = 1e-3;

/// Rows of the held-out ones that are one tensor.
const HELD_OUT_ROWS: usize = 1 << 12;

/// A network in training, with all that it takes.
pub(super) struct Training<'a> {
    params: &'a Autoencoder,
    x: &'a Matrix,
    standard: &'a Standard,
    device: Device,
    network: Network,
    optimizer: ModuleOptimizer,
    order: Order,
    dropout: Dropout,
    held_out: Vec<u32>,
}

impl<'a> Training<'a> {
    /// A network of layers as wide as `widths` says, which knows nothing yet.
    pub(super) fn new(
        params: &'a Autoencoder,
        x: &'a Matrix,
        standard: &'a Standard,
        widths: &[usize],
        context: &Context<'_>,
    ) -> Self {
        let device = context.device.clone().autodiff();
        let weights = initial_weights(widths, &mut Stream::NetworkWeights.of(context.seed));
        let (held_out, order) = Order::hold_out(x.n_samples(), Stream::NetworkOrder.of(context.seed));
        Self {
            params,
            x,
            standard,
            network: Network::new(widths, &weights, &device),
            optimizer: AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(params.weight_decay as f32).init(),
            order,
            dropout: Dropout::new(params.dropout, Stream::NetworkDropout.of(context.seed), &device),
            held_out,
            device,
        }
    }

    /// Trains until the loss of the rows that were held out falls no more, and gives the weights that it was lowest with.
    pub(super) fn run(mut self, on_step: &(dyn Fn() + Sync)) -> Result<Vec<f32>, FitError> {
        let of_nothing = self.held_out_loss(|x| x.zeros_like());
        let (mut best, mut lowest, mut since) = (self.network.valid(), f64::INFINITY, 0);
        for epoch in 0..self.params.epochs {
            self.epoch();
            on_step();
            let network = self.network.valid();
            let loss = self.held_out_loss(|x| network.forward(x));
            if !loss.is_finite() {
                return Err(self.diverged(epoch));
            }
            if loss < lowest * (1.0 - LEAST_GAIN) {
                (best, lowest, since) = (network, loss, 0);
            } else {
                since += 1;
            }
            if since >= self.params.patience {
                (epoch + 1..self.params.epochs).for_each(|_| on_step());
                break;
            }
        }
        // To say that every row is the common one would have been much better than this.
        if lowest > 2.0 * of_nothing { Err(self.diverged(self.params.epochs - 1)) } else { Ok(best.weights()) }
    }

    fn diverged(&self, epoch: usize) -> FitError {
        FitError::Numeric(format!(
            "the autoencoder's training diverged by epoch {}: lower its learning_rate of {}",
            epoch + 1,
            self.params.learning_rate
        ))
    }

    fn epoch(&mut self) {
        let n_train = self.order.len();
        // Small tables are cut into small batches: what counts is the number of steps.
        let batch = self.params.batch.min((n_train / STEPS_AN_EPOCH.0).max(16));
        for _ in 0..(n_train / batch).clamp(1, STEPS_AN_EPOCH.1) {
            self.step(batch);
        }
    }

    fn step(&mut self, batch: usize) {
        let x = standardised(self.x, self.standard, self.params.clip, self.order.draw(batch), &self.device);
        let [n_samples, n_features] = x.dims();
        let errors = self.network.forward_with(x.clone(), &mut self.dropout) - x; // (n_samples, n_features)
        // Huber's loss L has the derivative L'(e) = clamp(e, -HUBER, HUBER): as a constant factor of e it gives the same
        // gradient in fewer operations than L itself.
        let slopes = errors.clone().detach().clamp(-HUBER, HUBER);
        let loss = (slopes * errors).sum() / (n_samples * n_features) as f32;
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        self.network = self.optimizer.step(self.params.learning_rate, self.network.clone(), gradients);
    }

    /// The mean of Huber's loss over rows that are not trained on.
    fn held_out_loss(&self, forward: impl Fn(Tensor<2>) -> Tensor<2>) -> f64 {
        let device = self.device.clone().without_autodiff();
        let mut sum = 0.0;
        for rows in self.held_out.chunks(HELD_OUT_ROWS) {
            let x = standardised(self.x, self.standard, self.params.clip, rows, &device);
            let errors = forward(x.clone()) - x; // (n_rows, n_features)
            let slopes = errors.clone().clamp(-HUBER, HUBER);
            let losses = ((errors - slopes.clone() * 0.5) * slopes).sum_dim(1); // (n_rows, 1)
            sum += host_values::<f32>(losses.into_data()).into_iter().map(f64::from).sum::<f64>();
        }
        sum / self.held_out.len() as f64
    }
}

/// These rows as the network sees them: `(n_rows, n_features)`.
fn standardised(x: &Matrix, standard: &Standard, clip: f64, rows: &[u32], device: &Device) -> Tensor<2> {
    let mut values = Vec::with_capacity(rows.len() * x.n_features());
    for &row in rows {
        standard.transform(x.row(row as usize), clip as f32, &mut values);
    }
    Tensor::from_data(TensorData::new(values, [rows.len(), x.n_features()]), device)
}
