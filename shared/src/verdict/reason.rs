//! Why an entity is an anomaly, as a sentence in the user's own units.

use super::explanation::ExplainedFeature;
use super::figures::figure;

/// A feature with a smaller share of the score is not named beside the first.
const LEAST_SHARE: f64 = 0.15;

/// Most features that a sentence names.
const MOST_FEATURES: usize = 2;

/// Why an entity is an anomaly, or that it is none: by its features, the largest share first, or where none has a share, by its
/// score and the threshold.
pub(super) fn reason(explanation: &[ExplainedFeature], is_anomalous: bool, (score, threshold): (f32, f32)) -> String {
    let Some(first) = explanation.first().filter(|first| first.share > 0.0) else {
        let side = if is_anomalous { "above" } else { "not above" };
        return format!("score {}, {side} the threshold {}", figure(score.into()), figure(threshold.into()));
    };
    if !is_anomalous {
        let before = if first.is_unusual() { "not unusual enough" } else { "usual" };
        return format!("{before}: {}", first.text);
    }
    let others = explanation[1..].iter().filter(|feature| feature.share >= LEAST_SHARE);
    let named: Vec<&ExplainedFeature> = std::iter::once(first).chain(others).collect();
    let unusual: Vec<&ExplainedFeature> = named.iter().copied().filter(|feature| feature.is_unusual()).collect();
    match (unusual.len(), named.len()) {
        (0, 1) => format!("rare, though within the usual range: {}", first.text),
        (0, _) => format!("rare together, though each is usual: {}", texts(&named, "; ")),
        _ => texts(&unusual, "; also "),
    }
}

fn texts(features: &[&ExplainedFeature], between: &str) -> String {
    let texts = features.iter().take(MOST_FEATURES).map(|feature| feature.text.as_str());
    texts.collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(text: &str, share: f64, (value, low, high): (f64, f64, f64)) -> ExplainedFeature {
        ExplainedFeature {
            feature: text.to_owned(),
            share,
            value,
            usual: (low + high) / 2.0,
            low: Some(low),
            high: Some(high),
            unit: None,
            text: text.to_owned(),
        }
    }

    const UNUSUAL: (f64, f64, f64) = (9.0, 1.0, 5.0);
    const USUAL: (f64, f64, f64) = (3.0, 1.0, 5.0);

    fn said(features: &[(&str, f64, (f64, f64, f64))], is_anomalous: bool) -> String {
        let features: Vec<ExplainedFeature> =
            features.iter().map(|&(text, share, numbers)| feature(text, share, numbers)).collect();
        reason(&features, is_anomalous, (3.0, 2.0))
    }

    #[test]
    fn a_reason_names_what_is_unusual() {
        assert_eq!(said(&[("a", 0.9, UNUSUAL), ("b", 0.1, UNUSUAL)], true), "a");
        assert_eq!(said(&[("a", 0.6, UNUSUAL), ("b", 0.3, UNUSUAL), ("c", 0.1, USUAL)], true), "a; also b");
        assert_eq!(said(&[("a", 0.6, USUAL), ("b", 0.4, UNUSUAL)], true), "b");
        assert_eq!(said(&[("a", 0.6, USUAL), ("b", 0.4, USUAL)], true), "rare together, though each is usual: a; b");
        assert_eq!(said(&[("a", 0.9, USUAL), ("b", 0.1, UNUSUAL)], true), "rare, though within the usual range: a");
        assert_eq!(said(&[("a", 0.4, UNUSUAL), ("b", 0.3, UNUSUAL), ("c", 0.3, UNUSUAL)], true), "a; also b");
    }

    #[test]
    fn a_normal_entity_has_a_reason_too() {
        assert_eq!(said(&[("a", 0.9, USUAL)], false), "usual: a");
        assert_eq!(said(&[("a", 0.9, UNUSUAL)], false), "not unusual enough: a");
    }

    #[test]
    fn without_shares_the_score_is_the_reason() {
        assert_eq!(said(&[("a", 0.0, UNUSUAL)], true), "score 3, above the threshold 2");
        assert_eq!(said(&[], false), "score 3, not above the threshold 2");
    }
}
