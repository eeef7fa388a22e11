//! Options from elsewhere than the command line.

use crate::fixtures::{Workplace, invoices};

/// The models are the same wherever the options stand, and what is typed has precedence.
#[test]
fn options_may_stand_in_a_file() {
    let workplace = Workplace::with_history(&invoices(60));
    let typed = ["--input", "history.csv", "--device", "cpu", "--seed", "7", "--k", "2"];
    assert_eq!(workplace.run(&typed).code, Some(0));
    let model = workplace.model("kmeans");
    let file = "device = 'cpu'\nseed = 8\n[fit]\ninput = ['history.csv']\nseed = 7\nk = 2\nquiet = true\n";
    workplace.write("trainer.toml", file.as_bytes());
    let run = workplace.run(&["--config", "trainer.toml"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(0), "", ""));
    assert_eq!(workplace.model("kmeans"), model);
    let other = workplace.run(&["fit", "--config", "trainer.toml", "--seed", "9"]);
    assert_eq!(other.code, Some(0), "{other:?}");
    assert_ne!(workplace.model("kmeans"), model);
}

#[test]
fn a_key_that_names_nothing_is_refused() {
    let workplace = Workplace::with_history(&invoices(60));
    workplace.write("trainer.toml", b"[fit]\ninputs = ['history.csv']\n");
    let run = workplace.run(&["--config", "trainer.toml"]);
    assert_eq!(run.code, Some(2));
    assert_eq!(run.stderr, "error: trainer.toml: there is no option `fit.inputs`; did you mean `input`?\n");
    assert!(!workplace.path("models").exists());
}

#[test]
fn the_version_is_told_to_people_and_to_programs() {
    let workplace = Workplace::new();
    let (short, lines) = (workplace.run(&["--version"]).stdout, workplace.run(&["version"]).stdout);
    assert!(lines.starts_with(&short) && lines.contains("compiler: rustc "), "{short}{lines}");
    let json: serde_json::Value = serde_json::from_str(&workplace.run(&["version", "--json"]).stdout).unwrap();
    assert_eq!(json["program"], "trainer");
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}
