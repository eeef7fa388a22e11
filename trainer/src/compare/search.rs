//! `--search`: each detector with other settings beside its own, and whether the data tell which of them to take.
//!
//! With labels, other settings win where their ROC AUC is above that of the detector's own beyond the bootstrap intervals of
//! both: two intervals that do not meet, so that the best of a dozen is rarely so by chance.
//!
//! Without labels nothing tells how many anomalies are found. Agreement with detectors of other kinds says which settings see what
//! the others see; synthetic anomalies say little, and steady scores say nothing of what is found. So other settings win only where
//! all three speak for them: they agree more, by more than scores change with the seed, and are neither less steady nor find fewer
//! of the synthetic anomalies.

use shared::detectors::clusters::{BisectingKMeans, Correction, KMeans};
use shared::detectors::knn::Knn;
use shared::detectors::lof::Lof;
use shared::detectors::{Algorithm, KSelection};
use shared::pipeline::{DetectorSpec, Scaling};

use super::contenders::{Contender, contender};
use super::measures::{Entry, Measured};

/// Less than this is no difference: of agreement, of stability, and of a ROC AUC.
const NO_DIFFERENCE: f64 = 0.02;

/// A detector with its own settings beside the best of its others.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The detector.
    pub detector: String,
    /// How many other settings took part.
    pub n_variants: usize,
    /// The best of these, as a comparison names it; none where no other took part.
    pub best: Option<String>,
    /// What the detector has with its own settings, and with those: ROC AUC, or agreement where there are no labels.
    pub own: Option<f64>,
    /// See `own`.
    pub best_value: Option<f64>,
    /// Whether the data tell that these are better.
    pub is_better: bool,
}

/// Other settings of each detector, those of one scaling together.
pub fn variants(detectors: &[Contender]) -> Vec<Contender> {
    let mut variants: Vec<Contender> = Vec::new();
    for scaling in [Scaling::Standard, Scaling::Robust, Scaling::Symlog, Scaling::Quantile] {
        for Contender { spec, .. } in detectors {
            for (algorithm, change) in parameters(&spec.algorithm) {
                if scaling == spec.scaling && algorithm == spec.algorithm {
                    continue;
                }
                let name = format!("{}: {}{change}", spec.name, scaling.name());
                let of_variant = DetectorSpec { name, algorithm, scaling, ..spec.clone() };
                variants.push(Contender { variant_of: Some(spec.name.clone()), ..contender(of_variant) });
            }
        }
    }
    variants
}

/// What is tried of an algorithm, with its own parameters first, and how that is called.
fn parameters(own: &Algorithm) -> Vec<(Algorithm, String)> {
    let mut tried = vec![(own.clone(), String::new())];
    match own {
        Algorithm::KMeans(params) => {
            for (k, correction, change) in clusters() {
                tried.push((Algorithm::KMeans(KMeans { k, correction, ..params.clone() }), change));
            }
        }
        Algorithm::BisectingKMeans(params) => {
            for (k, correction, change) in clusters() {
                tried.push((Algorithm::BisectingKMeans(BisectingKMeans { k, correction, ..params.clone() }), change));
            }
        }
        Algorithm::Knn(params) => {
            tried.extend([5, 50].map(|k| (Algorithm::Knn(Knn { k, ..params.clone() }), format!(", k = {k}"))));
        }
        Algorithm::Lof(params) => {
            tried.extend([20, 100].map(|k| (Algorithm::Lof(Lof { k, ..params.clone() }), format!(", k = {k}"))));
        }
        _ => {}
    }
    // Of those that the detector has itself, one is enough.
    let mut seen: Vec<Algorithm> = Vec::new();
    tried.retain(|(algorithm, _)| {
        let is_new = !seen.contains(algorithm);
        seen.push(algorithm.clone());
        is_new
    });
    tried
}

fn clusters() -> impl Iterator<Item = (KSelection, Correction, String)> {
    [2, 8, 16].into_iter().flat_map(|k| {
        [
            (Correction::None, "none"),
            (Correction::Size, "size"),
            (Correction::Spread, "spread"),
            (Correction::Both, "both"),
        ]
        .map(|(correction, name)| (KSelection::Fixed(k), correction, format!(", k = {k}, {name}")))
    })
}

/// What the measures tell of each detector that took part with its own settings.
pub fn conclude(entries: &[Entry]) -> Vec<Found> {
    let own = entries.iter().filter(|entry| entry.variant_of.is_none());
    let found = own.filter_map(|entry| Some(conclude_of(entry, entry.outcome.as_ref().ok()?, entries)));
    found.collect()
}

fn conclude_of(entry: &Entry, own: &Measured, entries: &[Entry]) -> Found {
    let is_variant = |other: &&Entry| other.variant_of.as_ref() == Some(&entry.name);
    let variants = || entries.iter().filter(is_variant).filter_map(|other| Some((other, other.outcome.as_ref().ok()?)));
    let best = variants()
        .filter_map(|(other, measured)| Some((other, measured, worth(measured)?)))
        .max_by(|a, b| a.2.total_cmp(&b.2).then_with(|| b.0.name.cmp(&a.0.name)));
    Found {
        detector: entry.name.clone(),
        n_variants: variants().count(),
        best: best.map(|(other, ..)| other.name.clone()),
        own: worth(own),
        best_value: best.map(|(.., worth)| worth),
        is_better: best.is_some_and(|(_, measured, _)| is_better(measured, own)),
    }
}

/// What settings are compared by.
fn worth(of: &Measured) -> Option<f64> {
    of.labelled.map_or(of.agreement, |labelled| Some(labelled.roc_auc))
}

