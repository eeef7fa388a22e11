//! Laws of the simulation.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;
use tables::{ParquetError, ParquetReader, Values};

use super::places::CITIES;
use super::rhythm::LocalTime;
use super::users::{DAY, HOUR};
use super::*;

/// Few people, so that a month of them is few records.
fn small() -> Config {
    Config { users: 1_000, merchants: 400, anomaly_rate: 0.05, ..Config::default() }
}

fn simulation(config: &Config) -> Simulation {
    Simulation::new(&config.clone().check().expect("in range"))
}

fn days(config: &Config, days: i64) -> Vec<Transaction> {
    let end = config.start.timestamp_millis() + days * DAY;
    simulation(config).take_while(|transaction| transaction.timestamp < end).collect()
}

fn json(transactions: &[Transaction]) -> String {
    let (mut writer, mut out) = (TextWriter::default(), Vec::new());
    for transaction in transactions {
        writer.json(&mut out, transaction, true);
        out.push(b'\n');
    }
    String::from_utf8(out).expect("UTF-8")
}

fn labelled(transactions: &[Transaction], scenario: Scenario) -> impl Iterator<Item = &Transaction> {
    transactions.iter().filter(move |transaction| transaction.label == Some(scenario))
}

/// Amounts beside those that are usual at the same merchant: the logarithm of their ratio to the median there.
fn excesses(transactions: &[Transaction], scenario: Scenario) -> Vec<f64> {
    let mut usual: HashMap<u32, Vec<f64>> = HashMap::new();
    for transaction in transactions.iter().filter(|transaction| transaction.label.is_none()) {
        usual.entry(transaction.merchant).or_default().push(transaction.amount_in_euros());
    }
    let of = |transaction: &Transaction| {
        let usual = usual.get(&transaction.merchant).filter(|usual| usual.len() >= 10)?;
        Some((transaction.amount_in_euros() / median(usual)).ln())
    };
    labelled(transactions, scenario).filter_map(of).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[test]
fn the_same_seed_writes_the_same_bytes_and_another_seed_others() {
    let first: Vec<_> = simulation(&small()).take(20_000).collect();
    let second: Vec<_> = simulation(&small()).take(20_000).collect();
    assert_eq!(json(&first), json(&second));
    let other: Vec<_> = simulation(&Config { seed: 8, ..small() }).take(20_000).collect();
    assert_ne!(json(&first), json(&other));
}

#[test]
fn a_seed_means_the_same_on_every_machine() {
    // Seen once; a change of it changes everybody's samples and has to be meant.
    let bytes = json(&simulation(&small()).take(20_000).collect::<Vec<_>>());
    insta::assert_snapshot!(format!("{:08x}", crc32fast::hash(bytes.as_bytes())), @"11579974");
    let first = bytes.lines().next().expect("a line");
    insta::assert_snapshot!(first, @r#"{"transaction_id":"b00c6f80b91960bd","user_id":"u0000801","merchant_id":"m000298","amount":9.49,"currency":"USD","latitude":41.86534,"longitude":-87.64944,"timestamp":"2024-01-01T00:02:21.060Z"}"#);
}

#[test]
fn payments_come_in_the_order_of_time_and_have_names_of_their_own() {
    let transactions = days(&small(), 30);
    assert!(transactions.is_sorted_by_key(|transaction| transaction.timestamp));
    let names: HashSet<u64> = transactions.iter().map(|transaction| transaction.id).collect();
    assert_eq!(names.len(), transactions.len());
}

#[test]
fn as_many_payments_are_made_as_were_asked_for() {
    // A thousand users, three times a day.
    let n = days(&small(), 30).len() as f64;
    assert!((n / 90_000.0 - 1.0).abs() < 0.02, "{n}");
    let fast = Config { rate: 500.0, speed: Some(100.0), ..small() };
    let end = fast.start.timestamp_millis() + 100 * 60 * 1000;
    let n = simulation(&fast).take_while(|transaction| transaction.timestamp < end).count();
    assert!((n as f64 / 30_000.0 - 1.0).abs() < 0.03, "a minute of 500 a second: {n}");
}

#[test]
fn every_scenario_has_its_share() {
    // Where there are few, and some come a dozen at a time, their number varies: four deviations.
    for (rate, tolerance) in [(0.002, 0.25), (0.05, 0.05), (0.3, 0.05)] {
        let config = Config { users: 5_000, anomaly_rate: rate, ..Config::default() };
        let transactions: Vec<_> = simulation(&config).take(400_000).collect();
        let checked = config.check().expect("in range");
        let share = |n: usize| n as f64 / transactions.len() as f64;
        let anomalous = share(transactions.iter().filter(|transaction| transaction.label.is_some()).count());
        assert!((anomalous / rate - 1.0).abs() < tolerance, "{rate}: {anomalous}");
        for scenario in Scenario::ALL {
            let (found, wanted) = (share(labelled(&transactions, scenario).count()), checked.share_of(scenario));
            assert!((found / wanted - 1.0).abs() < 4.0 * tolerance, "{rate}, {scenario}: {found} of {wanted}");
        }
    }
}

#[test]
fn a_short_stream_in_real_time_has_its_share_as_well() {
    let config = Config { rate: 1_000.0, speed: Some(1.0), users: 100_000, ..small() };
    let transactions: Vec<_> = simulation(&config).take(60_000).collect();
    let anomalous = transactions.iter().filter(|transaction| transaction.label.is_some()).count() as f64;
    assert!((anomalous / 3_000.0 - 1.0).abs() < 0.15, "{anomalous} of 3000");
    for scenario in Scenario::ALL {
        assert!(labelled(&transactions, scenario).count() > 30, "{scenario}");
    }
}

#[test]
fn only_chosen_scenarios_occur() {
    let chosen = vec![Scenario::StolenCard, Scenario::CardTesting];
    let transactions = days(&Config { scenarios: chosen.clone(), ..small() }, 10);
    let found: BTreeSet<Scenario> = transactions.iter().filter_map(|transaction| transaction.label).collect();
    assert_eq!(found, chosen.into_iter().collect());
    let share = transactions.iter().filter(|one| one.label.is_some()).count() as f64 / transactions.len() as f64;
    assert!((share / 0.05 - 1.0).abs() < 0.2, "{share}");
    let none = days(&Config { anomaly_rate: 0.0, ..small() }, 3);
    assert!(none.iter().all(|transaction| transaction.label.is_none()));
}

#[test]
fn nobody_is_faster_than_an_airliner_but_those_whose_travel_is_impossible() {
    for config in [small(), Config { rate: 50.0, speed: Some(1.0), ..small() }] {
        let mut last: HashMap<u32, &Transaction> = HashMap::new();
        let transactions: Vec<_> = simulation(&config).take(60_000).collect();
        let mut impossible = 0;
        for transaction in &transactions {
            if let Some(before) = last.insert(transaction.user, transaction) {
                let hours = (transaction.timestamp - before.timestamp) as f64 / HOUR as f64;
                let distance = before.position.distance_km(transaction.position);
                let is_impossible = transaction.label == Some(Scenario::ImpossibleTravel);
                assert_eq!(distance > 900.0 * hours + 0.01, is_impossible, "{before:?} {transaction:?}");
                impossible += u32::from(is_impossible);
            }
        }
        assert!(impossible > 100, "{impossible}");
    }
}

#[test]
fn a_stolen_card_pays_five_times_as_much_for_fourteen_days_and_about_a_third_of_the_payments() {
    let transactions = days(&Config { users: 3_000, merchants: 250, anomaly_rate: 0.02, ..small() }, 40);
    let excess = median(&excesses(&transactions, Scenario::StolenCard)).exp();
    assert!((4.0..6.2).contains(&excess), "{excess} times what is usual at the merchant");
    let by_user = |transaction: &Transaction| transaction.user;
    check_episodes(&transactions, Scenario::StolenCard, by_user, 14, 0.25..0.42);
}

#[test]
fn a_compromised_merchant_has_fraud_for_twenty_eight_days_in_a_share_of_its_payments() {
    let transactions = days(&Config { users: 3_000, merchants: 400, anomaly_rate: 0.02, ..small() }, 60);
    let excess = median(&excesses(&transactions, Scenario::CompromisedMerchant)).exp();
    assert!((1.8..3.8).contains(&excess), "{excess} times what is usual at the merchant");
    let by_merchant = |transaction: &Transaction| transaction.merchant;
    check_episodes(&transactions, Scenario::CompromisedMerchant, by_merchant, 28, 0.1..0.45);
}

/// Fraud on one victim lasts no longer than it should, some nearly as long, and has its share of what the victim pays or is
/// paid from the first to the last of it.
fn check_episodes(
    transactions: &[Transaction],
    scenario: Scenario,
    victim: impl Fn(&Transaction) -> u32,
    length: i64,
    share: std::ops::Range<f64>,
) {
    let mut spans: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
    for fraud in labelled(transactions, scenario) {
        let span = spans.entry(victim(fraud)).or_insert((fraud.timestamp, fraud.timestamp));
        span.1 = fraud.timestamp;
    }
    assert!(spans.len() >= 5, "{} victims", spans.len());
    let longest = spans.values().map(|(first, last)| last - first).max().unwrap_or(0);
    assert!(longest <= length * DAY, "{} days", longest / DAY);
    assert!(longest > length * DAY * 8 / 10, "{} days", longest / DAY);
    let (mut all, mut fraud) = (0, 0);
    for transaction in transactions {
        if let Some((first, last)) = spans.get(&victim(transaction))
            && (first..=last).contains(&&transaction.timestamp)
        {
            all += 1;
            fraud += u32::from(transaction.label == Some(scenario));
        }
    }
    let found = f64::from(fraud) / f64::from(all);
    assert!(share.contains(&found), "{found} of the payments");
}

#[test]
fn wrong_amounts_are_far_from_the_usual_ones_and_not_out_of_the_world() {
    let transactions = days(&small(), 40);
    assert!(median(&excesses(&transactions, Scenario::AmountHigh)).exp() > 12.0);
    assert!(median(&excesses(&transactions, Scenario::AmountLow)).exp() < 1.0 / 40.0);
    // No one threshold divides them: one that finds half of those that are too high is wrong more often than right.
    let high: Vec<f64> = labelled(&transactions, Scenario::AmountHigh).map(Transaction::amount_in_euros).collect();
    let ordinary = transactions.iter().filter(|one| one.label.is_none());
    let above = ordinary.filter(|one| one.amount_in_euros() > median(&high)).count();
    assert!(above * 2 > high.len(), "{above} ordinary ones above the median of {} that are too high", high.len());
}

#[test]
fn cards_are_tested_with_many_small_payments_within_minutes() {
    let transactions = days(&small(), 20);
    let mut times: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
    for test in labelled(&transactions, Scenario::CardTesting) {
        assert!(test.amount_in_euros() < 3.01, "{test:?}");
        times.entry(test.user).or_default().push(test.timestamp);
    }
    let bursts = times.values().flat_map(|times| times.chunk_by(|a, b| b - a <= 20_001));
    let lengths: Vec<usize> = bursts.map(<[i64]>::len).collect();
    assert!(lengths.len() > 20);
    // The one that is under way at the start, and the one at the end, are shorter.
    assert!(lengths.iter().filter(|&&length| length < 6).count() <= 2, "{lengths:?}");
}

#[test]
fn nights_are_those_of_people_who_sleep() {
    let config = small();
    let world = simulation(&config);
    let transactions = days(&config, 20);
    let hour = |transaction: &Transaction| {
        let user = &world.users.all[transaction.user as usize - 1];
        (LocalTime::at(transaction.timestamp, user.utc_offset()).hour(), user.rhythm)
    };
    let nights: Vec<_> = labelled(&transactions, Scenario::NightActivity).map(hour).collect();
    assert!(nights.len() > 100);
    assert!(nights.iter().all(|(hour, rhythm)| (1..5).contains(hour) && rhythm.sleeps_at_night()));
    let ordinary = transactions.iter().filter(|one| one.label.is_none()).map(hour);
    let sleepers: Vec<_> = ordinary.filter(|(_, rhythm)| rhythm.sleeps_at_night()).collect();
    let awake = sleepers.iter().filter(|(hour, _)| (1..5).contains(hour)).count();
    assert!(awake > 0 && awake * 200 < sleepers.len(), "{awake} of {}", sleepers.len());
}

#[test]
fn a_new_merchant_abroad_is_new_and_abroad() {
    let config = small();
    let world = simulation(&config);
    let transactions = days(&config, 30);
    let mut seen: HashSet<(u32, u32)> = HashSet::new();
    let mut opened: HashMap<u32, i64> = HashMap::new();
    let mut found = 0;
    for transaction in &transactions {
        let open_since = *opened.entry(transaction.merchant).or_insert(transaction.timestamp);
        let is_new = seen.insert((transaction.user, transaction.merchant));
        if transaction.label == Some(Scenario::NewMerchantAbroad) {
            found += 1;
            let home = &CITIES[world.users.all[transaction.user as usize - 1].city];
            assert!(is_new && transaction.timestamp - open_since < 5 * DAY, "{transaction:?}");
            assert!(home.centre.distance_km(transaction.position) > 150.0, "{transaction:?}");
        }
    }
    assert!(found > 100);
    // New merchants that are honest, so that a new one is no proof.
    let honest = transactions.iter().filter(|one| one.label.is_none() && one.merchant > config.merchants);
    assert!(honest.count() > 100);
}

#[test]
fn most_payments_are_near_home_and_by_day() {
    let config = small();
    let world = simulation(&config);
    let transactions = days(&config, 30);
    let home = |one: &Transaction| world.users.all[one.user as usize - 1].home;
    let ordinary: Vec<_> = transactions.iter().filter(|one| one.label.is_none()).collect();
    let near = ordinary.iter().filter(|one| home(one).distance_km(one.position) < 30.0).count();
    let share = near as f64 / ordinary.len() as f64;
    assert!((0.8..0.98).contains(&share), "{share}: others travel");
    let currencies: BTreeSet<Currency> = ordinary.iter().map(|one| one.currency).collect();
    assert_eq!(currencies.len(), 7);
}

/// A record as any program reads it.
type Row = (String, String, String, f64, String, f64, f64, String, Option<String>);

fn rows_of_json(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).expect("a file");
    let row = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("an object");
        let text = |name: &str| value[name].as_str().expect(name).to_owned();
        let number = |name: &str| value[name].as_f64().expect(name);
        let label = value.get("label").map(|label| label.as_str().expect("a label").to_owned());
        (
            text("transaction_id"),
            text("user_id"),
            text("merchant_id"),
            number("amount"),
            text("currency"),
            number("latitude"),
            number("longitude"),
            text("timestamp"),
            label,
        )
    };
    text.lines().map(row).collect()
}

