//! Laws of the simulation, checked on the written bytes: they are read back as any other program would.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike, Weekday};
use proptest::prelude::*;

use super::*;

fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a day of the calendar")
}

/// A fortnight with a good deal of everything.
fn busy() -> Config {
    Config {
        days: 14,
        invoices_per_day: 60.0,
        anomaly_rate: 0.1,
        malformed_rate: 0.05,
        missing_customer_rate: 0.1,
        cancellation_rate: 0.2,
        ..Config::default()
    }
}

/// What a simulation writes, and what it says that it wrote.
struct Written {
    lines: String,
    labels: String,
    summary: Summary,
}

fn write(config: Config) -> Written {
    let config = config.check().expect("the configuration is in range");
    let (mut lines, mut labels) = (Vec::new(), Vec::new());
    let mut summary = Summary::default();
    for day in Simulation::new(config) {
        day.write_lines(&mut lines).expect("a vector takes all");
        day.write_labels(&mut labels).expect("a vector takes all");
        summary.count(&day);
    }
    Written {
        lines: String::from_utf8(lines).expect("lines are UTF-8"),
        labels: String::from_utf8(labels).expect("labels are UTF-8"),
        summary,
    }
}

/// RFC 4180, for records that hold no line ends.
fn split(record: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = record.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields.last_mut().expect("never empty").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().expect("never empty").push(c),
        }
    }
    assert!(!quoted, "unclosed quote in {record}");
    fields
}

/// A line as another program reads it.
#[derive(Debug, Clone)]
struct Read {
    key: String,
    stock_code: String,
    description: String,
    quantity: i64,
    minute: NaiveDateTime,
    price: f64,
    customer: String,
    country: String,
}

/// `None` for a line that another program would refuse.
fn read(record: &str) -> Option<Read> {
    let fields: [String; 8] = split(record).try_into().ok()?;
    let [key, stock_code, description, quantity, minute, price, customer, country] = fields;
    Some(Read {
        key,
        stock_code,
        description,
        quantity: quantity.parse().ok()?,
        minute: NaiveDateTime::parse_from_str(&minute, "%m/%d/%Y %H:%M").ok()?,
        price: price.parse().ok().filter(|price: &f64| price.is_finite())?,
        customer,
        country,
    })
}

fn well_formed(lines: &str) -> Vec<Read> {
    lines.lines().filter_map(read).collect()
}

/// Well-formed lines by invoice.
fn by_invoice(lines: &str) -> BTreeMap<String, Vec<Read>> {
    let mut invoices: BTreeMap<String, Vec<Read>> = BTreeMap::new();
    for line in well_formed(lines) {
        invoices.entry(line.key.clone()).or_default().push(line);
    }
    invoices
}

fn labels_of(written: &Written) -> HashMap<String, String> {
    let pair = |record| <[String; 2]>::try_from(split(record)).expect("two fields");
    let labels = written.labels.lines().map(pair).map(|[key, kind]| (key, kind));
    labels.collect()
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    let (one, other) = (write(busy()), write(busy()));
    assert_eq!(one.lines, other.lines);
    assert_eq!(one.labels, other.labels);
}

#[test]
fn another_seed_writes_other_bytes() {
    let other = Config { seed: 8, ..busy() };
    assert_ne!(write(busy()).lines, write(other).lines);
}

#[test]
fn a_longer_simulation_begins_with_the_shorter_one() {
    let shorter = write(Config { days: 6, ..busy() });
    assert!(write(busy()).lines.starts_with(&shorter.lines));
}

#[test]
fn no_two_days_are_alike() {
    let mut baskets = HashSet::new();
    for day in Simulation::new(busy().check().expect("in range")) {
        let codes = |invoice: &Invoice| invoice.lines.iter().map(|l| l.stock_code.clone()).collect::<Vec<_>>();
        let first_three: Vec<_> = day.invoices.iter().take(3).map(codes).collect();
        assert!(baskets.insert(first_three), "a day repeats an earlier one");
    }
    assert_eq!(baskets.len(), 12, "a fortnight has two Saturdays");
}

#[test]
fn one_seed_is_one_shop_whatever_the_dates() {
    let later = Config { start: date(2010, 6, 1), ..busy() };
    let (history, future) = (write(busy()), write(later));
    assert_ne!(history.lines, future.lines);
    let catalogue: HashMap<String, String> = well_formed(&history.lines)
        .into_iter()
        .filter(|line| !line.description.is_empty())
        .map(|line| (line.stock_code, line.description))
        .collect();
    let mut seen_before = 0;
    for line in well_formed(&future.lines) {
        if let Some(description) = catalogue.get(&line.stock_code) {
            seen_before += 1;
            assert!(line.description.is_empty() || line.description == *description);
        }
    }
    assert!(seen_before > 1000, "only {seen_before} lines of known articles");
}

