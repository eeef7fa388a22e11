use std::io::Write as _;

use clap::{Args, CommandFactory as _, Subcommand};
use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;

#[derive(Debug, clap::Parser)]
#[command(name = "sample", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Sub {
    Run(Run),
    Show(Run),
    Reset(Reset),
    #[command(subcommand)]
    Write(Write),
}

#[derive(Debug, Subcommand)]
enum Write {
    Records(Records),
}

#[derive(Debug, Args)]
struct Run {
    #[arg(long, default_value_t = 100)]
    batch_records: u32,
    #[arg(long)]
    until_end: bool,
    #[arg(long, conflicts_with = "until_end")]
    until_caught_up: bool,
    #[arg(short = 'X', long = "property")]
    properties: Vec<String>,
    #[arg(long)]
    token: Option<String>,
    #[arg(long)]
    json_logs: bool,
    #[arg(long, requires = "json_logs")]
    interval: Option<String>,
    #[arg(long, num_args = 0..=1)]
    labels: Option<Option<String>>,
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

#[derive(Debug, Args)]
struct Reset {
    #[arg(long)]
    to: String,
}

#[derive(Debug, Args)]
struct Records {
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long)]
    topic: Option<String>,
}

/// An environment that says nothing.
const NOTHING: &[(&str, &str)] = &[];

const PROGRAM: Program = Program {
    default_command: "run",
    same_as: &[("show", "run")],
    only_with: &[OnlyWith { command: "write records", option: "brokers", with: "topic" }],
    secrets: &["token"],
    secret_pairs: &["property"],
    of_others: &["label"],
};

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn read(arguments: &[&str], environment: &[(&str, &str)], text: &str) -> Result<Parsed<Cli>, Failure> {
    let file = file(text);
    let path = file.path().to_str().unwrap();
    let arguments: Vec<OsString> = ["sample"].iter().chain(arguments).map(OsString::from).collect();
    let variables = environment.iter().copied().chain([("ATALAYA_CONFIG", path)]);
    let variables: Vec<(OsString, OsString)> = variables.map(|(name, value)| (name.into(), value.into())).collect();
    parse(&PROGRAM, &arguments, &variables)
}

fn setting(parsed: &Parsed<Cli>, name: &str) -> (Vec<String>, Source) {
    let found = parsed.settings.iter().find(|setting| setting.name == name).unwrap();
    (found.values.clone(), found.source.clone())
}

fn refusal(arguments: &[&str], environment: &[(&str, &str)], text: &str) -> String {
    match read(arguments, environment, text).unwrap_err() {
        Failure::Given(text) => text,
        Failure::CommandLine(error) => panic!("{error}"),
    }
}

proptest! {
    /// Of all sources that say something, the first in the order has the word, with the command's name or without it.
    #[test]
    fn the_first_source_wins(
        (typed, variable, own, of_all) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        command in prop::sample::select(vec![None, Some("run"), Some("show")]),
    ) {
        let mut arguments: Vec<&str> = command.into_iter().collect();
        if typed {
            arguments.push("--batch-records=1");
        }
        let environment: &[(&str, &str)] = if variable { &[("ATALAYA_BATCH_RECORDS", "2")] } else { &[] };
        let mut text = String::new();
        if of_all {
            text += "batch-records = 4\n";
        }
        if own {
            text += "[run]\nbatch-records = 3\n";
        }
        let parsed = read(&arguments, environment, &text).unwrap();
        let batch = match &parsed.command_line.command {
            Some(Sub::Run(run) | Sub::Show(run)) => run.batch_records,
            _ => parsed.command_line.run.batch_records,
        };
        let sources = [(typed, 1), (variable, 2), (own, 3), (of_all, 4), (true, 100)];
        let (_, expected) = sources.into_iter().find(|(says, _)| *says).unwrap();
        prop_assert_eq!(batch, expected);
        let (values, source) = setting(&parsed, "batch-records");
        prop_assert_eq!(values, [expected.to_string()]);
        let is_right = match expected {
            1 => source == Source::CommandLine,
            2 => source == Source::Environment("ATALAYA_BATCH_RECORDS".to_owned()),
            3 => matches!(source, Source::File { key, .. } if key == "run.batch-records"),
            4 => matches!(source, Source::File { key, .. } if key == "batch-records"),
            _ => source == Source::Default,
        };
        prop_assert!(is_right, "{expected}");
    }
}