fn rows_of_csv(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).expect("a file");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEADER.join(",").as_str()));
    let row = |line: &str| {
        let fields: [&str; 9] = line.split(',').collect::<Vec<_>>().try_into().expect("nine fields");
        let [id, user, merchant, amount, currency, latitude, longitude, timestamp, label] = fields.map(str::to_owned);
        let number = |text: String| text.parse::<f64>().expect("a number");
        let (amount, latitude, longitude) = (number(amount), number(latitude), number(longitude));
        let label = Some(label).filter(|label| !label.is_empty());
        (id, user, merchant, amount, currency, latitude, longitude, timestamp, label)
    };
    lines.map(row).collect()
}

fn rows_of_parquet(path: &Path) -> Vec<Row> {
    let reader = ParquetReader::new(std::fs::File::open(path).expect("a file")).expect("Parquet");
    let found: Vec<String> = reader.columns().into_iter().map(|column| column.name).collect();
    assert_eq!(found, HEADER);
    let mut rows = Vec::new();
    let read = reader.read(&HEADER, 10_000, |columns| {
        let text = |column: usize, row: usize| match &columns[column] {
            Values::Texts(texts) => texts.get(row).map(str::to_owned),
            other => panic!("{}: {other:?}", HEADER[column]),
        };
        let number = |column: usize, row: usize| match &columns[column] {
            Values::Doubles(numbers) => numbers[row].expect("a number"),
            other => panic!("{}: {other:?}", HEADER[column]),
        };
        let Values::Moments(millis) = &columns[7] else { panic!("{:?}", columns[7]) };
        rows.extend((0..millis.len()).map(|row| {
            let mut timestamp = Vec::new();
            TextWriter::default().push_timestamp(&mut timestamp, millis[row].expect("a moment"));
            (
                text(0, row).expect("a text"),
                text(1, row).expect("a text"),
                text(2, row).expect("a text"),
                number(3, row),
                text(4, row).expect("a text"),
                number(5, row),
                number(6, row),
                String::from_utf8(timestamp).expect("UTF-8"),
                text(8, row),
            )
        }));
        Ok::<(), ParquetError>(())
    });
    read.expect("rows");
    rows
}

