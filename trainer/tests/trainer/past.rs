//! What came before a record is the same number at training time, on the stream, and by its definition, on every real
//! transaction.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use shared::history::History;
use shared::line::{LineParser, Order};
use shared::pipeline::{Pipeline, Scored};
use shared::records::FileRecords;
use trainer::entities::EntityAggregator;
use trainer::load::{LINES_A_CHUNK, load};
use trainer::progress::Progress;

use crate::fixtures::{Workplace, real_transactions};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Windows, with the length of the panes that bound them.
const WINDOWS: [(&str, i64, i64); 4] =
    [("1h", HOUR, HOUR / 12), ("1d", DAY, HOUR), ("7d", 7 * DAY, 6 * HOUR), ("30d", 30 * DAY, DAY)];

const STATISTICS: [&str; 8] = ["count", "sum", "mean", "std", "min", "max", "ratio", "deviation"];

/// Everything that can be asked of transactions without places.
fn every_feature() -> Pipeline {
    let shipped = include_str!("../../../resources/pipelines/fraud-handbook.toml");
    let (before, rest) = shipped.split_once("[features]").unwrap();
    let (_, detectors) = rest.split_once("[[detectors]]").unwrap();
    let mut features = vec![
        "amount = \"amount\"".to_owned(),
        "log = \"log1p(amount)\"".into(),
        "hour = \"hour(time)\"".into(),
        "hour_sin = \"sin(hour(time))\"".into(),
        "day = \"day_of_week(time)\"".into(),
        "day_cos = \"cos(day_of_week(time))\"".into(),
    ];
    for key in ["customer", "terminal"] {
        for (window, ..) in WINDOWS {
            for statistic in STATISTICS {
                let column = if statistic == "count" { "" } else { "amount" };
                for (name, including) in [("", ""), ("_this", " including this")] {
                    features.push(format!(
                        "{statistic}_{key}_{window}{name} = \"{statistic}({column}) by {key} over {window}{including}\""
                    ));
                }
            }
        }
        features.push(format!("since_{key} = \"seconds_since_last() by {key}\""));
    }
    features.push("new = \"is_new(terminal) by customer\"".into());
    Pipeline::parse(&format!("{before}[features]\n{}\n[[detectors]]{detectors}", features.join("\n")), "every feature")
        .unwrap()
}

struct Record {
    key: String,
    time: i64,
    customer: String,
    terminal: String,
    amount: f64,
}

/// Feature by feature from all that came before: no panes, no state.
struct Definition {
    records: Vec<Record>,
    /// For each customer and terminal the indices of its records, and sums of amounts before each.
    of: HashMap<(bool, String), (Vec<usize>, Vec<f64>)>,
}

impl Definition {
    fn new(records: Vec<Record>) -> Self {
        let mut of: HashMap<(bool, String), (Vec<usize>, Vec<f64>)> = HashMap::new();
        for (index, record) in records.iter().enumerate() {
            for key in [(false, record.customer.clone()), (true, record.terminal.clone())] {
                let (indices, sums) = of.entry(key).or_insert_with(|| (Vec::new(), vec![0.0]));
                indices.push(index);
                sums.push(sums.last().unwrap() + record.amount);
            }
        }
        Self { records, of }
    }

    fn features(&self, index: usize) -> Vec<f64> {
        let record = &self.records[index];
        let (amount, now) = (record.amount, record.time);
        let since_monday = now + 3 * DAY;
        let turn = |part: i64, whole: i64| part as f64 / whole as f64 * std::f64::consts::TAU;
        let mut values = vec![
            amount,
            amount.ln_1p(),
            (now.rem_euclid(DAY) / HOUR) as f64,
            turn(now.rem_euclid(DAY), DAY).sin(),
            since_monday.div_euclid(DAY).rem_euclid(7) as f64,
            turn(since_monday.rem_euclid(7 * DAY), 7 * DAY).cos(),
        ];
        let mut since = Vec::new();
        for key in [(false, record.customer.clone()), (true, record.terminal.clone())] {
            let indices = &self.of[&key].0;
            let place = indices.binary_search(&index).unwrap();
            for (_, span, pane) in WINDOWS {
                let start = (now - span).div_euclid(pane) * pane + pane;
                let first = indices.partition_point(|&earlier| self.records[earlier].time < start).min(place);
                let window: Vec<f64> =
                    indices[first..place].iter().map(|&earlier| self.records[earlier].amount).collect();
                let with_this: Vec<f64> = window.iter().copied().chain([amount]).collect();
                let pairs = statistics(&window, amount).into_iter().zip(statistics(&with_this, amount));
                values.extend(pairs.flat_map(|(without, with)| [without, with]));
            }
            let last = place.checked_sub(1).map(|last| now - self.records[indices[last]].time);
            since.push(last.filter(|since| *since <= 30 * DAY).unwrap_or(30 * DAY) as f64 / 1000.0);
            values.push(since[since.len() - 1]);
        }
        let indices = &self.of[&(false, record.customer.clone())].0;
        let oldest = (now - 30 * DAY).div_euclid(DAY);
        let met = indices.iter().take_while(|&&earlier| earlier < index).any(|&earlier| {
            let earlier = &self.records[earlier];
            earlier.terminal == record.terminal && earlier.time.div_euclid(DAY) >= oldest
        });
        values.push(f64::from(u8::from(!met)));
        values
    }
}

