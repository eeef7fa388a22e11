//! What a job compared with its threshold, on the command line.

use clap::ValueEnum;
use shared::detectors::clusters::Distance;

/// A distance, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DistanceName {
    /// The squared distance to the centre, as `Vectors.sqdist` and `computeCost` have it
    Squared,
    /// The distance to the centre, its root
    Euclidean,
}

impl From<DistanceName> for Distance {
    fn from(name: DistanceName) -> Self {
        match name {
            DistanceName::Squared => Self::Squared,
            DistanceName::Euclidean => Self::Euclidean,
        }
    }
}
