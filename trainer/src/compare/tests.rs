//! Comparisons of detectors whose quality is known.

use shared::detectors::{Algorithm, FitError, Score, Scores};
use shared::matrix::Matrix;
use shared::threshold::HeldOut;

use super::contenders::ReadyDetector;
use super::*;

/// Scores a row by its first feature, or by what else it is told to.
#[derive(Debug)]
struct Scorer(fn(&[f32]) -> f32);

impl Score for Scorer {
    fn score(&self, x: &Matrix) -> Scores {
        Scores::new(x.rows().map(self.0).collect())
    }
}

fn contender(name: &str, score: fn(&[f32]) -> f32, bytes: u64) -> Contender {
    Contender {
        spec: spec(name),
        fit: Box::new(move |_, _| Ok(ReadyDetector { bytes, n_clusters: None, detector: Box::new(Scorer(score)) })),
        variant_of: None,
    }
}

fn spec(name: &str) -> DetectorSpec {
    DetectorSpec {
        name: name.to_owned(),
        algorithm: Algorithm::by_name("kmeans").unwrap(),
        scaling: Scaling::None,
        threshold: ThresholdPolicy::Quantile(0.9),
        per_cluster: false,
        calibration: HeldOut::Random,
        calibration_share: 0.2,
        topic: String::new(),
    }
}

fn failing(name: &str) -> Contender {
    let error = || FitError::TooFewRows { n_samples: 3, needed: 6, why: "k = 5 neighbours".into() };
    Contender { spec: spec(name), fit: Box::new(move |_, _| Err(error())), variant_of: None }
}

/// Two hundred rows of two features, of which every tenth is an anomaly: its first feature is large.
fn data(labelled: bool) -> Data {
    let is_anomaly = |row: usize| row.is_multiple_of(10);
    let values = (0..200).flat_map(|row| {
        let noise = (row * 37 % 101) as f64 / 101.0;
        [if is_anomaly(row) { 2.0 + noise } else { noise }, (row * 53 % 89) as f64 / 89.0]
    });
    let fit = FeatureMatrix::from_values(2, values.collect());
    let synthetic = (!labelled).then(|| Synthetic::new(&fit, 1));
    Data { fit, test: None, labels: labelled.then(|| (0..200).map(is_anomaly).collect()), synthetic }
}

fn run(contenders: &[Contender], data: &Data, stability: bool) -> Vec<Entry> {
    let device = shared::device::choose(shared::device::DeviceRequest::Cpu).unwrap();
    let runner = Runner {
        device: &device,
        seed: 1,
        state_bytes: None,
        max_seconds: 60.0,
        bootstrap: Bootstrap { n_replicates: 50, ..Bootstrap::default() },
        stability,
        progress: Progress { quiet: true },
    };
    runner.run(contenders, data)
}

