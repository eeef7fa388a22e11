//! Detectors that compare the records of a window.

use shared::pipeline::ZScoreSpec;

use super::*;

const BY_USER: &str = r#"{ name = "by-user", algorithm = "zscore-window", value = "amount", by = "user", window = "1m",
    slide = "30s", watermark = "20s", topic = "a" },"#;
const ROBUST: &str = r#"{ name = "robust", algorithm = "zscore-window", value = "amount", window = "30s", slide = "10s",
    watermark = "15s", robust = true, min_count = 3, topic = "b" },"#;
const ALONE: &str = r#"{ name = "alone", algorithm = "zscore-window", value = "amount", by = "shop", window = "20s",
    slide = "20s", watermark = "10s", topic = "c" },"#;

/// Windows that overlap and windows that do not, of keys and of all, of either kind.
pub(super) fn detectors() -> String {
    detectors_of(&[BY_USER, ROBUST, ALONE])
}

/// Windows of the keys of two columns.
pub(super) fn detectors_by_column() -> String {
    detectors_of(&[BY_USER, ALONE])
}

fn detectors_of(detectors: &[&str]) -> String {
    detectors.concat().replace('\n', " ")
}

fn windowed(entity: &str, history: &str, detectors: &[&str]) -> Arc<Pipeline> {
    Arc::new(with_windows(r#"amount = "amount""#, entity, history, &detectors_of(detectors)))
}

/// The key of a record of state, often one that is nearly right.
pub(super) fn part_key(random: &[u8]) -> Vec<u8> {
    let start = START - START.rem_euclid(60_000);
    let time = ((start ^ i64::MIN).to_be_bytes(), [0, 0, 0, (random.len() % 2) as u8]);
    match random.len() % 5 {
        0 => [&[0, b'p'], &time.0[..], &time.1].concat(),
        1 => [&[1, b's'], &time.0[..], &time.1].concat(),
        2 => vec![0, b't'],
        3 => [&[2, b'p'], random].concat(),
        _ => random.to_vec(),
    }
}

/// What was found of a record, to the bit: detector, key, score, centre, spread, count.
type Finding = (usize, String, u64, u64, u64, u64);

fn findings(driver: &Driver) -> Vec<Finding> {
    let of = |output: &Output| match output {
        Output::Windowed(WindowVerdict { detector, summary, score, window, .. }) => {
            let bits = |number: f64| number.to_bits();
            let (center, spread) = (bits(window.center), bits(window.spread));
            Some((*detector, summary.key.to_string(), bits(*score), center, spread, window.count))
        }
        _ => None,
    };
    let mut found: Vec<Finding> = driver.out.iter().filter_map(of).collect();
    found.sort();
    found
}

/// User, shop and amount of a row.
fn fields(row: &Row) -> (String, String, f64) {
    let fields: Vec<&str> = row.payload.split(',').collect();
    (fields[1].to_owned(), fields[2].to_owned(), fields[3].parse().unwrap())
}

/// By the definition: all records in memory, each compared with all others of each window. Those that come too late are
/// left out; how many.
fn by_definition(pipeline: &Pipeline, arrivals: &[Row], by_column: bool) -> (Vec<Finding>, u64) {
    let (mut found, mut too_late) = (Vec::new(), 0);
    for (detector, spec) in pipeline.zscores.iter().enumerate() {
        let (mut taken, mut clock) = (Vec::new(), i64::MIN);
        for row in arrivals {
            clock = clock.max(if by_column { row.at } else { row.kafkas });
            let first_end = row.at - row.at.rem_euclid(spec.slide) + spec.slide;
            if first_end + spec.watermark <= clock { too_late += 1 } else { taken.push(row) }
        }
        taken.sort_by_key(|row| (row.at, row.key.clone()));
        found.extend(taken.iter().map(|row| finding(detector, spec, row, &taken)));
    }
    found.sort();
    (found, too_late)
}

fn finding(detector: usize, spec: &ZScoreSpec, row: &Row, all: &[&Row]) -> Finding {
    let by = |row: &Row| match spec.by {
        Some(1) => fields(row).0,
        Some(_) => fields(row).1,
        None => String::new(),
    };
    let newest = row.at - row.at.rem_euclid(spec.slide);
    let starts = (0..spec.window / spec.slide).rev().map(|n| newest - n * spec.slide);
    let mut best: Option<Finding> = None;
    for start in starts {
        let inside = |other: &&&Row| other.at >= start && other.at < start + spec.window && by(other) == by(row);
        let values: Vec<f64> = all.iter().filter(inside).map(|row| fields(row).2).collect();
        let (center, spread) = if spec.is_robust { of_middle(&values) } else { of_moments(&values) };
        let unit = if spec.is_robust { 1.4826 * spread } else { spread };
        let score = (fields(row).2 - center).abs() / unit.max(1e-9);
        let count = values.len() as u64;
        let score = if count < spec.min_count { 0.0 } else { score };
        if best.as_ref().is_none_or(|best| score > f64::from_bits(best.2)) {
            best = Some((detector, row.key.clone(), score.to_bits(), center.to_bits(), spread.to_bits(), count));
        }
    }
    best.unwrap()
}

/// Mean, from the first value on, and population standard deviation.
fn of_moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values[0] + values.iter().map(|value| value - values[0]).sum::<f64>() / n;
    (mean, (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n).sqrt())
}

/// Median and median absolute deviation.
fn of_middle(values: &[f64]) -> (f64, f64) {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let (lower, upper) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        if values.len() % 2 == 1 { upper } else { lower / 2.0 + upper / 2.0 }
    };
    let center = median(values.to_vec());
    (center, median(values.iter().map(|value| (value - center).abs()).collect()))
}

