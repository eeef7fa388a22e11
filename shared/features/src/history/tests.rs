use proptest::prelude::*;
use records::time::parse_span;

use super::*;

const COLUMNS: [&str; 7] = ["id", "user", "shop", "amount:float", "lat:float", "lon:float", "at:datetime"];

/// Features, a name and an expression a line, of records with [`COLUMNS`], of which the amount is never negative.
pub(super) fn features_of(lines: &str) -> Result<RecordFeatures, String> {
    let mut columns = COLUMNS.map(|declared| declared.parse::<Column>().unwrap());
    columns[3].range = (0.0, f64::INFINITY);
    let declared = lines.lines().filter_map(|line| line.split_once(" = "));
    let declared: Vec<(String, String)> =
        declared.map(|(name, expression)| (name.trim().to_owned(), expression.to_owned())).collect();
    let resolve = |_: &str, column: &str| {
        let found = columns.iter().position(|known| known.name == column);
        found.ok_or_else(|| format!("there is no column `{column}`"))
    };
    RecordFeatures::read(&declared, &columns, (6, 30 * DAY, 0), &resolve, &|name: &str, problem: String| {
        format!("{name}: {problem}")
    })
}

pub(super) const ALL: &str = "
    amount = amount
    log = log1p(amount)
    hour = hour(at)
    day = day_of_week(at)
    hour_sin = sin(hour(at))
    day_cos = cos(day_of_week(at))
    count_1h = count() by user over 1h
    count_1d = count() by user over 1d including this
    sum_7d = sum(amount) by user over 7d
    mean_30d = mean(amount) by user over 30d
    mean_this = mean(amount) by user over 30d including this
    std_30d = std(amount) by user over 30d
    min_1d = min(amount) by shop over 1d
    max_7d = max(amount) by shop over 7d
    ratio = log1p(ratio(amount) by user over 30d)
    log_ratio = log(ratio(amount) by user over 30d)
    deviation = deviation(amount) by shop over 7d
    since = log1p(seconds_since_last() by user)
    distance = distance(lat, lon) by user
    speed = speed(lat, lon) by user
    new = is_new(shop) by user
";

/// A record: user, shop, amount, latitude and longitude, and when.
pub(super) type Row = (u8, u8, f64, Option<(f64, f64)>, Timestamp);

struct Texts(Vec<String>);

impl Texts {
    fn new() -> Self {
        Self((0..20).map(|index| format!("key {index}")).collect())
    }

    fn line<'a>(&'a self, row: &Row) -> [Value<'a>; 7] {
        let float = |value: Option<f64>| value.map_or(Value::Missing, Value::Float);
        [
            Value::Text("id"),
            Value::Text(&self.0[usize::from(row.0)]),
            Value::Text(&self.0[usize::from(row.1)]),
            Value::Float(row.2),
            float(row.3.map(|place| place.0)),
            float(row.3.map(|place| place.1)),
            Value::Datetime(row.4),
        ]
    }
}

pub(super) fn featurized(features: &RecordFeatures, history: &mut History, rows: &[Row]) -> Vec<Vec<f64>> {
    let texts = Texts::new();
    let featurize = |row: &Row| {
        let mut values = Vec::new();
        history.featurize(features, &texts.line(row), row.4, &mut values);
        values
    };
    rows.iter().map(featurize).collect()
}

/// Rows in order of time, over some months, often close together.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let step = prop_oneof![0i64..5_000, 0i64..4_000_000, 0i64..90_000_000, Just(40 * DAY)];
    let place = proptest::option::weighted(0.8, (-80.0f64..80.0, -170.0f64..170.0));
    let amount = prop_oneof![(0u32..5).prop_map(f64::from), 0.0f64..1e6];
    proptest::collection::vec((0u8..3, 0u8..4, amount, place, step), 1..120).prop_map(|mut rows| {
        let mut time = 1_600_000_000_000;
        for row in &mut rows {
            time += row.4;
            row.4 = time;
        }
        rows
    })
}

