//! The examples do what they say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[allow(dead_code, reason = "`main` is for `cargo run --example measures`")]
#[path = "../examples/measures.rs"]
mod measures;

#[test]
fn measures_lie_within_their_intervals() {
    let (scores, labels) = measures::scores_and_labels();
    let (ranking, intervals) = measures::measure(&scores, &labels, 1.0).unwrap();
    // An anomaly is 0.5 higher on a scale of 1: it is above a normal row in 7 cases of 8.
    assert!((ranking.roc_auc() - 0.875).abs() < 0.05, "{}", ranking.roc_auc());
    assert!(intervals.roc_auc.low < ranking.roc_auc() && ranking.roc_auc() < intervals.roc_auc.high);
    assert!(intervals.precision.low == 1.0, "no normal row has a score above 1");
}