#[test]
fn flags_are_on_or_off_and_an_empty_variable_is_not_set() {
    let is_on =
        |environment: &[(&str, &str)], text: &str| read(&[], environment, text).unwrap().command_line.run.until_end;
    assert!(is_on(&[("ATALAYA_UNTIL_END", "true")], ""));
    assert!(is_on(&[("ATALAYA_UNTIL_END", "1")], "until-end = false"));
    assert!(!is_on(&[("ATALAYA_UNTIL_END", "false")], "until-end = true"), "the variable has precedence");
    assert!(is_on(&[("ATALAYA_UNTIL_END", "")], "until-end = true"));
    let wrong = refusal(&[], &[("ATALAYA_UNTIL_END", "yes please")], "");
    assert_eq!(wrong, "ATALAYA_UNTIL_END: --until-end is on or off: use true or false");
}

#[test]
fn options_that_repeat_take_lists_and_others_do_not() {
    let properties =
        |environment: &[(&str, &str)], text: &str| read(&[], environment, text).unwrap().command_line.run.properties;
    assert_eq!(properties(&[("ATALAYA_PROPERTY", "a=1,2; b=3;")], ""), ["a=1,2", "b=3"]);
    assert_eq!(properties(&[], "[run]\nproperty = ['a=1;2', 'b=3']"), ["a=1;2", "b=3"]);
    assert_eq!(properties(&[], "property = 'a=1'"), ["a=1"]);
    let wrong = refusal(&[], &[], "batch-records = [1, 2]");
    assert!(wrong.ends_with("batch-records: --batch-records takes one value, not a list"), "{wrong}");
}

#[test]
fn an_option_with_an_optional_value_takes_true() {
    let labels = |text: &str| {
        read(&["run"], &[], text).map(|parsed| match parsed.command_line.command {
            Some(Sub::Run(run)) => run.labels,
            _ => panic!("another command"),
        })
    };
    assert_eq!(labels("labels = true").unwrap(), Some(None));
    assert_eq!(labels("labels = 'x'").unwrap(), Some(Some("x".to_owned())));
    assert_eq!(labels("labels = false").unwrap(), None);
}

/// What was set for all days does not stand in the way of what is typed today.
#[test]
fn what_excludes_something_with_precedence_is_left_out() {
    let parsed = read(&["--until-caught-up"], &[("ATALAYA_UNTIL_END", "true")], "").unwrap();
    assert!(parsed.command_line.run.until_caught_up && !parsed.command_line.run.until_end);
    assert_eq!(setting(&parsed, "until-end"), (vec!["false".to_owned()], Source::Default));
    let parsed = read(&[], &[("ATALAYA_UNTIL_END", "true")], "until-caught-up = true").unwrap();
    assert!(!parsed.command_line.run.until_caught_up && parsed.command_line.run.until_end);
    let both = refusal(&[], &[], "until-caught-up = true\nuntil-end = true");
    assert!(both.contains("until-end") && both.contains("cannot be used with"), "{both}");
}

#[test]
fn what_is_required_may_come_from_anywhere() {
    for (environment, text) in
        [(&[("ATALAYA_TO", "latest")][..], ""), (NOTHING, "to = 'latest'"), (NOTHING, "[reset]\nto = 'latest'")]
    {
        let Some(Sub::Reset(reset)) = read(&["reset"], environment, text).unwrap().command_line.command else {
            panic!("another command")
        };
        assert_eq!(reset.to, "latest");
    }
    assert!(matches!(read(&["reset"], &[], "").unwrap_err(), Failure::CommandLine(_)));
    let with = read(&["--interval", "10s"], &[("ATALAYA_JSON_LOGS", "true")], "").unwrap();
    assert_eq!(with.command_line.run.interval.as_deref(), Some("10s"));
    assert!(with.command_line.run.json_logs);
    let without = refusal(&[], &[("ATALAYA_INTERVAL", "10s")], "");
    assert!(without.contains("--json-logs") && without.contains("ATALAYA_INTERVAL"), "{without}");
}

#[test]
fn what_follows_two_dashes_stays_there() {
    let parsed = read(&["--", "--until-end"], &[("ATALAYA_BATCH_RECORDS", "5")], "").unwrap();
    assert_eq!(parsed.command_line.run.batch_records, 5);
    assert_eq!(parsed.command_line.run.files, ["--until-end"]);
}

