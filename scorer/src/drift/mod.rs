//! Whether the stream is still like the training: what [`shared::detectors::drift`] says of the scores and features of this instance.
//!
//! [`Plan`] is what to watch, by the models. While entities are scored, [`Observations`] note where their scores and features lie among
//! those of the training. They are counted when their batch is committed, like the messages, by [`Drift`], and [`Report`] is what
//! comes of that. Nothing of this is state: it begins anew with every start, and with every model.
//!
//! Pure: no clock, no generator. What is drawn follows from the records.

mod observations;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod watch;

pub use observations::{Observations, Observed};
pub use plan::Plan;
pub use report::{DetectorReport, FeatureReport, Report};
pub use watch::Drift;