/// Rows a few seconds apart: windows with company.
fn close_rows() -> impl Strategy<Value = Vec<Row>> {
    let step = prop_oneof![6 => 0i64..4_000, 2 => 0i64..40_000, 1 => Just(3_600_000)];
    let amount = prop_oneof![(0u8..4).prop_map(f64::from), 0.0f64..1e4];
    proptest::collection::vec((0u8..3, 0u8..2, amount, step), 1..80).prop_map(|steps| {
        let mut at = START;
        let row = |(index, (user, shop, amount, step)): (usize, (u8, u8, f64, i64))| {
            at += step;
            row(format!("k{}", (index * 7) % 100), (user, shop), amount, at)
        };
        steps.into_iter().enumerate().map(row).collect()
    })
}

/// The rows as they come when each takes its time.
fn delayed(rows: &[Row], delays: &[i64]) -> Vec<Row> {
    let mut arrivals: Vec<Row> = rows.to_vec();
    arrivals.iter_mut().zip(delays).for_each(|(row, delay)| row.kafkas += delay);
    arrivals.sort_by_key(|row| row.kafkas);
    arrivals
}

fn clock(by_column: bool) -> &'static str {
    if by_column { r#"clock = "at""# } else { "" }
}

proptest! {
    /// Late or not, by either clock: what is found is what the definition says, to the bit.
    #[test]
    fn scores_are_those_of_the_definition(
        rows in close_rows(), delays in proptest::collection::vec(0i64..50_000, 80), by_column in any::<bool>()
    ) {
        let pipeline = windowed(clock(by_column), "", &[BY_USER, ROBUST, ALONE]);
        let arrivals = delayed(&rows, &delays);
        let driver = Driver::new(&pipeline).judge(&arrivals);
        let (expected, too_late) = by_definition(&pipeline, &arrivals, by_column);
        prop_assert_eq!(findings(&driver), expected);
        prop_assert_eq!(driver.core.counters().too_late_for_windows, too_late);
        prop_assert_eq!(driver.core.counters().windows_judged_early, 0);
        prop_assert_eq!(driver.closed().len(), rows.len(), "other detectors judge all");
    }

    /// Within the watermark, and with records that wait for earlier ones as well, no order makes a difference.
    #[test]
    fn any_order_within_the_watermark_gives_the_same(
        rows in close_rows(), delays in proptest::collection::vec(0i64..10_000, 80), by_column in any::<bool>(),
        history in prop_oneof![Just(""), Just(r#"lateness = "9s""#)]
    ) {
        let pipeline = windowed(clock(by_column), history, &[BY_USER, ROBUST, ALONE]);
        let arrivals = delayed(&rows, &delays);
        let ordered = Driver::new(&pipeline).judge(&rows);
        let shuffled = Driver::new(&pipeline).judge(&arrivals);
        prop_assert_eq!(findings(&ordered).len(), 3 * rows.len());
        prop_assert_eq!(findings(&shuffled), findings(&ordered));
        prop_assert_eq!(shuffled.core.counters().too_late_for_windows, 0);
    }

    /// Without a changelog the records whose windows are not complete are read again: each is judged once.
    #[test]
    fn what_waits_for_its_windows_is_read_again_where_nothing_is_written_down(rows in close_rows(), stop in 0usize..80) {
        let pipeline = windowed("", "", &[BY_USER, ROBUST, ALONE]);
        let stop = stop.min(rows.len());
        let mut first = Driver::of_file(&pipeline);
        rows[..stop].iter().for_each(|row| first.send(row));
        let Some((_, resume)) = first.core.resume_points().first().copied() else { return Ok(()) };
        let mut second = Driver::of_file(&pipeline);
        second.apply(Input::Assigned { partition: 0, start: Start::Reread(resume) });
        second.offset = resume.offset;
        let second = second.judge(&rows[resume.offset as usize..]);
        let whole = Driver::of_file(&pipeline).judge(&rows);
        let keys = |drivers: &[&Driver]| {
            let mut keys: Vec<(usize, String)> =
                drivers.iter().flat_map(|driver| findings(driver)).map(|found| (found.0, found.1)).collect();
            keys.sort();
            keys
        };
        prop_assert_eq!(keys(&[&first, &second]), keys(&[&whole]));
    }

    /// However little room there is, each record is judged once by each detector, or counted.
    #[test]
    fn with_little_room_each_record_is_judged_once(rows in close_rows(), room in 300usize..20_000) {
        let pipeline = windowed(&format!("max_state_bytes = {room}"), "", &[BY_USER, ROBUST, ALONE]);
        let driver = Driver::new(&pipeline).judge(&rows);
        let counters = driver.core.counters();
        let found = findings(&driver).len() as u64;
        prop_assert_eq!(found + counters.too_late_for_windows, 3 * rows.len() as u64);
        let is_early = |output: &&Output| matches!(output, Output::Windowed(found) if found.summary.closed_early);
        let early = driver.out.iter().filter(is_early).count();
        prop_assert!(early == 0 || counters.windows_judged_early > 0);
    }
}

/// The scores of a detector, by key.
fn scores(driver: &Driver) -> BTreeMap<String, f64> {
    findings(driver).into_iter().map(|found| (found.1, f64::from_bits(found.2))).collect()
}

#[test]
fn a_value_far_from_the_others_of_its_minute_is_found() {
    let one = r#"{ name = "z", algorithm = "zscore-window", value = "amount", topic = "z" },"#;
    let pipeline = windowed(r#"clock = "at""#, "", &[one]);
    let spec = &pipeline.zscores[0];
    assert_eq!((spec.window, spec.slide, spec.watermark, spec.threshold), (60_000, 30_000, 300_000, 3.0));
    let start = START - START.rem_euclid(60_000);
    let row = |index: i64| row(index, (index as u8, 0), if index == 7 { 500.0 } else { 10.0 }, start + 1_000 * index);
    let mut driver = Driver::new(&pipeline);
    (0..20).for_each(|index| driver.send(&row(index)));
    assert!(findings(&driver).is_empty());
    assert_eq!(driver.core.next_deadline(), None, "time does not pass while there is something to read");
    driver.apply(Input::CaughtUp { partition: 0, now: 1_000_000 });
    // The clock shows 19 s past the start; the last window that holds the records ends 60 s past it.
    let first = 1_000_000 + 30_000 + 300_000 - 19_000;
    assert_eq!(driver.core.next_deadline(), Some(first + GRACE));
    driver.apply(Input::ReadThrough { partition: 0, now: first + 30_000 + GRACE - 1 });
    assert!(findings(&driver).is_empty());
    driver.apply(Input::ReadThrough { partition: 0, now: first + 30_000 + GRACE });
    let scores = scores(&driver);
    assert_eq!(scores.len(), 20);
    assert!((scores["7"] - 19f64.sqrt()).abs() < 1e-9 && scores["8"] < 1.0, "{scores:?}");
    assert_eq!(driver.core.next_deadline(), None, "nothing waits");
}

#[test]
fn the_median_is_not_moved_by_what_it_judges() {
    let of = |robust: bool| {
        let one = r#"{ name = "z", algorithm = "zscore-window", value = "amount", topic = "z", robust = ROBUST },"#;
        let pipeline = windowed("", "", &[&one.replace("ROBUST", &robust.to_string())]);
        let amount = |index: i64| if index % 3 == 0 { 900.0 + index as f64 } else { 10.0 + index as f64 };
        let rows: Vec<Row> = (0..9).map(|index| row(index, (0, 0), amount(index), START + index)).collect();
        scores(&Driver::new(&pipeline).judge(&rows))
    };
    assert!(of(false)["3"] < 2.0, "three of nine are their own spread: {:?}", of(false));
    assert!(of(true)["3"] > 100.0 && of(true)["1"] < 3.0, "{:?}", of(true));
}

#[test]
fn a_window_with_few_records_judges_nobody() {
    let of = |min_count: usize| {
        let one = r#"{ name = "z", algorithm = "zscore-window", value = "amount", topic = "z", by = "user", min_count = N },"#;
        let pipeline = windowed("", "", &[&one.replace('N', &min_count.to_string())]);
        let rows: Vec<Row> =
            (0..7).map(|index| row(index, (u8::from(index > 3), 0), index as f64, START + index)).collect();
        scores(&Driver::new(&pipeline).judge(&rows)).into_values().filter(|score| *score > 0.0).count()
    };
    // Four of one user, none of them in the middle; three of the other, of whom one is.
    assert_eq!([of(1), of(4), of(5)], [6, 4, 0]);
}

#[test]
fn a_hundred_thousand_records_of_one_key_in_a_window_are_quick() {
    let one =
        r#"{ name = "z", algorithm = "zscore-window", value = "amount", topic = "z", by = "user", robust = ROBUST },"#;
    for robust in ["false", "true"] {
        let pipeline = windowed(r#"clock = "at""#, "", &[&one.replace("ROBUST", robust)]);
        let (mut driver, mut changelog) = (Driver::new(&pipeline), Changelog::new());
        let begin = std::time::Instant::now();
        for index in 0..100_000i64 {
            let payload = row(index, (0, 0), (index * 7919 % 1000) as f64, START + index / 2).payload;
            driver
                .core
                .apply(Input::Record(Record::new(0, index, START + index / 2, payload.as_bytes())), &mut driver.out);
            if index % 100 == 0 {
                commit(&mut driver.core, &mut changelog);
            }
        }
        driver.apply(Input::End);
        assert_eq!(findings(&driver).len(), 100_000);
        // Quadratic time would be minutes.
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
    }
}

#[test]
fn state_of_other_windows_is_foreign() {
    let layout = |detector: &str| windowed("", "", &[detector]).state_layout();
    for (from, to) in
        [("1m", "2m"), ("30s", "20s"), ("by-user", "z"), ("by = \"user\",", ""), ("topic", "robust = true, topic")]
    {
        assert_ne!(layout(&BY_USER.replacen(from, to, 1)), layout(BY_USER), "{from} to {to}");
    }
    for (from, to) in [("watermark = \"20s\"", "watermark = \"30s\""), ("topic", "min_count = 2, threshold = 2, topic")]
    {
        assert_eq!(layout(&BY_USER.replacen(from, to, 1)), layout(BY_USER), "{from} to {to}");
    }
}

#[test]
fn what_a_record_is_known_to_be_waits_with_it() {
    let text = text(r#"amount = "amount""#, "", "")
        .replace("detectors = [", &format!("detectors = [{}", BY_USER.replace('\n', " ")));
    let text = format!("label = {{ column = \"shop\", normal = [\"shop 0\"] }}\n{text}");
    let pipeline = Arc::new(Pipeline::parse(&text, "small.toml").unwrap());
    let (mut first, mut changelog) = (Driver::new(&pipeline), Changelog::new());
    (0..9).for_each(|index| first.send(&row(index, (0, (index % 3) as u8), 1.0, START + index)));
    commit(&mut first.core, &mut changelog);
    let mut second = Driver::new(&pipeline);
    let restored = restored(&pipeline, &changelog).unwrap();
    second.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) });
    second.apply(Input::End);
    let truth = |output: &Output| match output {
        Output::Windowed(found) => Some((found.summary.key.to_string(), found.truth.as_deref().map(str::to_owned))),
        _ => None,
    };
    let found: Vec<(String, Option<String>)> = second.out.iter().filter_map(truth).collect();
    assert_eq!(found.len(), 9);
    for (key, truth) in found {
        let shop = key.parse::<u8>().unwrap() % 3;
        assert_eq!(truth, (shop > 0).then(|| format!("shop {shop}")));
    }
}