/// Whether the data tell that settings are better than a detector's own.
fn is_better(other: &Measured, own: &Measured) -> bool {
    if let (Some(other), Some(own)) = (other.labelled, own.labelled) {
        return other.intervals.roc_auc.low > own.intervals.roc_auc.high;
    }
    let (Some(agreement), Some(own_agreement)) = (other.agreement, own.agreement) else { return false };
    let (Some(stability), Some(own_stability)) = (other.stability, own.stability) else { return false };
    let noise = (1.0 - stability).max(1.0 - own_stability).max(NO_DIFFERENCE);
    let synthetic = |of: &Measured| of.synthetic.as_ref().map_or(0.0, |synthetic| synthetic.all.roc_auc);
    agreement - own_agreement > noise
        && stability > own_stability - NO_DIFFERENCE
        && synthetic(other) > synthetic(own) - NO_DIFFERENCE
}

#[cfg(test)]
mod tests {
    use shared::evaluation::{Confusion, Interval, Intervals};
    use shared::threshold::{Threshold, ThresholdPolicy};

    use super::super::injected::{self, InjectedKind, SyntheticMeasures};
    use super::super::measures::Labelled;
    use super::*;

    #[test]
    fn every_detector_is_tried_with_every_scaling_and_never_twice() {
        let own = super::super::selection::contenders(None, &[], None, None, false).unwrap();
        let all = super::super::selection::contenders(None, &[], None, None, true).unwrap();
        assert!(all.len() > 4 * own.len() - 1, "{}", all.len());
        let names: std::collections::BTreeSet<&str> =
            all.iter().map(|contender| contender.spec.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        for contender in &own {
            let name = &contender.spec.name;
            let variants: Vec<&DetectorSpec> =
                all.iter().filter(|other| other.variant_of.as_ref() == Some(name)).map(|other| &other.spec).collect();
            assert!(variants.len() >= 3, "{name}");
            let learns = |spec: &DetectorSpec| (spec.algorithm.clone(), spec.scaling);
            assert!(variants.iter().all(|variant| learns(variant) != learns(&contender.spec)), "{name}");
            for (place, variant) in variants.iter().enumerate() {
                assert!(variants[..place].iter().all(|other| learns(other) != learns(variant)), "{}", variant.name);
                assert_eq!(variant.algorithm.check(), Ok(()), "{}", variant.name);
            }
        }
    }

    fn measured(agreement: f64, stability: f64, synthetic: f64) -> Measured {
        let all = injected::Found { roc_auc: synthetic, average_precision: synthetic };
        Measured {
            scores: Vec::new(),
            clusters: None,
            threshold: Threshold { policy: ThresholdPolicy::Top(1), value: 0.0, by_cluster: Vec::new() },
            fit_seconds: 0.0,
            score_seconds: 0.0,
            n_scored: 0,
            model_bytes: 0,
            agreement: Some(agreement),
            overlap: None,
            stability: Some(stability),
            labelled: None,
            synthetic: Some(SyntheticMeasures { all, by_kind: InjectedKind::ALL.map(|kind| (kind, all)) }),
        }
    }

    fn entry(name: &str, variant_of: Option<&str>, outcome: Result<Measured, String>) -> Entry {
        Entry { name: name.to_owned(), is_ensemble: false, variant_of: variant_of.map(str::to_owned), outcome }
    }

    #[test]
    fn without_labels_other_settings_win_only_where_everything_speaks_for_them() {
        let is_better = |other: Measured| {
            let entries =
                [entry("knn", None, Ok(measured(0.6, 0.98, 0.9))), entry("knn: robust", Some("knn"), Ok(other))];
            let found = conclude(&entries);
            assert_eq!((found.len(), found[0].best.as_deref()), (1, Some("knn: robust")));
            found[0].is_better
        };
        assert!(is_better(measured(0.7, 0.98, 0.9)));
        assert!(!is_better(measured(0.615, 0.98, 0.9)), "no more than scores change with the seed");
        assert!(!is_better(measured(0.7, 0.85, 0.9)), "less steady");
        assert!(!is_better(measured(0.7, 0.98, 0.8)), "fewer of the synthetic anomalies");
        assert!(!is_better(measured(0.5, 1.0, 1.0)), "sees something else than the others");
    }

    #[test]
    fn with_labels_intervals_that_meet_tell_nothing() {
        let labelled = |low: f64, high: f64| {
            let nothing = Interval { low: 0.0, high: 1.0 };
            let intervals = Intervals {
                roc_auc: Interval { low, high },
                average_precision: nothing,
                precision: nothing,
                recall: nothing,
                f1: nothing,
            };
            let roc_auc = (low + high) / 2.0;
            let labelled = Labelled {
                roc_auc,
                average_precision: 0.5,
                precision_at_n: 0.5,
                at_threshold: Confusion::default(),
                intervals,
            };
            Measured { labelled: Some(labelled), ..measured(0.5, 0.9, 0.5) }
        };
        let of = |other: Measured| {
            let failed = entry("knn: quantile", Some("knn"), Err("too few rows".to_owned()));
            let entries =
                [entry("knn", None, Ok(labelled(0.80, 0.84))), entry("knn: robust", Some("knn"), Ok(other)), failed];
            conclude(&entries).remove(0)
        };
        let won = of(labelled(0.85, 0.89));
        assert!(won.is_better && won.n_variants == 1 && won.own < won.best_value, "{won:?}");
        assert!(!of(labelled(0.83, 0.89)).is_better);
        assert!(!of(labelled(0.70, 0.75)).is_better);
    }
}
