//! How good a detector's scores are, and how sure that is.
//!
//! ```text
//! cargo run -p evaluation --example measures
//! ```

use evaluation::{Bootstrap, Confusion, EvaluationError, Intervals, Ranking};

/// Scores of 1,000 rows, and whether each is an anomaly: anomalies score higher, though not all of them.
pub fn scores_and_labels() -> (Vec<f32>, Vec<bool>) {
    let labels: Vec<bool> = (0..1000).map(|row| row % 20 == 0).collect();
    let score = |(row, is_anomaly): (usize, &bool)| {
        let noise = (row * 7919 % 1009) as f32 / 1009.0;
        noise + if *is_anomaly { 0.5 } else { 0.0 }
    };
    (labels.iter().enumerate().map(score).collect(), labels)
}

/// The ranking of the rows, and intervals of what measures it and the threshold.
///
/// # Errors
/// When there are not rows of both kinds, or not as many labels as scores.
pub fn measure(scores: &[f32], labels: &[bool], threshold: f32) -> Result<(Ranking, Intervals), EvaluationError> {
    let ranking = Ranking::new(scores, labels)?;
    let counts = Confusion::of(scores.iter().zip(labels).map(|(&score, &label)| (score > threshold, label)));
    let intervals = Bootstrap::default().intervals(&ranking, counts);
    Ok((ranking, intervals))
}

fn main() -> Result<(), EvaluationError> {
    let (scores, labels) = scores_and_labels();
    let (ranking, intervals) = measure(&scores, &labels, 1.0)?;
    let (low, high) = (intervals.roc_auc.low, intervals.roc_auc.high);
    println!("ROC AUC            {:.3}, 95% of it between {low:.3} and {high:.3}", ranking.roc_auc());
    let (low, high) = (intervals.average_precision.low, intervals.average_precision.high);
    println!("average precision  {:.3}, 95% of it between {low:.3} and {high:.3}", ranking.average_precision());
    Ok(())
}
