//! What a comparison tries when nobody says what: every algorithm, with the parameters and the scaling that do well on tables
//! that it knows nothing of.

use super::Algorithm;
use super::clusters::{BisectingKMeans, Correction, KMeans, KSelection};
use crate::scaler::Scaling;

/// A detector to try.
#[derive(Debug, Clone, PartialEq)]
pub struct DefaultDetector {
    /// What it is called: several may have the same algorithm.
    pub name: &'static str,
    /// How it is trained.
    pub algorithm: Algorithm,
    /// How features are scaled first.
    pub scaling: Scaling,
}

/// k-means with everything that makes of distances a good score.
pub(super) fn corrected_kmeans() -> KMeans {
    KMeans { k: KSelection::Fixed(8), correction: Correction::Both, ..KMeans::default() }
}

fn corrected_bisecting() -> BisectingKMeans {
    BisectingKMeans { k: KSelection::Fixed(16), correction: Correction::Both, ..BisectingKMeans::default() }
}

/// Every default detector; those of clusters plain and corrected.
pub fn defaults() -> Vec<DefaultDetector> {
    let mut detectors = Vec::new();
    for name in Algorithm::NAMES {
        let Some(algorithm) = Algorithm::by_name(name) else { continue };
        detectors.push(DefaultDetector { name, scaling: scaling(name), algorithm });
        match *name {
            "kmeans" => detectors.push(DefaultDetector {
                name: "kmeans-corrected",
                algorithm: Algorithm::KMeans(corrected_kmeans()),
                scaling: Scaling::Symlog,
            }),
            "bisecting-kmeans" => detectors.push(DefaultDetector {
                name: "bisecting-kmeans-corrected",
                algorithm: Algorithm::BisectingKMeans(corrected_bisecting()),
                scaling: Scaling::Symlog,
            }),
            _ => {}
        }
    }
    detectors
}

/// Enormous values that set the scale of all others harm whatever measures distances; what looks at how dense the
/// neighbourhood is needs them where they are.
fn scaling(algorithm: &str) -> Scaling {
    match algorithm {
        "kmeans" | "bisecting-kmeans" | "lof" => Scaling::Standard,
        _ => Scaling::Symlog,
    }
}
