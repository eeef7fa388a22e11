//! Every algorithm, from a pipeline file through the trainer to the scorer, and the better one in another's place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use shared::detectors::Algorithm;
use shared::line::{LineParser, Order, Value as Field};
use shared::pipeline::Pipeline;
use shared::records::FileRecords;
use tests::{repository, scorer, text, trainer};

/// The invoices' pipeline with a detector of every algorithm, each with another way to set its threshold.
fn pipeline_with_all() -> String {
    let file = std::fs::read_to_string(repository().join("resources/pipelines/invoices.toml")).unwrap();
    let (head, rest) = file.split_once("[[detectors]]").unwrap();
    let (_, outputs) = rest.split_once("[outputs]").unwrap();
    let thresholds = ["{ quantile = 0.98 }", "{ top = 20 }", "{ false_alarm_rate = 0.02 }"];
    let detector = |(index, name): (usize, &&str)| {
        let threshold = thresholds[index % thresholds.len()];
        let more = match *name {
            "kmeans" => "k = 6\ncorrection = \"both\"\nthreshold_per_cluster = true\n",
            "ensemble" => "members = [\"ecod\", { algorithm = \"isolation-forest\", n_trees = 20 }]\n",
            _ => "",
        };
        format!(
            "[[detectors]]\nname = \"{name}\"\nalgorithm = \"{name}\"\nscaling = \"symlog\"\nthreshold = {threshold}\n\
             {more}topic = \"odd-{name}\"\n\n"
        )
    };
    let detectors: String = Algorithm::NAMES.iter().enumerate().map(detector).collect();
    format!("{head}{detectors}[outputs]{outputs}")
}