#[test]
fn lines_are_sorted_by_time_and_invoices_by_number() {
    let lines = well_formed(&write(busy()).lines);
    assert!(lines.is_sorted_by_key(|line| line.minute));
    let mut seen = HashSet::new();
    let first_seen = lines.iter().filter(|line| seen.insert(line.key.clone()));
    let numbers: Vec<u32> = first_seen.map(|line| line.key.trim_start_matches('C').parse().expect("digits")).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    assert_eq!(numbers[0], busy().first_invoice);
}

#[test]
fn an_invoice_has_one_minute_one_customer_and_one_country() {
    for (key, lines) in by_invoice(&write(busy()).lines) {
        let of = |line: &Read| (line.minute, line.customer.clone(), line.country.clone());
        let distinct: HashSet<_> = lines.iter().map(of).collect();
        assert_eq!(distinct.len(), 1, "{key}: {distinct:?}");
    }
}

#[test]
fn some_invoices_of_one_minute_are_mixed_and_most_are_not() {
    let lines = well_formed(&write(busy()).lines);
    let runs = lines.chunk_by(|a, b| a.key == b.key).count();
    let invoices = by_invoice(&write(busy()).lines).len();
    assert!(runs > invoices, "nothing is mixed");
    assert!(runs < 2 * invoices, "{runs} runs of {invoices} invoices");
}

#[test]
fn ordinary_invoices_keep_the_opening_hours() {
    let written = write(busy());
    let labels = labels_of(&written);
    let is_night = |key: &str| labels.get(key).is_some_and(|kind| kind == "night_order");
    let mut weekdays = HashSet::new();
    for line in well_formed(&written.lines) {
        weekdays.insert(line.minute.weekday());
        let hours = match line.minute.weekday() {
            _ if is_night(&line.key) => 1..4,
            Weekday::Sat => 0..0,
            Weekday::Sun => 10..16,
            _ => 8..18,
        };
        assert!(hours.contains(&line.minute.hour()), "{line:?}");
    }
    assert_eq!(weekdays.len(), 6);
}

#[test]
fn every_label_names_an_invoice_that_shows_it() {
    let written = write(busy());
    let invoices = by_invoice(&written.lines);
    let labels = labels_of(&written);
    for (key, kind) in &labels {
        let lines = &invoices[key];
        let items: i64 = lines.iter().map(|line| line.quantity).sum();
        let mut prices: Vec<f64> = lines.iter().map(|line| line.price).collect();
        prices.sort_by(f64::total_cmp);
        let shows = match kind.as_str() {
            "bulk_quantity" => items >= 4000,
            "price_spike" => *prices.last().expect("a line") >= 495.0,
            "night_order" => lines[0].minute.hour() < 4,
            "pence_as_pounds" => prices[0] >= 4.0 && prices.iter().sum::<f64>() >= 10.0,
            "huge_basket" => lines.len() >= 30 && items >= 1000,
            "unmarked_return" => items <= -1000,
            other => panic!("unknown label {other}"),
        };
        assert!(shows, "{key} is no {kind}: {lines:?}");
        assert!(!lines[0].customer.is_empty(), "{key} cannot be scored");
    }
    let kinds: BTreeSet<&str> = labels.values().map(String::as_str).collect();
    assert_eq!(kinds.len(), Anomaly::ALL.len(), "a fortnight shows all kinds");
}

#[test]
fn cancellations_take_back_what_the_customer_bought_before() {
    let mut bought: HashMap<(String, String), i64> = HashMap::new();
    let mut cancelled_lines = 0;
    // Garbled lines were bought too, but cannot be read here.
    let config = Config { malformed_rate: 0.0, ..busy() };
    for line in well_formed(&write(config).lines) {
        let left = bought.entry((line.customer, line.stock_code)).or_default();
        if line.key.starts_with('C') {
            cancelled_lines += 1;
            assert!(line.quantity < 0, "{} takes nothing back", line.key);
        }
        if line.key.starts_with('C') || line.quantity > 0 {
            *left += line.quantity;
        }
        assert!(*left >= 0, "{} takes back what was not bought", line.key);
    }
    assert!(cancelled_lines > 20, "only {cancelled_lines} cancelled lines");
}

#[test]
fn the_summary_counts_what_is_written() {
    let written = write(busy());
    let invoices = by_invoice(&written.lines);
    let count = |matches: &dyn Fn(&str, &Read) -> bool| {
        invoices.iter().filter(|(key, lines)| matches(key, &lines[0])).count() as u64
    };
    let malformed = written.lines.lines().filter(|line| read(line).is_none());
    let mut anomalies: BTreeMap<&str, u64> = BTreeMap::new();
    let labels = labels_of(&written);
    for kind in labels.values() {
        *anomalies.entry(kind.as_str()).or_default() += 1;
    }
    let summary = &written.summary;
    assert_eq!(summary.lines, written.lines.lines().count() as u64);
    assert_eq!(summary.invoices, invoices.len() as u64);
    assert_eq!(summary.cancellations, count(&|key, _| key.starts_with('C')));
    assert_eq!(summary.missing_customers, count(&|_, line| line.customer.is_empty()));
    assert_eq!(summary.malformed_lines, malformed.count() as u64);
    assert_eq!(summary.anomalous(), labels.len() as u64);
    let counted = summary.anomalies.iter().map(|(kind, n)| (kind.label(), *n));
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), anomalies);
    assert!(summary.malformed_lines > 0 && summary.missing_customers > 0);
}

