//! k-means for every number of clusters up to 5, and the clusters of new rows.
//!
//! ```text
//! cargo run -p clustering --example kmeans
//! ```

use std::error::Error;

use clustering::device::Device;
use clustering::kmeans::{KMeansFit, KMeansParams, Points, fit_sweep};
use clustering::matrix::Matrix;
use ndarray::{Array2, ArrayView2, array};

/// 300 rows, each near one of three centres in turns: `(300, 2)`.
pub fn three_groups() -> Array2<f32> {
    let centers = [[0.0, 0.0], [10.0, 0.0], [5.0, 8.0]];
    Array2::from_shape_fn((300, 2), |(row, feature)| {
        let (radius, angle) = (row as f32 / 300.0, row as f32 * 2.4);
        centers[row % 3][feature] + radius * if feature == 0 { angle.cos() } else { angle.sin() }
    })
}

/// The best clusters of `rows` `(n_samples, n_features)` for each number of clusters from 1 to `max_k`.
///
/// # Errors
/// When there are fewer rows than clusters, or a value is not finite.
pub fn cluster(rows: ArrayView2<'_, f32>, max_k: usize) -> Result<Vec<KMeansFit>, Box<dyn Error>> {
    let points = Points::new(Matrix::from(rows), max_k, &Device::flex())?;
    let params = KMeansParams { n_init: 10, max_iter: 300, tol: 1e-4, seed: 42, max_state_bytes: None };
    Ok(fit_sweep(&points, max_k, &params, &|| {})?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let fits = cluster(three_groups().view(), 5)?;
    for fit in &fits {
        println!("{} clusters: inertia {:.1}, sizes {:?}", fit.counts.len(), fit.inertia, fit.counts);
    }
    let new = array![[9.5_f32, 0.5], [0.2, -0.1]];
    let (labels, squared_distances) = fits[2].predict(&Matrix::from(new.view()), &Device::flex());
    println!("new rows are in clusters {labels:?}, at squared distances of {squared_distances:?}");
    Ok(())
}
