//! Entities of either kind, as lines come.

use polars::prelude::*;
use shared::pipeline::{Pipeline, Scored};

use super::{Entities, EntityError, Grouping, RecordFeaturizer};
use crate::load::ChunkError;

/// Makes entities of lines, as the pipeline says.
#[derive(Debug)]
pub enum EntityAggregator<'a> {
    /// Of the lines of each key together.
    Sessions(Grouping<'a>),
    /// Of each record by itself.
    Records(Box<RecordFeaturizer<'a>>),
}

impl<'a> EntityAggregator<'a> {
    /// No line yet.
    pub fn new(pipeline: &'a Pipeline) -> Self {
        match &pipeline.scored {
            Scored::Sessions(_) => Self::Sessions(Grouping::new(pipeline)),
            Scored::Records(records) => Self::Records(Box::new(RecordFeaturizer::new(pipeline, &records.features))),
        }
    }

    /// No line yet; records are all held before the first one's features are made, so that they may come in any order.
    pub fn holding(pipeline: &'a Pipeline) -> Self {
        match &pipeline.scored {
            Scored::Sessions(_) => Self::new(pipeline),
            Scored::Records(records) => Self::Records(Box::new(RecordFeaturizer::holding(pipeline, &records.features))),
        }
    }

    /// The same, and it is kept when and whose records are; nothing is kept of the lines of sessions.
    #[must_use]
    pub fn with_moments(self) -> Self {
        match self {
            Self::Records(featurizer) => Self::Records(Box::new(featurizer.with_moments())),
            sessions => sessions,
        }
    }

    /// How many entities there are so far.
    pub fn n_entities(&self) -> usize {
        match self {
            Self::Sessions(grouping) => grouping.n_entities(),
            Self::Records(featurizer) => featurizer.n_entities(),
        }
    }

    /// Bytes that are held of them.
    pub fn memory(&self) -> u64 {
        match self {
            Self::Sessions(grouping) => grouping.memory(),
            Self::Records(featurizer) => featurizer.memory(),
        }
    }

    /// Bytes of their keys' texts.
    pub fn key_bytes(&self) -> usize {
        match self {
            Self::Sessions(grouping) => grouping.key_bytes(),
            Self::Records(featurizer) => featurizer.key_bytes(),
        }
    }

    /// Adds lines that come after all that were added before; their columns are called as in the pipeline.
    ///
    /// # Errors
    /// [`ChunkError`] when records are out of order and not held, or when Polars refuses the lines.
    pub fn add(&mut self, lines: DataFrame) -> Result<(), ChunkError> {
        match self {
            Self::Sessions(grouping) => Ok(grouping.add(lines)?),
            Self::Records(featurizer) => featurizer.add(lines),
        }
    }

    /// The entities that can be trained on.
    ///
    /// # Errors
    /// [`EntityError`] when none is left.
    pub fn finish(self) -> Result<Entities, EntityError> {
        match self {
            Self::Sessions(grouping) => grouping.finish(),
            Self::Records(featurizer) => featurizer.finish(),
        }
    }
}