#[test]
fn an_option_that_chooses_what_to_do_needs_the_other_one_or_a_table_of_its_own() {
    let brokers = |arguments: &[&str], text: &str| {
        let all: Vec<&str> = ["write", "records"].iter().chain(arguments).copied().collect();
        match read(&all, &[("ATALAYA_TOKEN", "t")], text).unwrap().command_line.command {
            Some(Sub::Write(Write::Records(records))) => {
                assert_eq!(records.topic.is_some(), arguments.contains(&"--topic"));
                records.brokers
            }
            _ => panic!("another command"),
        }
    };
    assert_eq!(brokers(&[], "brokers = 'a:1'"), None);
    assert_eq!(brokers(&["--topic", "t"], "brokers = 'a:1'").as_deref(), Some("a:1"));
    assert_eq!(brokers(&[], "brokers = 'a:1'\n[write.records]\nbrokers = 'b:1'").as_deref(), Some("b:1"));
}

#[test]
fn a_wrong_value_is_said_to_be_where_it_stands() {
    let variable = refusal(&[], &[("ATALAYA_BATCH_RECORDS", "many")], "");
    assert!(
        variable.starts_with("environment ATALAYA_BATCH_RECORDS: invalid value 'many' for '--batch-records"),
        "{variable}"
    );
    let file = refusal(&[], &[], "[run]\nbatch-records = 'many'");
    assert!(file.contains(": run.batch-records: invalid value 'many'") && !file.contains('\n'), "{file}");
    // What was typed is answered as ever.
    assert!(matches!(read(&["--batch-records=many"], &[], "").unwrap_err(), Failure::CommandLine(_)));
}

#[test]
fn a_key_that_names_nothing_is_refused_with_the_nearest_one() {
    for (text, wanted) in [
        ("batch-record = 1", "there is no option `batch-record`; did you mean `batch-records`?"),
        ("[run]\nbatch_records = 1", "there is no option `run.batch_records`; did you mean `batch-records`?"),
        ("[rum]\nx = 1", "there is no option `rum`; did you mean `run`?"),
        ("[reset]\nbatch-records = 1", "there is no option `reset.batch-records`; keys are the long names"),
        ("config = 'x'", "there is no option `config`"),
        ("[token]\nx = 1", "token is an option, and not a table"),
        ("a = ", "line 1: "),
    ] {
        let said = refusal(&[], &[], text);
        assert!(said.contains(wanted), "{text}: {said}");
    }
    let missing: Vec<OsString> = ["sample", "--config", "/no/such/file"].map(OsString::from).to_vec();
    let said = parse::<Cli>(&PROGRAM, &missing, &[]).unwrap_err().to_string();
    assert!(said.starts_with("cannot read the file of --config, /no/such/file: No such file"), "{said}");
}

#[test]
fn a_variable_that_is_nearly_named_like_an_option_is_doubted() {
    let warnings = |name: &str| read(&[], &[(name, "x")], "").unwrap().warnings;
    assert_eq!(
        warnings("ATALAYA_BATCH_RECORD"),
        ["ATALAYA_BATCH_RECORD is set, and no option of sample is named so; did you mean ATALAYA_BATCH_RECORDS?"]
    );
    for fine in ["ATALAYA_SMTP_PASSWORD", "ATALAYA_TOP", "ATALAYA_LABEL", "ATALAYA_TOKEN", "BATCH_RECORD"] {
        assert_eq!(warnings(fine), [""; 0], "{fine}");
    }
}

#[test]
fn no_secret_is_shown() {
    let environment = [("ATALAYA_TOKEN", "GEHEIM1"), ("ATALAYA_PROPERTY", "password=GEHEIM1;GEHEIM1")];
    let parsed = read(&[], &environment, "").unwrap();
    assert_eq!(parsed.command_line.run.token.as_deref(), Some("GEHEIM1"));
    assert_eq!(setting(&parsed, "token").0, ["***"]);
    assert_eq!(setting(&parsed, "property").0, ["password=***", "***"]);
    assert!(!format!("{:?}", parsed.settings).contains("GEHEIM1"));
}

#[test]
fn the_declaration_is_sound_with_what_is_added() {
    with_config(Cli::command()).debug_assert();
    relaxed(with_config(Cli::command())).debug_assert();
}