#[test]
fn all_formats_hold_the_same_records() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // More than a row group.
    let transactions: Vec<_> = simulation(&small()).take(70_000).collect();
    let path = |name: &str| directory.path().join(name);
    for (name, format) in [("a.jsonl", Format::Jsonl), ("a.csv", Format::Csv), ("a.parquet", Format::Parquet)] {
        let mut file = TransactionFile::whole(&path(name), format).expect("a file");
        transactions.iter().for_each(|transaction| file.put(transaction).expect("room"));
        assert!(!path(name).exists(), "not before it is whole");
        file.finish().expect("room");
    }
    let rows = rows_of_json(&path("a.jsonl"));
    assert_eq!(rows.len(), transactions.len());
    assert!(rows.iter().any(|row| row.8.is_some()) && rows.iter().any(|row| row.8.is_none()));
    assert!(rows == rows_of_csv(&path("a.csv")), "CSV");
    assert!(rows == rows_of_parquet(&path("a.parquet")), "Parquet");
}

#[test]
fn a_growing_file_shows_what_there_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("a.csv");
    let mut file = TransactionFile::growing(&path, Format::Csv).expect("a file");
    simulation(&small()).take(10).for_each(|transaction| file.put(&transaction).expect("room"));
    file.flush().expect("room");
    assert_eq!(rows_of_csv(&path).len(), 10);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_sentence_in_every_format() {
    for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
        let mut file = TransactionFile::growing(Path::new("/dev/full"), format).expect("opened");
        let written = simulation(&small()).take(1000).try_for_each(|transaction| file.put(&transaction));
        let error = written.and_then(|()| file.finish()).expect_err("full");
        assert!(error.to_string().starts_with("cannot write /dev/full: No space left"), "{error}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let bad = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        config.check().map_err(|error| error.to_string())
    };
    assert!(Config::default().check().is_ok());
    let refused = [
        (bad(&|c| c.start = chrono::DateTime::UNIX_EPOCH - chrono::Duration::days(1)), "1969-12-31"),
        (bad(&|c| c.users = 99), "number of users 99"),
        (bad(&|c| c.merchants = 10), "number of merchants 10"),
        (bad(&|c| c.rate = 0.0), "rate 0"),
        (bad(&|c| c.rate = f64::NAN), "rate NaN"),
        (bad(&|c| c.speed = Some(f64::INFINITY)), "speed inf"),
        (bad(&|c| c.anomaly_rate = 0.6), "anomaly rate 0.6"),
        (bad(&|c| (c.rate, c.speed) = (0.01, Some(1_000.0))), "0.00001 records in a simulated second"),
    ];
    for (outcome, words) in refused {
        let error = outcome.expect_err(words);
        assert!(error.contains(words), "{error}");
    }
}

