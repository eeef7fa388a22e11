//! Centres that rows are compared with again and again: what compares them is decided before a row comes, so on the CPU no
//! row becomes a tensor first.

use burn::tensor::{Device, Tensor};

use super::{TreeLinks, cpu, descend, is_cpu, nearest};
use crate::matrix::{Matrix, host_values};

/// Centres, and the device that compares rows with them.
#[derive(Debug)]
pub struct Centers {
    /// `(n_centers, n_features)`
    centers: Matrix,
    /// The same on a device that is not the CPU.
    on_device: Option<Tensor<2>>,
}

impl Centers {
    /// Of `centers` `(n_centers, n_features)`, which are finite, on `device`.
    pub fn new(centers: Matrix, device: &Device) -> Self {
        let on_device = (!is_cpu(device)).then(|| centers.to_tensor(device));
        Self { centers, on_device }
    }

    /// Centre `index`: `(n_features)`.
    pub fn row(&self, index: usize) -> &[f32] {
        self.centers.row(index)
    }

    /// The centre that is nearest to each row of `x` `(n_samples, n_features)`, the lowest on a tie, and the squared
    /// distance to it; both `(n_samples)`.
    pub fn nearest(&self, x: &Matrix) -> (Vec<i32>, Vec<f32>) {
        let Some(centers) = &self.on_device else { return cpu::nearest(x.into(), (&self.centers).into()) };
        let (labels, squared_distances) = nearest(&x.to_tensor(&centers.device()), centers); // (n_samples), (n_samples)
        (host_values(labels.into_data()), host_values(squared_distances.into_data()))
    }

    /// The leaf that each row of `x` `(n_samples, n_features)` comes to in the tree whose nodes have these centres, and the
    /// squared distance to its centre; both `(n_samples)`.
    pub fn descend(&self, x: &Matrix, links: &TreeLinks) -> (Vec<i32>, Vec<f32>) {
        let Some(centers) = &self.on_device else {
            return cpu::descend(x.into(), (&self.centers).into(), &links.left, &links.right);
        };
        let descent = descend(&x.to_tensor(&centers.device()), centers, links);
        (host_values(descent.nodes.into_data()), host_values(descent.squared_distances.into_data()))
    }
}
