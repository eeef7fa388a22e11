//! Leaving out hidden units at random while training.

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Dropout (Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014): each value is 0 with a probability, and what
/// stays grows, so that the sum is the same in the mean.
///
/// Its masks come from a generator of its own; burn's dropout draws from one that the whole process shares.
#[derive(Debug)]
pub(super) struct Dropout {
    /// Of 256 values, so many are left out in the mean.
    left_out: u8,
    rng: ChaCha8Rng,
    device: Device,
}

impl Dropout {
    /// Leaves out this share, at least 0 and below 1, to the nearest 1/256.
    pub(super) fn new(share: f64, rng: ChaCha8Rng, device: &Device) -> Self {
        Self { left_out: (share * 256.0).round().clamp(0.0, 255.0) as u8, rng, device: device.clone() }
    }

    /// Leaves out some of the values `(n_samples, n_hidden)`.
    pub(super) fn apply(&mut self, x: Tensor<2>) -> Tensor<2> {
        if self.left_out == 0 {
            return x;
        }
        let [n_samples, n_hidden] = x.dims();
        let mut bytes = vec![0u8; n_samples * n_hidden];
        self.rng.fill(bytes.as_mut_slice());
        let kept = 256.0 / (256.0 - f32::from(self.left_out));
        let mask = bytes.iter().map(|&byte| if byte < self.left_out { 0.0 } else { kept }).collect();
        x * Tensor::from_data(TensorData::new::<f32, _>(mask, [n_samples, n_hidden]), &self.device)
    }
}
