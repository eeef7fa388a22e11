//! What the detectors draw random numbers for. Each purpose has a stream of the generator of its own, so that nothing that is
//! drawn for one thing, such as which rows are held out, repeats what is drawn for another.

use clustering::random::{OWN_PURPOSES, generator};
use rand_chacha::ChaCha8Rng;

/// A purpose.
#[derive(Debug, Clone, Copy)]
#[repr(u16)]
pub(crate) enum Stream {
    /// Which rows are held out of the training.
    HeldOut = OWN_PURPOSES,
    /// The rows that neighbours are looked for among.
    ReferenceRows,
    /// The rows that principal components are taken of.
    ComponentRows,
    /// The rows that a robust covariance is taken of.
    CovarianceRows,
    /// The groups of rows of its search.
    CovarianceGroups,
    /// A start of its search, which is the index.
    CovarianceStart,
    /// A tree of an isolation forest, which is the index.
    Tree,
    /// The frequencies of random Fourier features.
    Frequencies,
    /// The rows that the machine in these features is trained with.
    MachineRows,
    /// The rows that an autoencoder's scale is taken of.
    NetworkScale,
    /// Its first weights.
    NetworkWeights,
    /// The order of its rows.
    NetworkOrder,
    /// What its dropout leaves out.
    NetworkDropout,
    /// The rows of a small sample, which is the index.
    Sample,
    /// The rows of a Gaussian mixture, which is the index, and where its components begin.
    Mixture,
}

impl Stream {
    /// The generator for this purpose.
    pub(crate) fn of(self, seed: u64) -> ChaCha8Rng {
        self.nth(seed, 0)
    }

    /// The generator for one of several things of this purpose, such as a tree.
    pub(crate) fn nth(self, seed: u64, index: usize) -> ChaCha8Rng {
        generator(seed, self as u16, index as u64)
    }
}