/// What a feature is, from all earlier records of a key: by the definition in docs/features.md, without panes.
fn window_by_definition(earlier: &[&Row], now: Timestamp, span: &str, pane: Millis) -> Vec<f64> {
    let start = (now - parse_span(span).unwrap()).div_euclid(pane) * pane + pane;
    earlier.iter().filter(|row| row.4 >= start).map(|row| row.2).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn std(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

fn or(values: &[f64], otherwise: f64, of: impl Fn(&[f64]) -> f64) -> f64 {
    if values.is_empty() { otherwise } else { of(values) }
}

fn by_definition(rows: &[Row], index: usize) -> Vec<f64> {
    let (before, row) = (&rows[..index], &rows[index]);
    let (user, shop, amount, place, now) = *row;
    let of_user: Vec<&Row> = before.iter().filter(|row| row.0 == user).collect();
    let of_shop: Vec<&Row> = before.iter().filter(|row| row.1 == shop).collect();
    let (hour, day) = (3_600_000, DAY);
    let month = window_by_definition(&of_user, now, "30d", day);
    let with_this: Vec<f64> = month.iter().copied().chain([amount]).collect();
    let week_of_shop = window_by_definition(&of_shop, now, "7d", 6 * hour);
    let last = of_user.last().filter(|last| now - last.4 <= 30 * DAY);
    let last_place = of_user.iter().rev().find_map(|row| Some((row.3?, row.4))).filter(|last| now - last.1 <= 30 * DAY);
    let trip = place.zip(last_place).map(|(here, (there, _))| {
        let place = |(latitude, longitude)| GeoPoint { latitude, longitude };
        distance_km(place(there), place(here))
    });
    let elapsed = last_place.map_or(1_000, |last| (now - last.1).max(1_000)) as f64 / 3_600_000.0;
    let monday = (now.div_euclid(DAY) + 3).rem_euclid(7);
    let turn = |part: Millis, whole: Millis| part as f64 / whole as f64 * std::f64::consts::TAU;
    let met = of_user.iter().any(|row| row.1 == shop && row.4.div_euclid(DAY) >= (now - 30 * DAY).div_euclid(DAY));
    let ratio = or(&month, 1.0, |values| if mean(values) == 0.0 { 1.0 } else { amount / mean(values) });
    let spread = std(&week_of_shop);
    vec![
        amount,
        amount.ln_1p(),
        (now.rem_euclid(DAY) / hour) as f64,
        monday as f64,
        turn(now.rem_euclid(DAY), DAY).sin(),
        turn(monday * DAY + now.rem_euclid(DAY), 7 * DAY).cos(),
        window_by_definition(&of_user, now, "1h", 300_000).len() as f64,
        window_by_definition(&of_user, now, "1d", hour).len() as f64 + 1.0,
        window_by_definition(&of_user, now, "7d", 6 * hour).iter().sum(),
        or(&month, amount, mean),
        mean(&with_this),
        std(&month),
        or(&window_by_definition(&of_shop, now, "1d", hour), amount, |v| v.iter().copied().fold(f64::MAX, f64::min)),
        or(&week_of_shop, amount, |v| v.iter().copied().fold(0.0, f64::max)),
        ratio.ln_1p(),
        ratio.max(0.001).ln(),
        if spread == 0.0 { 0.0 } else { (amount - mean(&week_of_shop)) / spread },
        (last.map_or(30 * DAY, |last| now - last.4) as f64 / 1000.0).ln_1p(),
        trip.unwrap_or(0.0),
        trip.map_or(0.0, |distance| distance / elapsed),
        f64::from(u8::from(!met)),
    ]
}

/// Equal but for the last bits: sums of another order. A spread of equal values is 0 or what rounding leaves of it.
fn assert_close(names: &[String], found: &[f64], expected: &[f64], scale: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for ((name, found), expected) in names.iter().zip(found).zip(expected) {
        // A deviation divides by a spread that may be rounding alone.
        let allowed = match name.as_str() {
            "std_30d" => 1e-7 * scale,
            "deviation" => 1e-5 * expected.abs().max(found.abs()).max(1.0),
            _ => 1e-9 * expected.abs().max(1.0),
        };
        prop_assert!((found - expected).abs() <= allowed, "{name}: {found} should be {expected}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn features_are_what_the_language_says(rows in rows()) {
        let features = &features_of(ALL).unwrap();
        let found = featurized(features, &mut History::new(features, false), &rows);
        let names: Vec<String> = features.features().iter().map(|feature| feature.name.clone()).collect();
        for (index, found) in found.iter().enumerate() {
            let scale = rows.iter().map(|row| row.2).fold(1.0, f64::max);
            assert_close(&names, found, &by_definition(&rows, index), scale)?;
        }
    }

    /// A look at one record: neither the other keys nor a change of the copy make a difference.
    #[test]
    fn a_copy_of_a_records_keys_gives_its_features(rows in rows()) {
        let features = &features_of(ALL).unwrap();
        let (mut history, texts) = (History::new(features, false), Texts::new());
        for row in &rows {
            let line = texts.line(row);
            let keys = features.keys(&line);
            let (mut copy, before) = (history.of_keys(features, &keys), history.clone());
            prop_assert_eq!(history.knows_any(&keys), !copy.is_empty());
            let looked_up = featurized(features, &mut copy, std::slice::from_ref(row));
            prop_assert_eq!(&history, &before);
            prop_assert_eq!(looked_up, featurized(features, &mut history, std::slice::from_ref(row)));
        }
    }

    #[test]
    fn what_is_written_down_part_by_part_goes_on_as_if_nothing_happened(
        rows in rows(), cuts in proptest::collection::vec(0usize..120, 0..6),
    ) {
        let features = &features_of(ALL).unwrap();
        let whole = featurized(features, &mut History::new(features, false), &rows);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).chain([0, rows.len()]).collect();
        cuts.sort_unstable();
        let mut history = History::new(features, true);
        let mut store = std::collections::BTreeMap::new();
        let mut written = Vec::new();
        for cut in cuts.windows(2) {
            let n_before = written.len();
            let values = featurized(features, &mut history, &rows[cut[0]..cut[1]]);
            prop_assert_eq!(&values[..], &whole[cut[0]..cut[1]]);
            history.take_parts(features, |part| written.push(part));
            written.iter().skip(n_before).cloned().for_each(|part| match part.value {
                Some(value) => { store.insert(part.key, value); }
                None => { assert!(store.remove(&part.key).is_some(), "what was never written is not deleted"); }
            });
            let mut all = std::collections::BTreeMap::new();
            history.parts(features, |part| { all.insert(part.key, part.value.unwrap()); });
            prop_assert_eq!(&all, &store, "what is written down is all that is remembered");
            let mut restoring = Restoring::new(features);
            for (key, value) in &store {
                restoring.add(features, key, value).unwrap();
            }
            let restored = restoring.finish(history.clock(), true).unwrap();
            prop_assert!(restored == history, "{restored:#?} should be {history:#?}");
            prop_assert_eq!(restored.bytes(), history.bytes());
            // The same from all that was ever written, in the order in which it was.
            let mut restoring = Restoring::new(features);
            for part in &written {
                match &part.value {
                    Some(value) => restoring.add(features, &part.key, value).unwrap(),
                    None => restoring.remove(features, &part.key).unwrap(),
                }
            }
            let from_all = restoring.finish(history.clock(), true).unwrap();
            prop_assert!(from_all == history, "{from_all:#?} should be {history:#?}");
            prop_assert_eq!(from_all.bytes(), history.bytes());
            history = restored;
        }
    }

    #[test]
    fn no_bytes_make_restoring_panic(key in proptest::collection::vec(any::<u8>(), 0..20),
                                     kind in proptest::sample::select(vec![b'p', b'l', b'c', b'?']),
                                     has_pane: bool, value in proptest::collection::vec(any::<u8>(), 0..60)) {
        let flags = value.first().copied().unwrap_or(0) % 8;
        let value = if has_pane { [&[0x80, 0x00, flags], &value[..]].concat() } else { value };
        let features = &features_of(ALL).unwrap();
        let mut restoring = Restoring::new(features);
        let key = [&[0, kind], &key[..]].concat();
        let _ = restoring.add(features, &key, &value);
        let _ = restoring.remove(features, &key);
        let _ = restoring.add(features, &key, &value);
        let _ = restoring.finish(Some(0), true);
    }
}

/// Parts of the state are told apart by one byte for each column that is a key.
#[test]
fn more_keys_than_a_byte_tells_apart_are_refused() {
    let read = |n_keys: usize| {
        let names = (0..n_keys).map(|index| format!("key{index}")).chain(["at:datetime".to_owned()]);
        let columns: Vec<Column> = names.map(|name| name.parse().unwrap()).collect();
        let declared: Vec<(String, String)> =
            (0..n_keys).map(|index| (format!("f{index}"), format!("count() by key{index} over 1h"))).collect();
        let resolve =
            |_: &str, column: &str| columns.iter().position(|known| known.name == column).ok_or_else(String::new);
        RecordFeatures::read(&declared, &columns, (n_keys, DAY, 0), &resolve, &|name, problem| {
            format!("{name}: {problem}")
        })
    };
    let features = read(256).unwrap();
    let key = "same";
    let mut line = vec![Value::Text(key); 256];
    line.push(Value::Datetime(0));
    let mut history = History::new(&features, true);
    let mut values = Vec::new();
    history.featurize(&features, &line, 0, &mut values);
    let mut parts = std::collections::BTreeSet::new();
    history.take_parts(&features, |part| assert!(parts.insert(part.key), "two parts have the same key"));
    assert!(parts.len() >= 256);
    assert_eq!(read(257).unwrap_err(), "f256: `key256` is one key too many: at most 256 columns may be");
}

#[test]
fn a_key_needs_so_much_room_and_no_more() {
    let features = &features_of(ALL).unwrap();
    let mut history = History::new(features, true);
    let (minute, mut most) = (60_000, 0);
    for index in 0..90 * 24 * 60 {
        featurized(features, &mut history, &[(0, (index % 20) as u8, 1.0, None, index * minute)]);
        most = most.max(history.pasts[0].get("key 0").unwrap().panes.len());
    }
    // 12 panes of five minutes, 24 hours, 28 of six hours, 30 days, and those that begin or end within another.
    assert!((80..=98).contains(&most), "{most}");
}

#[test]
fn who_does_not_come_back_is_forgotten() {
    let features = &features_of(ALL).unwrap();
    let mut history = History::new(features, true);
    featurized(features, &mut history, &[(0, 0, 1.0, None, 0), (1, 1, 1.0, None, 20 * DAY)]);
    history.take_parts(features, |_| {});
    assert_eq!(history.len(), 4);
    featurized(features, &mut history, &[(2, 2, 1.0, None, 32 * DAY)]);
    assert_eq!(history.len(), 4, "the first user and shop are gone");
    let mut gone = Vec::new();
    history.take_parts(features, |part| gone.extend(part.value.is_none().then_some(part.key)));
    assert!(gone.len() >= 3 && gone.iter().all(|key| key.ends_with(b"key 0")), "{gone:?}");
    let bytes = history.bytes();
    assert_eq!(history.shrink_to(bytes), 0);
    assert_eq!(history.shrink_to(bytes - 1), 2, "who was met at the same time goes together");
    assert!(history.bytes() > 0 && history.len() == 2);
    assert!(history.is_too_old(features, 0) && !history.is_too_old(features, 3 * DAY));
}

#[test]
fn what_a_feature_may_not_be_is_said() {
    let cases = [
        ("median(amount) by user over 1d", "f: `median(amount) by user over 1d` is no feature of a record"),
        ("mean(amount)", "because `by` and a column are missing"),
        ("mean(amount) by user", "because `over` and a span are missing"),
        ("mean(amount) by usr over 1d", "there is no column `usr`"),
        ("mean(user) by user over 1d", "`user` is not of type int or float"),
        ("mean(amount) by amount over 1d", "`amount` is not of type text"),
        ("mean(amount) by user over 5s", "`5s` is no span of at least 12s"),
        ("mean(amount) by user over 1d including", "is no feature of a record"),
        ("distance(lat, lon) by user over 1d", "because it has no window"),
        ("distance(lat) by user", "is no feature of a record"),
        ("hour(amount)", "`amount` is not of type datetime"),
        ("sin(amount)", "is no feature of a record"),
        ("log1p(sin(hour(at)))", "a logarithm is of values that are never negative"),
        ("log1p(deviation(amount) by user over 1d)", "a logarithm is of values that are never negative"),
        ("log1p(lat)", "a logarithm is of values that are never negative"),
        ("amount by user", "because a column by itself has no past"),
        ("log1p(", "is no feature of a record"),
        ("", "there is no column ``"),
    ];
    for (expression, sentence) in cases {
        let error = features_of(&format!("f = {expression}")).unwrap_err();
        assert!(error.contains(sentence), "{expression}: {error}");
    }
}