#[test]
fn descriptions_hold_commas_and_quotes() {
    let lines = write(busy()).lines;
    assert!(lines.lines().any(|line| line.contains("\"\"")));
    let descriptions: Vec<String> = well_formed(&lines).into_iter().map(|l| l.description).collect();
    assert!(descriptions.iter().any(|text| text.contains(',')));
    assert!(descriptions.iter().any(|text| text.contains('"')));
    assert!(descriptions.iter().any(|text| text.ends_with(' ')));
}

#[test]
fn few_customers_buy_much() {
    let mut invoices: HashMap<String, u32> = HashMap::new();
    for lines in by_invoice(&write(Config { days: 90, ..busy() }).lines).values() {
        *invoices.entry(lines[0].customer.clone()).or_default() += 1;
    }
    invoices.remove("");
    let mut counts: Vec<u32> = invoices.into_values().collect();
    counts.sort_unstable();
    let (total, top) = (counts.iter().sum::<u32>(), counts.iter().rev().take(counts.len() / 10).sum::<u32>());
    assert!(top * 10 > total * 3, "the top tenth has {top} of {total}");
}

#[test]
fn every_flaw_breaks_its_line_and_nothing_else_does() {
    let config = busy().check().expect("in range");
    let mut flaws = BTreeSet::new();
    for day in Simulation::new(config) {
        let mut written = Vec::new();
        day.write_lines(&mut written).expect("a vector takes all");
        let written = String::from_utf8(written).expect("UTF-8");
        assert_eq!(written.lines().count(), day.records().count());
        for (record, (_, line)) in written.lines().zip(day.records()) {
            assert_eq!(read(record).is_none(), line.flaw.is_some(), "{record}");
            flaws.extend(line.flaw);
        }
    }
    assert_eq!(flaws.len(), Flaw::ALL.len(), "a fortnight shows all flaws");
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let good = Config::default();
    let bad = |change: &dyn Fn(&mut Config)| {
        let mut config = good;
        change(&mut config);
        config.check().map_err(|error| error.to_string())
    };
    assert!(good.check().is_ok());
    let refused = [
        (bad(&|c| c.days = 0), "0 days"),
        (bad(&|c| c.days = 4000), "4000 days"),
        (bad(&|c| c.start = date(1752, 9, 14)), "1752-09-14"),
        (bad(&|c| c.invoices_per_day = 0.0), "0 invoices per day"),
        (bad(&|c| c.invoices_per_day = f64::NAN), "NaN invoices"),
        (bad(&|c| c.invoices_per_day = f64::INFINITY), "inf invoices"),
        (bad(&|c| c.first_invoice = 99_999), "99999"),
        (bad(&|c| c.first_invoice = 1_000_000), "1000000"),
        (bad(&|c| c.anomaly_rate = 1.5), "anomaly rate 1.5"),
        (bad(&|c| c.malformed_rate = -0.1), "malformed rate -0.1"),
        (bad(&|c| c.missing_customer_rate = f64::NAN), "customer rate NaN"),
        (bad(&|c| c.cancellation_rate = 2.0), "cancellation rate 2"),
    ];
    for (outcome, words) in refused {
        let error = outcome.expect_err(words);
        assert!(error.contains(words), "{error}");
    }
}

prop_compose! {
    fn any_config()(
        seed: u64,
        start in -25_000..80_000_i32,
        days in 1..9_u32,
        invoices_per_day in 0.1..25.0,
        first_invoice in 100_000..=999_999_u32,
        rates in proptest::array::uniform4(prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0]),
    ) -> Config {
        let epoch = date(1970, 1, 1).num_days_from_ce();
        let [anomaly_rate, malformed_rate, missing_customer_rate, cancellation_rate] = rates;
        Config {
            seed,
            start: NaiveDate::from_num_days_from_ce_opt(epoch + start).unwrap_or_default(),
            days,
            invoices_per_day,
            first_invoice,
            anomaly_rate,
            malformed_rate,
            missing_customer_rate,
            cancellation_rate,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_checked_config_gives_lines_that_add_up(config in any_config()) {
        let written = write(config);
        let readable = well_formed(&written.lines);
        let summary = &written.summary;
        prop_assert_eq!(readable.len() as u64 + summary.malformed_lines, summary.lines);
        let keys: HashSet<&str> = readable.iter().map(|line| line.key.as_str()).collect();
        prop_assert_eq!(keys.len() as u64, summary.invoices);
        prop_assert!(readable.is_sorted_by_key(|line| line.minute));
        for line in readable {
            prop_assert!(line.quantity != 0 && line.price >= 0.0, "{:?}", line);
            prop_assert_eq!(line.minute.second(), 0);
        }
    }
}
