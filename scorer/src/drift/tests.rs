use proptest::prelude::*;
use shared::detectors::drift::{Cells, Identity};
use shared::model::Profile;
use shared::pipeline::DriftSpec;

use super::plan::{WatchedDetector, WatchedFeature};
use super::*;

/// A number between 0 and 1 for each place.
fn uniform(place: u64, purpose: u64) -> f64 {
    Identity::of_number(place).uniform(purpose)
}

/// A detector that knows its scores, one whose model does not say how they were, and two features.
fn plan() -> Plan {
    let column = |purpose: u64| (0..2_000).map(|row| uniform(1_000_000 + row, purpose)).collect::<Vec<f64>>();
    let scores = Profile::of_scores(column(0).into_iter().map(|score| score as f32));
    let feature = |name: &str, purpose: u64| WatchedFeature {
        name: name.to_owned(),
        cells: Cells::new(&Profile::of_feature(column(purpose))),
    };
    Plan {
        detectors: vec![
            WatchedDetector { name: "knn".to_owned(), cells: Some(Cells::new(&scores)), is_exact: true },
            WatchedDetector { name: "old".to_owned(), cells: None, is_exact: false },
        ],
        features: vec![feature("amount", 1), feature("hour", 2)],
        spec: DriftSpec { alpha: 0.001, window: 1_000 },
    }
}

/// An entity: its score and its features. From `change` on, the score and the first feature are larger.
fn entity(offset: u64, change: u64) -> (Observed, f32, [f64; 2]) {
    let identity = Identity::of_record(0, offset as i64, "key");
    let larger = if offset < change { 0.0 } else { 0.5 };
    let features = [uniform(offset, 1) + larger, if offset % 50 == 49 { f64::NAN } else { uniform(offset, 2) }];
    (Observed { identity, time: offset as i64 * 1_000 }, (uniform(offset, 0) + larger) as f32, features)
}

fn observed(plan: &Plan, offsets: std::ops::Range<u64>, change: u64) -> Observations {
    let mut observations = Observations::default();
    for offset in offsets {
        let (entity, score, features) = entity(offset, change);
        observations.add(plan, entity, [score, 1.0].into_iter(), &features);
    }
    observations
}

#[test]
fn a_change_is_told_once_with_its_time_and_its_feature() {
    let drift = Drift::new(plan());
    let add = |offsets| drift.add(&observed(&plan(), offsets, 3_000));
    assert_eq!(add(0..3_000), Vec::<String>::new(), "nothing has changed yet");
    let quiet = drift.report().unwrap();
    assert!(!quiet.is_alarm() && quiet.alarm().is_none() && quiet.n == 3_000);
    let sentences: Vec<String> = quiet.sentences().collect();
    assert!(sentences[0].starts_with("knn: no drift told in 3000 records (evidence 10^"), "{}", sentences[0]);
    assert!(
        sentences[0].ends_with("told at 10^3.0, with a probability of at most 0.001 by chance)."),
        "{}",
        sentences[0]
    );
    assert_eq!(sentences[1], "old: drift is not watched, because an earlier trainer wrote its model; train it again.");
    let raised = add(3_000..6_000);
    assert_eq!(raised.len(), 1, "{raised:?}");
    assert!(
        raised[0].starts_with("knn: the stream is no longer like the training since 1970-01-01T00:"),
        "{}",
        raised[0]
    );
    assert!(add(6_000..7_000).is_empty(), "it is told once");
    let report = drift.report().unwrap();
    let alarm = report.detectors[0].alarm.unwrap();
    assert!(alarm.after > 3_000 && alarm.after < 4_000, "{alarm:?}");
    assert!((2_000..3_100).contains(&alarm.unchanged), "{alarm:?}");
    assert_eq!((alarm.since, alarm.raised), (alarm.unchanged as i64 * 1_000, (alarm.after as i64 - 1) * 1_000));
    let [amount, hour] = &report.features[..] else { panic!("{:?}", report.features) };
    assert!(amount.stability.unwrap() > 0.25 && amount.outside > 0.4 && amount.missing == 0.0, "{amount:?}");
    assert!((hour.missing - 0.02).abs() < 1e-9 && hour.outside < 0.01, "{hour:?}");
    let words = report.alarm().unwrap();
    assert!(words.contains("knn since 1970-01-01T00:") && words.contains("differ most are amount (PSI "), "{words}");
    assert_eq!((report.detectors[1].evidence, report.detectors[1].scores), (None, 0));
}

#[test]
fn without_anything_trained_nothing_is_said() {
    let nothing = Plan { detectors: Vec::new(), features: Vec::new(), spec: DriftSpec::default() };
    let drift = Drift::new(nothing.clone());
    let noted = observed(&nothing, 0..10, 5);
    assert!(noted.is_empty() && drift.add(&noted).is_empty());
    assert_eq!((drift.report(), Drift::default().report()), (None, None));
}

/// An entity that is erroneous has no score, and counts where a feature is missing.
#[test]
fn an_entity_without_a_score_counts_among_the_features_only() {
    let (plan, drift) = (plan(), Drift::new(plan()));
    let mut observations = Observations::default();
    let (of, _, _) = entity(1, 10);
    observations.add(&plan, of, std::iter::empty(), &[f64::NAN, 0.5]);
    drift.add(&observations);
    let report = drift.report().unwrap();
    assert_eq!((report.detectors[0].scores, report.features[0].missing, report.features[1].missing), (0, 1.0, 0.0));
}

proptest! {
    /// The same records give the same numbers, to the bit, in whatever parts and batches they come.
    #[test]
    fn batches_change_nothing(cuts in proptest::collection::vec(0u64..2_000, 0..6), parts in proptest::collection::vec(any::<bool>(), 6)) {
        let plan = plan();
        let whole = Drift::new(plan.clone());
        whole.add(&observed(&plan, 0..2_000, 1_200));
        let mut bounds: Vec<u64> = cuts.into_iter().chain([0, 2_000]).collect();
        bounds.sort_unstable();
        let cut = Drift::new(plan.clone());
        let mut batch = Observations::default();
        for (index, pair) in bounds.windows(2).enumerate() {
            batch.merge(observed(&plan, pair[0]..pair[1], 1_200));
            if parts.get(index).copied().unwrap_or(true) {
                cut.add(&std::mem::take(&mut batch));
            }
        }
        cut.add(&batch);
        let (whole, cut) = (whole.report().unwrap(), cut.report().unwrap());
        prop_assert_eq!(whole.detectors[0].evidence.map(f64::to_bits), cut.detectors[0].evidence.map(f64::to_bits));
        prop_assert_eq!(whole, cut);
    }
}
