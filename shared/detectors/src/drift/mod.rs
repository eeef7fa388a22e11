//! Whether a stream is still like the training, with a stated probability of being wrong.
//!
//! A detector is trained on one distribution and judges what comes of another, sooner or later. [`ScoreTest`] watches the scores of a
//! detector with a conformal test martingale (Vovk, Nouretdinov and Gammerman, "Testing Exchangeability On-Line", ICML 2003; Vovk,
//! Petej, Nouretdinov, Ahlberg, Carlsson and Gammerman, "Retrain or not retrain: conformal test martingales for change-point
//! detection", COPA 2021): capital that grows where p-values are not uniform. If scores of the training and of the stream are
//! exchangeable, it ever reaches `1 / alpha` with a probability of at most `alpha`, however long the stream is (Ville 1939). So
//! there is one alarm to believe, and no level that is tried again every hour.
//!
//! The p-values are not those of verdicts. These compare a score with scores that are kept once and for all, so of a long stream
//! they would tell in time how the few that were kept differ from their own distribution: an alarm about nothing. Here a score is compared with
//! those of the training *and* with those of the stream before it ([`Urn`]): then p-values are uniform and independent, to the
//! letter, for any distribution of scores.
//!
//! - [`Reference`] is the distribution of a number in the training, in short: some order statistics.
//! - [`Cells`] are the places between them, in which values of the stream fall.
//! - [`Martingale`] bets on p-values. [`ScoreTest`] is all of it for one detector.
//! - [`CellCounts`] and [`population_stability`] say how far a feature or a score is from the training, which is another question:
//!   the test says that something changed, the index how much.
//!
//! There is no clock and no generator here. What has to be drawn, because values tie and p-values are smoothed, follows from the record
//! itself ([`Identity`]), so the same records give the same numbers, to the bit, in whatever batches they come.

mod exchangeability;
mod identity;
mod martingale;
mod reference;
mod stability;
#[cfg(test)]
mod tests;

pub use exchangeability::{Alarm, ScoreTest, Urn};
pub use identity::Identity;
pub use martingale::Martingale;
pub use reference::{Cells, FEATURE_SHARES, Reference, SCORE_SHARES};
pub use stability::{CellCounts, FEWEST, Recent, population_stability};
