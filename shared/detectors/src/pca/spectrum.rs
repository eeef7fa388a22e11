//! Principal components of rows.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Side};

use crate::FitError;
use crate::dense::{Moments, Rows, centered};

/// All principal components, the largest first.
#[derive(Debug)]
pub(super) struct Spectrum {
    /// `(n_features)`
    pub mean: Vec<f64>,
    /// The variance along each component, not negative: `(n_features)`.
    pub variances: Vec<f64>,
    /// Unit vectors, `(n_components, n_features)`, row-major: as many as the rows span where there are fewer rows than
    /// features.
    pub components: Vec<f64>,
}

impl Spectrum {
    /// Of rows, at least two.
    pub fn of(rows: Rows<'_>) -> Result<Self, FitError> {
        if rows.len() < rows.n_features { Self::of_few(rows) } else { Self::of_many(rows) }
    }

    /// The eigenvectors of the covariance.
    fn of_many(rows: Rows<'_>) -> Result<Self, FitError> {
        let p = rows.n_features;
        let indices: Vec<usize> = (0..rows.len()).collect();
        let moments = Moments::of(rows, &indices);
        let (variances, vectors) = eigen(moments.covariance.as_ref())?;
        let components = (0..p).flat_map(|index| upright((0..p).map(|row| vectors[(row, p - 1 - index)]).collect()));
        Ok(Self { mean: moments.mean, variances, components: components.collect() })
    }

    /// With an eigenvector u of the Gram matrix of the centred rows Z, Zᵀu is one of the covariance: there are no more
    /// of them than rows.
    fn of_few(rows: Rows<'_>) -> Result<Self, FitError> {
        let (n, p) = (rows.len(), rows.n_features);
        let indices: Vec<usize> = (0..n).collect();
        let mean: Vec<f64> =
            (0..p).map(|column| indices.iter().map(|&row| rows.row(row)[column]).sum::<f64>() / n as f64).collect();
        let centered = centered(rows, &indices, &mean);
        let z = MatRef::from_column_major_slice(&centered, p, n); // (n_features, n_rows)
        let mut gram = Mat::<f64>::zeros(n, n);
        matmul(gram.as_mut(), Accum::Replace, z.transpose(), z, 1.0 / n as f64, Par::Seq);
        let (mut variances, vectors) = eigen(gram.as_ref())?;
        let mut components = Mat::<f64>::zeros(p, n);
        matmul(components.as_mut(), Accum::Replace, z, vectors.as_ref(), 1.0, Par::Seq);
        let unit = |index: usize| {
            let column: Vec<f64> = components.col(n - 1 - index).iter().copied().collect();
            let norm = column.iter().map(|value| value * value).sum::<f64>().sqrt();
            upright(column.iter().map(|value| value / norm.max(f64::MIN_POSITIVE)).collect())
        };
        let components = (0..n).flat_map(unit).collect();
        variances.resize(p, 0.0);
        Ok(Self { mean, variances, components })
    }
}

/// Eigenvalues, the largest first, and eigenvectors, the largest last.
fn eigen(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>), FitError> {
    let failed = |_| FitError::Numeric("the eigenvectors of the covariance cannot be computed".to_owned());
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(failed)?;
    let mut variances: Vec<f64> = eigen.S().column_vector().iter().map(|value| value.max(0.0)).collect();
    variances.reverse();
    Ok((variances, eigen.U().to_owned()))
}

/// A vector or its opposite, so that its largest entry is positive: both are eigenvectors.
fn upright(mut vector: Vec<f64>) -> Vec<f64> {
    let largest =
        vector.iter().copied().fold(0.0_f64, |most, value| if value.abs() > most.abs() { value } else { most });
    if largest < 0.0 {
        vector.iter_mut().for_each(|value| *value = -*value);
    }
    vector
}