/// In the order of [`STATISTICS`].
fn statistics(window: &[f64], amount: f64) -> [f64; 8] {
    let count = window.len() as f64;
    let sum: f64 = window.iter().sum();
    let mean = if window.is_empty() { amount } else { sum / count };
    let squares: f64 = window.iter().map(|value| (value - mean) * (value - mean)).sum();
    let std = if window.len() < 2 { 0.0 } else { (squares / (count - 1.0)).sqrt() };
    let min = window.iter().copied().reduce(f64::min).unwrap_or(amount);
    let max = window.iter().copied().reduce(f64::max).unwrap_or(amount);
    let ratio = if mean == 0.0 { 1.0 } else { amount / mean };
    // Equal amounts have no spread, whatever rounding leaves of it.
    let deviation = if min == max { 0.0 } else { (amount - mean) / std };
    [count, sum, mean, std, min, max, ratio, deviation]
}

/// As the scorer does it: record by record.
fn streamed(pipeline: &Arc<Pipeline>, files: &[PathBuf]) -> (Vec<Record>, Vec<Vec<f64>>) {
    let Scored::Records(records) = &pipeline.scored else { panic!("records by themselves") };
    let mut parser = LineParser::new(Arc::clone(&pipeline.schema));
    let mut history = History::new(&records.features, true);
    let (mut seen, mut values) = (Vec::new(), Vec::new());
    for file in files {
        let bytes = fs::read(file).unwrap();
        let mut records_of =
            FileRecords::new(&bytes[..], &pipeline.schema.csv, pipeline.schema.max_record_bytes).unwrap();
        let header = records_of.next_record().unwrap().expect("a header");
        let names: Vec<String> = header.fields.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let order = Order::from_header(&names.iter().map(String::as_str).collect::<Vec<_>>(), &pipeline.schema.columns)
            .unwrap();
        while let Some(record) = records_of.next_record().unwrap() {
            let judged = parser.parse_file_record(&record, &order, |line| {
                let text = |column: usize| line[column].text().unwrap_or_default().to_owned();
                let shared::line::Value::Float(amount) = line[4] else { panic!("an amount") };
                let time = line[1].datetime().expect("a date");
                let mut row = Vec::new();
                history.featurize(&records.features, line, time, &mut row);
                seen.push(Record { key: text(0), time, customer: text(2), terminal: text(3), amount });
                values.push(row);
            });
            judged.unwrap();
        }
    }
    (seen, values)
}

fn assert_parity(files: &[PathBuf]) {
    let pipeline = Arc::new(every_feature());
    let (records, stream) = streamed(&pipeline, files);
    let mut aggregator = EntityAggregator::new(&pipeline);
    load(&pipeline, files, Progress { quiet: true }, &mut |lines, _| aggregator.add(lines)).unwrap();
    let entities = aggregator.finish().unwrap();
    assert_eq!((entities.total(), entities.keys.len()), (records.len(), records.len()));
    let (names, definition) = (pipeline.feature_names(), Definition::new(records));
    let mut largest = (0.0, String::new());
    for (index, (trained, streamed)) in entities.features.rows().zip(&stream).enumerate() {
        let record = &definition.records[index];
        assert_eq!(entities.keys.get(index), record.key);
        // The same code sees the same records in the same order: the same bits.
        assert!(trained.iter().zip(streamed).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", record.key);
        for ((name, found), defined) in names.iter().zip(streamed).zip(definition.features(index)) {
            let difference = (found - defined).abs() / defined.abs().max(1.0);
            if difference > largest.0 {
                largest = (difference, format!("{name} of {}: {found} and {defined}", record.key));
            }
        }
    }
    println!("{} records, {} features, largest difference {:e}: {}", stream.len(), names.len(), largest.0, largest.1);
    assert!(largest.0 < 1e-6, "{largest:?}");
}

#[test]
fn every_real_transaction_has_the_same_past_in_training_and_on_the_stream() {
    if let (Some(history), Some(live)) = (real_transactions("training.csv"), real_transactions("production.csv")) {
        assert_parity(&[history, live]);
    }
}

const HEADER: &str = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT\n";

/// Transactions in the order of their time, a line each.
fn made_up(count: u64) -> Vec<String> {
    let (mut time, mut state) = (1_500_000_000i64, 7u64);
    let line = |index| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = state >> 33;
        time += [0, 1, 60, 3_000, 40_000][(draw % 5) as usize];
        let date = shared::time::format_timestamp(time * 1000);
        let (customer, terminal, cents) = (draw / 5 % 4, draw / 20 % 6, draw / 120 % 30_000);
        format!("{index},{date},{customer},{terminal},{}.{:02}\n", cents / 100, cents % 100)
    };
    (0..count).map(line).collect()
}

#[test]
fn files_may_come_in_any_order() {
    let workplace = Workplace::new();
    // More than a chunk, so that those of the second file are found to be older than what was judged.
    let lines = made_up(LINES_A_CHUNK as u64 + 5_000);
    let (earlier, later) = lines.split_at(3_000);
    for (name, lines) in [("earlier.csv", earlier), ("later.csv", later)] {
        workplace.write(name, format!("{HEADER}{}", lines.concat()).as_bytes());
    }
    let train = |files: [&str; 2], models: &str| {
        let run = workplace.run(
            &[
                &["--pipeline", "fraud-handbook", "--device", "cpu", "--quiet", "--models", models, "--input"][..],
                &files,
            ]
            .concat(),
        );
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        fs::read_to_string(workplace.path(models).join("fraud-handbook/kmeans/model.json")).unwrap()
    };
    assert_eq!(train(["later.csv", "earlier.csv"], "reversed"), train(["earlier.csv", "later.csv"], "ordered"));
}

#[test]
fn made_up_transactions_have_too() {
    let workplace = Workplace::new();
    let text = format!("{HEADER}{}", made_up(3_000).concat());
    workplace.write("transactions.csv", text.as_bytes());
    assert_parity(&[workplace.path("transactions.csv")]);
}