fn three() -> [Contender; 4] {
    [
        contender("bad", |row| row[1], 10),
        contender("good", |row| row[0], 1000),
        failing("cannot"),
        contender("constant", |_| 1.0, 1),
    ]
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn a_detector_that_fails_is_an_entry_that_says_why() {
    let entries = run(&three(), &data(true), false);
    assert_eq!(names(&entries), ["bad", "good", "cannot", "constant"]);
    assert_eq!(entries[2].outcome.as_ref().unwrap_err(), "3 rows are too few: k = 5 neighbours needs at least 6");
    let good = entries[1].outcome.as_ref().unwrap();
    let labelled = good.labelled.unwrap();
    assert_eq!((labelled.roc_auc, labelled.average_precision, labelled.precision_at_n), (1.0, 1.0, 1.0));
    // The 0.9 quantile of 200 scores leaves the 20 largest above it.
    assert_eq!((good.n_reported(), labelled.at_threshold.precision(), labelled.at_threshold.recall()), (20, 1.0, 1.0));
    let constant = entries[3].outcome.as_ref().unwrap();
    assert_eq!((constant.labelled.unwrap().roc_auc, constant.n_reported()), (0.5, 0));
}

#[test]
fn a_device_that_fails_is_no_end() {
    let panics = Contender { spec: spec("panics"), fit: Box::new(|_, _| panic!("out of memory")), variant_of: None };
    let device = ChosenDevice { is_automatic: false, ..ChosenDevice::absent() };
    let runner = Runner {
        device: &device,
        seed: 1,
        state_bytes: None,
        max_seconds: 60.0,
        bootstrap: Bootstrap { n_replicates: 1, ..Bootstrap::default() },
        stability: false,
        progress: Progress { quiet: true },
    };
    let entries = runner.run(&[panics, contender("good", |row| row[0], 1)], &data(true));
    let error = entries[0].outcome.as_ref().unwrap_err();
    assert!(error.starts_with("device `absent` failed: out of memory; use `--device cpu`"), "{error}");
    assert!(entries[1].outcome.is_ok());
}

#[test]
fn scores_that_are_not_finite_are_a_failure() {
    let entries = run(&[contender("nan", |_| f32::NAN, 1)], &data(true), false);
    assert_eq!(entries[0].outcome.as_ref().unwrap_err(), "its score of row 0 is not a finite number");
}

#[test]
fn every_order_has_the_best_first_and_failures_last() {
    let mut entries = run(&three(), &data(true), true);
    measures::agree(&mut entries, Some(&data(true).labels.unwrap()));
    for (sort, expected) in [
        (SortBy::RocAuc, ["good", "bad", "constant", "cannot"]),
        (SortBy::AveragePrecision, ["good", "constant", "bad", "cannot"]),
        (SortBy::ModelBytes, ["constant", "bad", "good", "cannot"]),
        (SortBy::Stability, ["bad", "good", "constant", "cannot"]),
    ] {
        let is_better = |entries: &[Entry]| {
            let worth = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap().outcome.clone().unwrap();
            let (bad, constant) = (worth("bad").labelled.unwrap(), worth("constant").labelled.unwrap());
            match sort {
                SortBy::RocAuc => bad.roc_auc > constant.roc_auc,
                _ => bad.average_precision > constant.average_precision,
            }
        };
        sort.sort(&mut entries);
        let mut expected = expected.to_vec();
        if matches!(sort, SortBy::RocAuc | SortBy::AveragePrecision) {
            // Which of two useless ones is the better is chance.
            let (bad, constant) = if is_better(&entries) { (1, 2) } else { (2, 1) };
            (expected[bad], expected[constant]) = ("bad", "constant");
        }
        assert_eq!(names(&entries), expected, "{sort:?}");
    }
}

#[test]
fn without_labels_made_anomalies_agreement_and_stability_are_measured() {
    let mut entries = run(&three(), &data(false), true);
    let pairs = measures::agree(&mut entries, None);
    let of = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap().outcome.as_ref().unwrap();
    assert_eq!(of("good").stability, Some(1.0));
    assert_eq!(of("constant").stability, None);
    assert!(of("good").labelled.is_none() && of("good").synthetic.is_some());
    assert_eq!(of("constant").synthetic.as_ref().unwrap().all.roc_auc, 0.5);
    assert_eq!(pairs.len(), 3);
    assert!(pairs.iter().all(|pair| pair.mcnemar.is_none()));
}

#[test]
fn seeds_that_change_everything_show_as_instability() {
    let unstable = Contender {
        spec: spec("unstable"),
        fit: Box::new(|_, context| {
            let score: fn(&[f32]) -> f32 = if context.seed == 1 { |row| row[0] } else { |row| -row[0] };
            Ok(ReadyDetector { bytes: 1, n_clusters: None, detector: Box::new(Scorer(score)) })
        }),
        variant_of: None,
    };
    let entries = run(&[unstable], &data(false), true);
    assert_eq!(entries[0].outcome.as_ref().unwrap().stability, Some(-1.0));
}

#[test]
fn pairs_know_who_is_right() {
    let labels = data(true).labels.unwrap();
    let mut entries =
        run(&[contender("good", |row| row[0], 1), contender("bad", |row| -row[0], 1)], &data(true), false);
    let pairs = measures::agree(&mut entries, Some(&labels));
    assert_eq!((pairs.len(), pairs[0].spearman), (1, Some(-1.0)));
    // The good one is right about the twenty that it reports, and the bad one is wrong about its own.
    let test = pairs[0].mcnemar.unwrap();
    let n_wrong = entries[1].outcome.as_ref().unwrap().n_reported() as u64;
    assert_eq!((test.only_first, test.only_second), (20 + n_wrong, 0));
    assert!(test.p_value < 1e-9);
    assert_eq!((pairs[0].overlap.both, pairs[0].overlap.only_first), (0, 20));
    assert_eq!(entries[0].outcome.as_ref().unwrap().agreement, Some(-1.0));
}

#[test]
fn what_would_take_too_long_to_score_is_skipped() {
    let slow: fn(&[f32]) -> f32 = |row| {
        std::thread::sleep(std::time::Duration::from_millis(15));
        row[0]
    };
    let device = shared::device::choose(shared::device::DeviceRequest::Cpu).unwrap();
    let runner = Runner {
        device: &device,
        seed: 1,
        state_bytes: None,
        max_seconds: 0.5,
        bootstrap: Bootstrap { n_replicates: 1, ..Bootstrap::default() },
        stability: false,
        progress: Progress { quiet: true },
    };
    let entries = runner.run(&[contender("slow", slow, 1)], &data(true));
    let error = entries[0].outcome.as_ref().unwrap_err();
    assert_eq!(error, "scoring 200 rows would take about 1 minutes: skipped; --max-minutes 1 allows it");
}

#[test]
fn what_would_take_too_long_to_fit_is_skipped() {
    let quadratic = Contender {
        spec: spec("quadratic"),
        fit: Box::new(|rows, _| {
            let thousands = rows.n_samples() as u64 / 1000;
            std::thread::sleep(std::time::Duration::from_micros(500 * thousands * thousands));
            Ok(ReadyDetector { bytes: 1, n_clusters: None, detector: Box::new(Scorer(|row| row[0])) })
        }),
        variant_of: None,
    };
    let fit = FeatureMatrix::from_values(1, (0..300_000).map(f64::from).collect());
    let labels = (0..300_000).map(|row| row % 100 == 0).collect();
    let data = Data { fit, test: None, labels: Some(labels), synthetic: None };
    let device = shared::device::choose(shared::device::DeviceRequest::Cpu).unwrap();
    let runner = Runner {
        device: &device,
        seed: 1,
        state_bytes: None,
        max_seconds: 10.0,
        bootstrap: Bootstrap { n_replicates: 1, ..Bootstrap::default() },
        stability: false,
        progress: Progress { quiet: true },
    };
    let entries = runner.run(&[quadratic, contender("good", |row| row[0], 1)], &data);
    let error = entries[0].outcome.as_ref().unwrap_err();
    assert!(
        error.starts_with("fitting 300,000 rows would take about 1 minutes, estimated from 40,000 rows: "),
        "{error}"
    );
    assert!(entries[1].outcome.is_ok());
}

#[test]
fn false_alarms_are_those_that_were_asked_for() {
    let column = |n: usize, from: usize| {
        FeatureMatrix::from_values(1, (0..n).map(|row| ((row + from) * 7919 % 10_007) as f64).collect())
    };
    let device = shared::device::choose(shared::device::DeviceRequest::Cpu).unwrap();
    let runner = Runner {
        device: &device,
        seed: 1,
        state_bytes: None,
        max_seconds: 60.0,
        bootstrap: Bootstrap::default(),
        stability: false,
        progress: Progress { quiet: true },
    };
    let parts = ThreeParts { fit: column(50, 0), calibration: column(3000, 50), held_out: column(4000, 3050) };
    let all = parts.run(&[contender("good", |row| row[0], 1), failing("cannot")], &runner);
    for realised in all[0].outcome.as_ref().unwrap() {
        let rate = realised.rate().unwrap();
        assert!((rate - realised.asked).abs() < 0.004, "{realised:?}");
    }
    assert!(all[1].outcome.is_err());
    let few = ThreeParts { fit: column(50, 0), calibration: column(50, 50), held_out: column(50, 100) };
    let all = few.run(&[contender("good", |row| row[0], 1)], &runner);
    let thresholds: Vec<bool> =
        all[0].outcome.as_ref().unwrap().iter().map(|realised| realised.threshold.is_some()).collect();
    assert_eq!(thresholds, [false, false, true]);
}