/// What `scorer score` says of the production sample, a verdict a line.
fn verdicts(pipeline: &Path, models: &Path, folder: &Path) -> Vec<Value> {
    let output = folder.join("messages.jsonl");
    let run = scorer(&[
        "score",
        "resources/production.csv",
        "--pipeline",
        text(pipeline),
        "--models",
        text(models),
        "--device",
        "cpu",
        "--output",
        text(&output),
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let messages = std::fs::read_to_string(&output).unwrap();
    let parsed = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    parsed.filter(|message| message["score"].is_number()).collect()
}

fn number(verdict: &Value, name: &str) -> f64 {
    verdict[name].as_f64().unwrap_or_else(|| panic!("no {name} in {verdict}"))
}

#[test]
fn every_algorithm_goes_live_by_a_pipeline_file() {
    let folder = tempfile::tempdir().unwrap();
    let (pipeline, models) = (folder.path().join("all.toml"), folder.path().join("models"));
    std::fs::write(&pipeline, pipeline_with_all()).unwrap();
    let run = trainer(&[
        "--pipeline",
        text(&pipeline),
        "--input",
        "resources/training.csv",
        "--models",
        text(&models),
        "--device",
        "cpu",
    ]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    let inspected = trainer(&["inspect", text(&models)]);
    assert_eq!(inspected.code, Some(0), "{}", inspected.stderr);
    let mut anomalies: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for verdict in verdicts(&pipeline, &models, folder.path()) {
        let detector = verdict["detector"].as_str().unwrap();
        let is_anomalous = verdict["anomalous"].as_bool().unwrap();
        assert_eq!(is_anomalous, number(&verdict, "score") > number(&verdict, "threshold"), "{verdict}");
        let p_value = number(&verdict, "p_value");
        assert!(p_value > 0.0 && p_value <= 1.0, "{verdict}");
        let is_conformal = Algorithm::NAMES.iter().position(|name| *name == detector).unwrap() % 3 == 2;
        assert!(!(is_conformal && is_anomalous) || p_value <= 0.02 + 1e-9, "{verdict}");
        let shares: f64 = verdict["contributions"].as_object().unwrap().values().filter_map(Value::as_f64).sum();
        assert!((shares - 1.0).abs() < 0.01 || shares == 0.0, "{verdict}");
        assert_eq!(verdict["expected"].as_object().unwrap().len(), 5, "{verdict}");
        let counts = anomalies.entry(detector.to_owned()).or_default();
        counts.0 += 1;
        counts.1 += usize::from(is_anomalous);
    }
    assert_eq!(anomalies.len(), Algorithm::NAMES.len());
    for (detector, (all, anomalous)) in anomalies {
        assert!(all > 1000 && anomalous >= 5 && anomalous < all / 4, "{detector}: {anomalous} of {all}");
    }
}

/// Of each invoice of the production sample, by definition: its lines, the medians of the price and of what a line comes to, how
/// many products there are, and the share of the lines that are one.
fn by_definition(pipeline: &Pipeline) -> BTreeMap<String, (u64, [f64; 4])> {
    let bytes = std::fs::read(repository().join("resources/production.csv")).unwrap();
    let mut records = FileRecords::new(bytes.as_slice(), &pipeline.schema.csv, usize::MAX).unwrap();
    records.next_record().unwrap().expect("a header");
    let column = |name: &str| pipeline.column(name).unwrap();
    let (code, quantity, price) = (column("StockCode"), column("Quantity"), column("UnitPrice"));
    let mut invoices: BTreeMap<String, Vec<(String, f64, f64)>> = BTreeMap::new();
    let mut parser = LineParser::new(pipeline.schema.clone());
    while let Some(record) = records.next_record().unwrap() {
        // Lines that are erroneous are of no invoice.
        let _ = parser.parse_file_record(&record, &Order::Same, |line: &[Field<'_>]| {
            let (code, price) = (line[code].text().unwrap_or_default().to_owned(), line[price].number().unwrap());
            let line_total = line[quantity].number().unwrap() * price;
            let key = line[pipeline.entity.key].text().unwrap().to_owned();
            invoices.entry(key).or_default().push((code, price, line_total));
        });
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
    };
    let of = |(key, lines): (String, Vec<(String, f64, f64)>)| {
        let n = lines.len() as f64;
        let medians =
            [lines.iter().map(|line| line.1).collect(), lines.iter().map(|line| line.2).collect()].map(median);
        let products = lines.iter().map(|line| &line.0).filter(|code| !code.is_empty()).collect::<BTreeSet<_>>().len();
        let post = lines.iter().filter(|line| line.0 == "21050").count() as f64;
        (key, (lines.len() as u64, [medians[0], medians[1], products as f64, post / n]))
    };
    invoices.into_iter().map(of).collect()
}

#[test]
fn medians_distinct_values_and_shares_of_a_verdict_are_those_of_the_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (file, models) = (folder.path().join("kept.toml"), folder.path().join("models"));
    let shipped = std::fs::read_to_string(repository().join("resources/pipelines/invoices.toml")).unwrap();
    let (head, rest) = shipped.split_once("[features]").unwrap();
    let (_, detectors) = rest.split_once("[[detectors]]").unwrap();
    let features = "MedianPrice = \"median(UnitPrice)\"\nMedianLine = \"median(Quantity * UnitPrice)\"\n\
                    Products = \"count_distinct(StockCode)\"\nOneProduct = \"share(StockCode = '21050')\"\n";
    std::fs::write(&file, format!("{head}[features]\n{features}\n[[detectors]]{detectors}")).unwrap();
    let input = ["--input", "resources/training.csv", "--device", "cpu", "--quiet"];
    let run = trainer(&[&["--pipeline", text(&file), "--models", text(&models)][..], &input].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    let expected = by_definition(&Pipeline::load(text(&file)).unwrap());
    let (mut whole, mut with_share) = (0, 0);
    for verdict in verdicts(&file, &models, folder.path()) {
        // Lines that came too late are of no invoice either.
        let Some((lines, values)) = expected.get(verdict["key"].as_str().unwrap()) else { panic!("{verdict}") };
        if verdict["lines"].as_u64() != Some(*lines) {
            continue;
        }
        for (name, value) in ["MedianPrice", "MedianLine", "Products", "OneProduct"].into_iter().zip(values) {
            let found = number(&verdict["features"], name);
            assert!((found - value).abs() <= 1e-9 * value.abs(), "{name} is {value}: {verdict}");
        }
        whole += 1;
        with_share += usize::from(values[3] > 0.0 && values[3] < 1.0);
    }
    assert!(whole > 1000 && with_share > 10, "{whole} and {with_share}");
}

#[test]
fn the_better_detector_takes_the_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let (models, output) = (folder.path().join("models"), folder.path().join("comparison"));
    let fit = ["--pipeline", "transactions", "--models", text(&models), "--device", "cpu", "--quiet"];
    let run = trainer(&fit);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let before = std::fs::read_to_string(models.join("transactions/kmeans/model.json")).unwrap();
    let mut compare = vec!["compare"];
    compare.extend(fit);
    compare.extend(["--output", text(&output), "--detectors", "ecod", "--promote", "kmeans"]);
    let run = trainer(&compare);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let after = std::fs::read_to_string(models.join("transactions/kmeans/model.json")).unwrap();
    assert_ne!(before, after);
    let out = folder.path().join("verdicts.jsonl");
    let sample = "resources/transactions/production.jsonl.gz";
    let score = ["score", sample, "--pipeline", "transactions", "--models", text(&models), "--output", text(&out)];
    let run = scorer(&score);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let verdicts = std::fs::read_to_string(&out).unwrap();
    let first = verdicts.lines().find(|line| line.contains("\"detector\":\"kmeans\"")).unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    assert!(first.get("cluster").is_none(), "ECOD has no clusters: {first}");
    assert_eq!(first["topic"], "transaction_anomalies_kmeans");
}
