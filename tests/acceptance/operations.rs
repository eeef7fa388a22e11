//! `scorer state` and `scorer reset`, on a real broker.

use std::path::Path;

use tests::{Kafka, PipelineFile, Received, TOPICS, compare, repository, scorer, text};

const PARTITIONS: usize = 3;

/// Invoices of one line each, a minute apart.
const INVOICES: u32 = 30;

/// The invoices, a cancellation, and two lines that end as erroneous ones, with their keys.
fn lines() -> Vec<(String, String)> {
    let line = |invoice: &str, minute: u32, price: &str| {
        (invoice.to_owned(), format!("{invoice},22143,RED MUG,2,9/1/2010 9:{minute:02},{price},12345,France"))
    };
    let mut lines: Vec<_> = (0..INVOICES).map(|number| line(&number.to_string(), number, "1.5")).collect();
    lines.extend([line("C99", 29, "1.5"), line("31", 29, "-1.5"), ("32".to_owned(), "broken".to_owned())]);
    lines
}

/// A group of its own on a broker.
struct Group<'a> {
    kafka: &'a Kafka,
    pipeline: &'a Path,
    folder: &'a Path,
}

impl Group<'_> {
    /// Runs a command of the scorer for the group.
    fn command(&self, command: &[&str]) -> tests::Run {
        scorer(&[command, &["--pipeline", text(self.pipeline), "--brokers", &self.kafka.brokers]].concat())
    }

    /// Runs one that has to succeed; what it prints.
    fn done(&self, command: &[&str]) -> String {
        let run = self.command(command);
        assert_eq!(run.code, Some(0), "{command:?}: {}", run.stderr);
        run.stdout
    }

    /// Scores everything that is there; what is in each topic then.
    fn run(&self) -> Vec<Vec<Received>> {
        let models = repository().join("models");
        let what = ["run", "--models", text(&models), "--device", "cpu", "--clock", "event", "--all-verdicts"];
        self.done(&[&what[..], &["--until-end", "--state-dir", text(self.folder)]].concat());
        TOPICS.iter().map(|topic| self.kafka.read(topic)).collect()
    }

    /// The columns of `scorer state` but for the last, which counts changelog records, each with its name and a value a
    /// partition.
    fn state(&self) -> Vec<(String, Vec<String>)> {
        let table = self.done(&["state", "--clock", "event"]);
        let rows = table.lines().filter(|line| line.starts_with('│'));
        let mut rows = rows.map(|row| row.trim_matches('│').split('┆').map(|cell| cell.trim().to_owned()));
        let names: Vec<String> = rows.next().unwrap().collect();
        let mut columns: Vec<_> = names.into_iter().map(|name| (name, Vec::new())).collect();
        rows.for_each(|row| columns.iter_mut().zip(row).for_each(|((_, values), value)| values.push(value)));
        assert_eq!(columns.pop().unwrap().0, "changelog records");
        columns
    }
}

/// A group that begins anew gives everything again, once more, and nothing of what it remembered is in the way.
#[test]
fn a_reset_begins_anew_with_offsets_and_state_together() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("patient.toml");
    // A window of cancellations waits for every partition, however long one takes: the counts are the same each time.
    PipelineFile::invoices().with("idle_timeout", "60m").write(&pipeline);
    let group = Group { kafka: &kafka, pipeline: &pipeline, folder: folder.path() };
    group.done(&["topics", "--partitions", &PARTITIONS.to_string()]);
    kafka.send_keyed("purchases", lines());
    let once = group.run();
    assert_given_once(&once);
    assert_same(&once, &group.run());
    let state = group.state();
    let n_lines = lines().len() as i64;
    assert_eq!([total(&state, "next offset"), total(&state, "lag"), total(&state, "open invoices")], [n_lines, 0, 0]);

    let reset = ["reset", "--to", "earliest", "--clock", "event"];
    let refused = group.command(&reset);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("confirm it with --yes, because there is no terminal"), "{}", refused.stderr);
    assert_eq!(group.state(), state, "what is refused changes nothing");
    group.done(&[&reset[..], &["--yes"]].concat());
    let forgotten = group.state();
    assert_eq!(total(&forgotten, "lag"), n_lines, "everything is to be read again");
    for name in ["open invoices", "closed, remembered", "cancelled, remembered"] {
        assert_eq!(total(&forgotten, name), 0, "{name}");
    }

    let twice: Vec<_> = once.iter().map(|messages| [&messages[..], messages].concat()).collect();
    assert_same(&twice, &group.run());
    assert_eq!(group.state(), state, "the state is what it was");
}

/// A column of `scorer state`, over all partitions.
fn total(state: &[(String, Vec<String>)], name: &str) -> i64 {
    let (_, values) = state.iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no `{name}`: {state:?}"));
    assert_eq!(values.len(), PARTITIONS, "a row a partition");
    values.iter().map(|value| value.parse::<i64>().unwrap()).sum()
}

fn assert_same(expected: &[Vec<Received>], found: &[Vec<Received>]) {
    for ((topic, expected), found) in TOPICS.iter().zip(expected).zip(found) {
        let difference = compare(topic, expected, found);
        assert!(difference.is_none(), "{difference}");
    }
}

/// Each line is in one message of each topic that it belongs to.
fn assert_given_once(topics: &[Vec<Received>]) {
    let [erroneous, cancellations, verdicts @ ..] = topics else { panic!("{} topics", topics.len()) };
    let mut invoices: Vec<String> = (0..INVOICES).map(|number| number.to_string()).collect();
    invoices.sort();
    for verdicts in verdicts {
        let mut keys: Vec<&str> = verdicts.iter().map(|verdict| verdict.key.as_deref().unwrap()).collect();
        keys.sort_unstable();
        assert_eq!(keys, invoices);
    }
    let mut reasons: Vec<String> = erroneous.iter().map(|message| message.value["reasons"].to_string()).collect();
    reasons.sort();
    assert_eq!(reasons, [r#"["out_of_range:UnitPrice"]"#, r#"["too_few_fields"]"#]);
    // A window of eight minutes begins every minute, so that each cancellation is in eight of them.
    let counts = cancellations.iter().map(|message| message.value["cancellations"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 8);
}