prop_compose! {
    fn any_config()(
        seed: u64,
        start in 0..7_000_000_000_i64,
        users in 100..2_000_u32,
        merchants in 232..600_u32,
        rate in 0.01..100_000.0_f64,
        speed in proptest::option::of(0.1..100.0_f64),
        anomaly_rate in prop_oneof![Just(0.0), Just(0.5), 0.0..=0.5],
        scenarios in proptest::collection::vec(proptest::sample::select(Scenario::ALL.to_vec()), 0..4),
    ) -> Config {
        let start = chrono::DateTime::from_timestamp(start, 0).unwrap_or_default();
        Config { seed, start, users, merchants, rate, speed, anomaly_rate, scenarios }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_checked_config_gives_payments_in_order(config in any_config()) {
        let transactions: Vec<_> = simulation(&config).take(2_000).collect();
        prop_assert_eq!(transactions.len(), 2_000);
        prop_assert!(transactions.is_sorted_by_key(|transaction| transaction.timestamp));
        prop_assert!(transactions[0].timestamp >= config.start.timestamp_millis());
        for transaction in &transactions {
            prop_assert!(transaction.amount > 0 && transaction.user >= 1 && transaction.user <= config.users);
            prop_assert!(transaction.position.latitude.abs() < 9_000_000);
            prop_assert!(transaction.position.longitude.abs() < 18_000_000);
            let expected = transaction.label.is_none_or(|label| config.scenarios.is_empty() || config.scenarios.contains(&label));
            prop_assert!(expected, "{:?}", transaction.label);
        }
    }
}
