//! How features are scaled, on the command line.

use clap::ValueEnum;
use shared::pipeline::Scaling;

/// A scaling, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScalingName {
    /// No scaling: the features' own units
    None,
    /// Mean 0 and standard deviation 1
    Standard,
    /// Median 0 and interquartile range 1
    Robust,
    /// Mean 0 and standard deviation 1; far values grow only with the logarithm
    Symlog,
    /// Normal scores of ranks: the history of each feature becomes a normal distribution
    Quantile,
}

impl From<ScalingName> for Scaling {
    fn from(name: ScalingName) -> Self {
        match name {
            ScalingName::None => Self::None,
            ScalingName::Standard => Self::Standard,
            ScalingName::Robust => Self::Robust,
            ScalingName::Symlog => Self::Symlog,
            ScalingName::Quantile => Self::Quantile,
        }
    }
}
