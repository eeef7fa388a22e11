//! What people see and scripts rely on.

use crate::fixtures::{Workplace, invoices};

#[test]
fn fit_may_be_said_or_not() {
    let workplace = Workplace::with_history(&invoices(60));
    let said = workplace.run(&["fit", "--input", "history.csv", "--device", "cpu", "--seed", "7"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let model = workplace.model("kmeans");
    let not_said = workplace.run(&["--seed", "7", "--device", "cpu", "--input", "history.csv"]);
    assert_eq!(not_said.code, Some(0), "{not_said:?}");
    assert_eq!(workplace.model("kmeans"), model);
}

#[test]
fn the_closing_table_tells_everything() {
    let lines =
        invoices(60) + "7,s,d,1,3/1/2010 8:00,-1,c,UK\nC8,s,d,-1,3/1/2010 8:00,1,c,UK\n9,s,d,1,3/1/2010 8:00,1,,UK\n";
    let run = Workplace::with_history(&lines).train("history.csv", &[]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(run.stdout.starts_with("device: cpu (flex): "), "{}", run.stdout);
    for wanted in [
        "rows read",
        "123",
        "out_of_range:UnitPrice, first on line 122",
        "cancellation",
        "missing_required:CustomerID",
        "trained on",
        "AvgUnitPrice",
        "NumberItems",
        "inertia of kmeans",
        "inertia of bisecting-kmeans",
        " * ",
        "threshold",
        "quantile = 0.99",
        "fit kmeans",
        "score kmeans",
        "total",
        "models and reports are in models/invoices",
    ] {
        assert!(run.stdout.contains(wanted), "`{wanted}` is missing in\n{}", run.stdout);
    }
    for line in run.stdout.lines() {
        assert!(line.chars().count() <= 100 && line.trim_end() == line, "`{line}`");
    }
}

#[test]
fn quiet_prints_nothing() {
    let run = Workplace::with_history(&invoices(60)).train("history.csv", &["--quiet"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn help_is_a_manual() {
    let run = Workplace::new().run(&["--help"]);
    assert_eq!(run.code, Some(0));
    for wanted in [
        "EXAMPLES",
        "trainer inspect models/invoices",
        "EXIT STATUS",
        "--pipeline",
        "--input",
        "--models",
        "--device",
        "--seed",
        "--quiet",
    ] {
        assert!(run.stdout.contains(wanted), "`{wanted}` is missing in\n{}", run.stdout);
    }
}

#[test]
fn inspect_shows_models() {
    let workplace = Workplace::with_history(&invoices(60));
    assert_eq!(workplace.train("history.csv", &[]).code, Some(0));
    let file = workplace.run(&["inspect", "models/invoices/kmeans/model.json"]);
    let folder = workplace.run(&["inspect", "models"]);
    assert_eq!((file.code, folder.code), (Some(0), Some(0)));
    for wanted in [
        "kmeans of pipeline invoices, version ",
        "NumberItems",
        "60 entities, seed 42, device cpu",
        "k = { elbow = 0.7, max = 5 }",
    ] {
        assert!(file.stdout.contains(wanted), "`{wanted}` is missing in\n{}", file.stdout);
    }
    assert!(folder.stdout.contains(&file.stdout) && folder.stdout.contains("bisecting-kmeans of pipeline"));
}

#[test]
fn inspect_names_what_is_wrong() {
    let workplace = Workplace::with_history(&invoices(60));
    assert_eq!(workplace.train("history.csv", &[]).code, Some(0));
    let model = workplace.model("kmeans");
    workplace.write("models/invoices/kmeans/model.json", &model.as_bytes()[..model.len() / 2]);
    let damaged = workplace.run(&["inspect", "models"]);
    assert_eq!((damaged.code, damaged.stdout.as_str()), (Some(1), ""));
    assert!(
        damaged.stderr.starts_with("error: model models/invoices/kmeans/model.json is damaged: "),
        "{}",
        damaged.stderr
    );
    let none = workplace.run(&["inspect", "models/invoices/reports"]);
    assert_eq!(
        none.stderr,
        "error: there is no model in models/invoices/reports: train one with `trainer`, or name another folder\n"
    );
}

#[test]
fn devices_are_listed_for_people_and_for_programs() {
    let workplace = Workplace::new();
    let table = workplace.run(&["devices"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.stdout.contains("cpu (flex)") && table.stdout.contains("`auto` takes a GPU if"), "{}", table.stdout);
    assert!(table.stdout.lines().all(|line| line.chars().count() <= 100), "{}", table.stdout);
    let json = workplace.run(&["devices", "--json"]);
    let survey: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    let devices = survey["devices"].as_array().expect("a list");
    assert_eq!(devices[0]["class"], "cpu");
    for device in devices {
        let rate = |name: &str| device["measured"][name].as_f64().is_some_and(|rate| rate > 0.0);
        assert!(rate("points_per_second") && rate("copied_bytes_per_second"), "{device}");
    }
    let sees_gpu = devices.iter().any(|device| device["device"].as_str().is_some_and(|name| name.starts_with("gpu:")));
    assert!(sees_gpu == survey["why_no_gpu"].is_null(), "a GPU, or why there is none: {survey}");
}

#[test]
fn flags_override_the_pipeline_file() {
    let workplace = Workplace::with_history(&invoices(60));
    let run = workplace.train("history.csv", &["--k", "3", "--top", "5", "--scaling", "none"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for detector in ["kmeans", "bisecting-kmeans"] {
        let model: serde_json::Value = serde_json::from_str(&workplace.model(detector)).unwrap();
        assert_eq!(model["parameters"]["k"], 3);
        assert_eq!(model["learned"][detector]["inertia_by_k"].as_array().unwrap().len(), 1);
        assert_eq!(model["learned"][detector]["inertia_by_k"][0][0], 3);
        assert_eq!(model["threshold"]["policy"]["top"], 5);
        assert_eq!(model["scaler"]["method"], "none");
    }
}

#[test]
fn detectors_that_need_no_training_are_passed_over() {
    let workplace = Workplace::new();
    let detectors = r#"{ name = "zscore", algorithm = "zscore-window", value = "amount", topic = "odd" }"#;
    let pipeline = |detectors: &str| {
        format!(
            r#"
            name = "payments"
            input = {{ topic = "in", columns = ["id", "amount:float", "at:datetime"], datetime_formats = ["rfc3339"] }}
            entity = {{ key = "id" }}
            features = {{ amount = "amount" }}
            detectors = [{detectors}]
            outputs.erroneous = "bad"
            "#
        )
    };
    workplace.write("alone.toml", pipeline(detectors).as_bytes());
    let alone = workplace.run(&["--pipeline", "alone.toml", "--models", "models"]);
    assert_eq!((alone.code, alone.stderr.as_str()), (Some(0), ""));
    let wanted = "\n zscore: needs no training\n pipeline `payments` has nothing to train\n";
    assert_eq!(alone.stdout, wanted);
    assert!(!workplace.path("models").exists());
    let beside = format!("{detectors}, {{ name = \"kmeans\", algorithm = \"kmeans\", k = 2, topic = \"far\" }}");
    workplace.write("beside.toml", pipeline(&beside).as_bytes());
    let lines: String = (0..50).map(|n| format!("p{n},{},2024-03-01T10:00:{n:02}Z\n", n % 7)).collect();
    workplace.write("payments.csv", format!("id,amount,at\n{lines}").as_bytes());
    let run = workplace.run(&["--pipeline", "beside.toml", "--input", "payments.csv", "--device", "cpu"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("\n zscore: needs no training\n"), "{}", run.stdout);
    assert!(!workplace.path("models/payments/zscore").exists());
    assert!(workplace.path("models/payments/kmeans/model.json").exists());
}
