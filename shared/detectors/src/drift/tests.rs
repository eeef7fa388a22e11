use proptest::prelude::*;

use super::*;

/// Numbers one after the other.
struct Source(Identity, u64);

impl Source {
    fn new(seed: u64) -> Self {
        Self(Identity::of_number(seed), 0)
    }

    fn uniform(&mut self) -> f64 {
        self.1 += 1;
        self.0.uniform(self.1)
    }

    fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

/// The test, fed with scores until it raises an alarm or these are over.
fn alarm(training: Vec<f64>, stream: impl Iterator<Item = f64>, alpha: f64, seed: u64) -> Option<Alarm> {
    let cells = Cells::new(&Reference::fit(training, &SCORE_SHARES));
    let mut test = ScoreTest::new(&cells, alpha);
    for (index, score) in stream.enumerate() {
        let identity = Identity::of_record(seed as i32, index as i64, "");
        if test.add(cells.of(score, identity.uniform(0)), identity.uniform(1), index as i64) {
            break;
        }
    }
    test.alarm()
}

/// Ville's inequality, counted out, for scores with and without ties, and trainings that are small beside the streams.
#[test]
fn without_drift_there_are_no_more_alarms_than_are_promised() {
    const STREAMS: u64 = 1_000;
    let mut alarms = 0;
    for stream in 0..STREAMS {
        let mut source = Source::new(stream);
        let mut score = move || match stream % 4 {
            0 => source.normal().abs(),
            // Four in five are 0.
            1 => (source.uniform() * 5.0 - 4.0).max(0.0),
            2 => (source.uniform() * 12.0).floor(),
            _ => source.uniform().powi(-2),
        };
        let training: Vec<f64> = (0..300).map(|_| score()).collect();
        alarms += u64::from(alarm(training, (0..3_000).map(|_| score()), 0.05, stream).is_some());
    }
    // 50 in expectation at the most, and three standard deviations.
    assert!(alarms <= 71, "{alarms}");
    // It does bet.
    assert!(alarms >= 10, "{alarms}");
}

/// What fixed p-values would have come to: they tell of the few scores that they are made of.
#[test]
fn p_values_by_the_training_alone_would_raise_false_alarms() {
    let mut alarms = 0;
    for stream in 0..50 {
        let mut source = Source::new(stream);
        let mut training: Vec<f64> = (0..100).map(|_| source.uniform()).collect();
        training.sort_by(f64::total_cmp);
        let mut martingale = Martingale::default();
        let is_alarm = (0..20_000).any(|_| {
            let score = source.uniform();
            let above = training.len() - training.partition_point(|other| *other < score);
            martingale.add((above as f64 + source.uniform()) / 101.0);
            martingale.log10() >= 20f64.log10()
        });
        alarms += usize::from(is_alarm);
    }
    assert!(alarms > 25, "{alarms} of 50, where at most 2 or 3 are promised");
}

#[test]
fn five_kinds_of_drift_are_found_in_a_stated_number_of_records() {
    const BEFORE: usize = 2_000;
    type Drifted = fn(&mut Source, usize) -> f64;
    let distance = |source: &mut Source, shift: f64| {
        let others: f64 = (0..4).map(|_| source.normal().powi(2)).sum();
        (others + (source.normal() + shift).powi(2)).sqrt()
    };
    let kinds: [(&str, Drifted, usize); 5] = [
        ("sudden", |source, _| (source.normal() + 1.0).abs(), 500),
        ("gradual", |source, n| (source.normal() + (n as f64 / 1_500.0).min(1.5)).abs(), 2_000),
        ("variance", |source, _| (1.5 * source.normal()).abs(), 500),
        ("one feature of five", |_, _| 0.0, 200),
        // One more in ten is an anomaly.
        ("rate", |source, _| source.normal().abs() + if source.uniform() < 0.1 { 5.0 } else { 0.0 }, 500),
    ];
    for (name, drifted, most) in kinds {
        for seed in 0..5 {
            let mut source = Source::new(100 + seed);
            let is_of_features = name.starts_with("one feature");
            let mut score = |n: Option<usize>| match (n, is_of_features) {
                (None, true) => distance(&mut source, 0.0),
                (Some(_), true) => distance(&mut source, 2.0),
                (None, false) => source.normal().abs(),
                (Some(n), false) => drifted(&mut source, n),
            };
            let training: Vec<f64> = (0..1_000).map(|_| score(None)).collect();
            let stream = (0..BEFORE + most).map(|index| score(index.checked_sub(BEFORE)));
            let found = alarm(training, stream, 0.001, seed);
            let found = found.unwrap_or_else(|| panic!("{name}, seed {seed}: not found within {most}"));
            assert!(found.after as usize > BEFORE, "{name}, seed {seed}: {found:?} is too early");
            assert!(found.unchanged as usize + 1_000 > BEFORE && found.unchanged < found.after, "{name}: {found:?}");
            assert_eq!((found.since, found.raised), (found.unchanged as i64, found.after as i64 - 1));
        }
    }
}

/// Each of some exchangeable values is the one to come in turn: it falls in a cell as often as the cell says, also where values tie.
#[test]
fn cells_are_as_likely_as_they_say() {
    const DRAWS: u64 = 400;
    let few: Vec<f64> = (0..30).map(|i| f64::from(i % 3)).collect();
    let mostly_zero: Vec<f64> = (0..25).map(|i| f64::from((i - 18).max(0))).collect();
    let all_equal = vec![7.0; 20];
    let different: Vec<f64> = (0..24).map(|i| f64::from(i * i)).collect();
    for values in [few, mostly_zero, all_equal, different] {
        let mut found: Vec<u64> = Vec::new();
        let mut weights = Vec::new();
        for index in 0..values.len() {
            let mut others = values.clone();
            let next = others.swap_remove(index);
            let reference = Reference::fit(others, &FEATURE_SHARES);
            assert_eq!(reference.check(), Ok(()));
            for draw in 0..DRAWS {
                let cells = Cells::drawn(&reference, draw * 64 + index as u64);
                weights = cells.weights().to_vec();
                found.resize(weights.len(), 0);
                found[cells.of(next, Identity::of_record(0, draw as i64, &index.to_string()).uniform(0))] += 1;
            }
        }
        let total: u64 = weights.iter().sum();
        assert_eq!(total as usize, values.len());
        let all = (DRAWS * values.len() as u64) as f64;
        for (count, weight) in found.iter().zip(&weights) {
            let share = *weight as f64 / total as f64;
            let error = (share * (1.0 - share) / all).sqrt();
            assert!((*count as f64 / all - share).abs() < 5.0 * error, "{count} of {all}: {share} for {values:?}");
        }
    }
}

proptest! {
    /// A reference says of every rank what sorting all values says.
    #[test]
    fn a_reference_is_what_sorting_says(values in proptest::collection::vec((-6i32..6).prop_map(f64::from), 1..200)) {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let reference = Reference::fit(values.clone(), &SCORE_SHARES);
        prop_assert_eq!(reference.check(), Ok(()));
        prop_assert_eq!(reference.range, [sorted[0], sorted[sorted.len() - 1]]);
        for (index, (&rank, &value)) in reference.ranks.iter().zip(&reference.values).enumerate() {
            prop_assert_eq!(sorted[rank - 1], value);
            let below = sorted.iter().filter(|other| **other < value).count();
            let equal = sorted.iter().filter(|other| **other == value).count();
            match reference.ties.get(index) {
                Some(tie) => prop_assert_eq!(*tie, [rank - below, equal]),
                None => prop_assert_eq!(equal, 1),
            }
        }
        let cells = Cells::new(&reference);
        for value in values {
            prop_assert!(!cells.is_outside(value) && cells.of(value, 0.5) < cells.weights().len());
        }
        prop_assert!(cells.is_outside(6.5) && cells.is_outside(-6.5));
        let json = serde_json::to_string(&reference).unwrap();
        prop_assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
    }

    /// What is counted of parts and merged is what is counted as a whole.
    #[test]
    fn merged_counts_are_the_counts_of_the_whole(
        records in proptest::collection::vec((proptest::option::of(0usize..10), any::<bool>()), 0..300), cut in 0usize..300,
    ) {
        let count = |records: &[(Option<usize>, bool)]| {
            let mut counts = CellCounts::default();
            for &(cell, is_outside) in records {
                match cell {
                    Some(cell) => counts.add(cell, is_outside),
                    None => counts.add_missing(),
                }
            }
            counts
        };
        let cut = cut.min(records.len());
        let whole = count(&records);
        let mut merged = count(&records[..cut]);
        merged.merge(&count(&records[cut..]));
        prop_assert_eq!((merged.n(), merged.missing(), merged.outside()), (whole.n(), whole.missing(), whole.outside()));
        let weights = [10; 10];
        prop_assert_eq!(population_stability(&weights, &merged), population_stability(&weights, &whole));
        // The newest records, at least a window of them, and less than two.
        let mut recent = Recent::new(50);
        records.iter().for_each(|&(cell, is_outside)| recent.add(cell, is_outside));
        let n = recent.counts().n() as usize;
        prop_assert!(n >= records.len().min(50) && n <= records.len().min(100), "{n}");
        let newest = count(&records[records.len() - n..]);
        prop_assert_eq!((newest.missing(), newest.outside()), (recent.counts().missing(), recent.counts().outside()));
    }
}

#[test]
fn the_index_is_its_formula() {
    let counts = |of: &[u64], missing: u64| {
        let mut counts = CellCounts::default();
        for (cell, count) in of.iter().enumerate() {
            (0..*count).for_each(|_| counts.add(cell, false));
        }
        (0..missing).for_each(|_| counts.add_missing());
        counts
    };
    let index = |weights: &[u64], of: &[u64], missing| population_stability(weights, &counts(of, missing));
    // Shares 0.7 and 0.3 in the place of 0.5 and 0.5: 0.2 ln(1.4) - 0.2 ln(0.6).
    let two = index(&[50, 50], &[70_000, 30_000], 0).unwrap();
    assert!((two - 0.169_46).abs() < 1e-3, "{two}");
    // Cells of less than a tenth go together.
    assert_eq!(index(&[45, 5, 2, 48], &[70_000, 1, 2, 29_997], 0), index(&[45, 55], &[70_000, 30_000], 0));
    assert!(index(&[25; 4], &[250, 250, 250, 250], 0).unwrap() < 1e-9);
    assert!(index(&[25; 4], &[0, 0, 0, 1_000], 0).unwrap() > 1.0, "cells that nothing fell in count");
    assert!(index(&[25; 4], &[250, 250, 250, 250], 100).unwrap() > 0.25, "what is missing counts");
    assert_eq!(index(&[25; 4], &[100, 100, 100, 100], 0), None, "of 400 nothing is said");
}
