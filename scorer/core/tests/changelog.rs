//! A group that runs goes on from its state in a new build: what this program wrote before, it reads, and goes on to the
//! same outputs and the same bytes.
//!
//! A file of `changelog/` is a transcript: `>` what happened, `<` what came out, `=` a record that was written to the
//! changelog, `~` one of a snapshot. What a build of today writes may end with more: an earlier head is without it. A restart restores from the records in the file, which the build of that day wrote,
//! and not from those that this build has just made.
//!
//! The files of `changelog/earlier/` are of a build that wrote more: keys whose time was over before they were committed, and
//! of each pane what no feature asks for, and the newest pane of a key by itself. Their state is read, and leads to the same
//! outputs; what is written is not compared.
//!
//! A transcript is renewed only when the state's format changes on purpose, which makes every running group begin anew:
//! `ATALAYA_RENEW_CHANGELOGS=1 cargo test -p scorer-core --test changelog` keeps its `>` lines and writes all others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use scorer_core::{
    Core, Counters, Erroneous, Input, LiveKeys, Origin, Output, Record, Recovery, Report, Start, StateReader,
    StateRecord,
};
use shared::pipeline::{Fields, Pipeline, Scored, Sessions};
use shared::verdict::EntitySummary;

/// A pipeline that ships.
fn invoices() -> Pipeline {
    Pipeline::load("invoices").unwrap()
}

/// The same for payments, with a lateness.
fn transactions() -> Pipeline {
    let text = include_str!("../../../resources/pipelines/transactions.toml");
    let with_lateness = text.replace("# lateness = ", "lateness = ");
    assert_ne!(with_lateness, text);
    Pipeline::parse(&with_lateness, "transactions.toml").unwrap()
}

/// As pipelines were before they had fields.
fn without_fields(pipeline: Pipeline) -> Pipeline {
    let sessions = match pipeline.scored.clone() {
        Scored::Sessions(sessions) => Scored::Sessions(Sessions { accumulated: sessions.features.clone(), ..sessions }),
        records @ Scored::Records(_) => records,
    };
    Pipeline { fields: Fields::default(), scored: sessions, ..pipeline }
}

#[test]
fn invoices_go_on_from_the_state_that_an_earlier_build_wrote() {
    check("earlier/invoices", without_fields(invoices()), Compared::Outputs);
    check("invoices", without_fields(invoices()), Compared::Everything);
    check("invoices-with-fields", invoices(), Compared::Everything);
}

#[test]
fn transactions_go_on_from_the_state_that_an_earlier_build_wrote() {
    check("earlier/transactions", without_fields(transactions()), Compared::Outputs);
    check("earlier/transactions-panes-apart", without_fields(transactions()), Compared::Outputs);
    check("transactions", without_fields(transactions()), Compared::Everything);
    check("transactions-with-fields", transactions(), Compared::Everything);
}

/// What has to be the same as in the transcript.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// What comes out.
    Outputs,
    /// What is written, too.
    Everything,
}

/// What happened, and what followed from it.
struct Step {
    /// The line of the file, from 1.
    number: usize,
    input: String,
    results: Vec<String>,
}

fn check(name: &str, pipeline: Pipeline, compared: Compared) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "changelog", &format!("{name}.txt")].iter().collect();
    let transcript = std::fs::read_to_string(&file).unwrap();
    let is_renewed = compared == Compared::Everything && std::env::var_os("ATALAYA_RENEW_CHANGELOGS").is_some();
    let (mut instance, mut renewed) = (Instance::new(pipeline), String::new());
    for step in steps(&transcript) {
        let results = instance.apply(&step.input);
        if !is_renewed {
            let of = |results: &[String]| -> Vec<String> {
                let is_compared = |line: &&String| compared == Compared::Everything || line.starts_with('<');
                results.iter().filter(is_compared).cloned().collect()
            };
            assert_eq!(
                of(&without_additions(&results, &step.results)),
                of(&step.results),
                "{} line {}: {}",
                file.display(),
                step.number,
                step.input
            );
        }
        instance.keep(if is_renewed { &results } else { &step.results });
        writeln!(renewed, "> {}", step.input).unwrap();
        results.iter().for_each(|result| writeln!(renewed, "{result}").unwrap());
    }
    if is_renewed {
        std::fs::write(&file, renewed).unwrap();
    }
}

/// What is written now, without what an earlier build did not write yet: heads, reports and panes end with it.
fn without_additions(results: &[String], earlier: &[String]) -> Vec<String> {
    let beginnings = ["= 68 ", "~ 68 ", "= 7a0070", "~ 7a0070", "< report "];
    let may_end_with_more = |line: &str| beginnings.iter().any(|beginning| line.starts_with(beginning));
    let cut = |(index, line): (usize, &String)| match earlier.get(index) {
        Some(earlier) if may_end_with_more(line) && line.starts_with(earlier.as_str()) => earlier.clone(),
        _ => line.clone(),
    };
    results.iter().enumerate().map(cut).collect()
}

fn steps(transcript: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in transcript.lines().enumerate() {
        match (line.strip_prefix("> "), steps.last_mut()) {
            (Some(input), _) => steps.push(Step { number: index + 1, input: input.to_owned(), results: Vec::new() }),
            (None, Some(step)) => step.results.push(line.to_owned()),
            (None, None) => panic!("line {}: nothing has happened yet", index + 1),
        }
    }
    steps
}

/// An instance of the scorer that owns the only partition, and what it has written.
struct Instance {
    pipeline: Arc<Pipeline>,
    core: Core,
    next_offset: i64,
    changelog: Vec<StateRecord>,
    snapshot: Vec<StateRecord>,
    reports: Vec<Report>,
    committed: Counters,
}

impl Instance {
    fn new(pipeline: Pipeline) -> Self {
        let pipeline = Arc::new(pipeline);
        Self {
            core: Core::sharing(pipeline.clone(), Recovery::Changelog, origin(&pipeline)),
            pipeline,
            next_offset: 0,
            changelog: Vec::new(),
            snapshot: Vec::new(),
            reports: Vec::new(),
            committed: Counters::default(),
        }
    }

    fn apply(&mut self, input: &str) -> Vec<String> {
        let (command, rest) = input.split_once(' ').unwrap_or((input, ""));
        let (mut out, mut records) = (Vec::new(), Vec::new());
        match command {
            "record" => self.record(rest, &mut out),
            "caught-up" => self.core.apply(Input::CaughtUp { partition: 0, now: rest.parse().unwrap() }, &mut out),
            "time" => {
                let now = rest.parse().unwrap();
                self.core.apply(Input::ReadThrough { partition: 0, now }, &mut out);
                self.core.apply(Input::Time { now }, &mut out);
            }
            "end" => self.core.apply(Input::End, &mut out),
            "commit" => {
                self.core.report(&mut out);
                records.extend(self.core.take_changes().into_iter().flat_map(|changes| changes.records));
                self.committed = self.core.counters();
            }
            "hear-reports" => self.hear_reports(&mut out),
            "snapshot" => {
                let mut lines = Vec::new();
                self.core.snapshot(0, |record| lines.push(written('~', &record)));
                return lines;
            }
            "begin" => self.core.apply(Input::Assigned { partition: 0, start: Start::At(0) }, &mut out),
            "restart" => self.restart(&compacted(&self.changelog)),
            "restart-from-snapshot" => self.restart(&self.snapshot.clone()),
            "roll-back" => self.roll_back(),
            "reset" => records.extend(self.reset()),
            _ => panic!("`{command}` cannot happen"),
        }
        let outputs = out.iter().map(|output| format!("< {}", output_text(output)));
        outputs.chain(records.iter().map(|record| written('=', record))).collect()
    }

    /// `TIMESTAMP KEY LABEL PAYLOAD`; a dash is nothing.
    fn record(&mut self, text: &str, out: &mut Vec<Output>) {
        let fields: Vec<&str> = text.splitn(4, ' ').collect();
        let payload = fields[3].as_bytes();
        let record = Record {
            key: Some(fields[1].as_bytes()).filter(|key| *key != b"-"),
            label: Some(fields[2]).filter(|label| *label != "-"),
            ..Record::new(0, self.next_offset, fields[0].parse().unwrap(), payload)
        };
        self.next_offset += 1;
        self.core.apply(Input::Record(record), out);
    }

    /// The owner of the windows reads the reports that it has not read yet.
    fn hear_reports(&mut self, out: &mut Vec<Output>) {
        let from = self.core.reports_from().unwrap();
        for (offset, report) in (0..).zip(self.reports.clone()).filter(|(offset, _)| *offset >= from) {
            self.core.apply(Input::Report { report, offset }, out);
        }
    }

    /// Another instance takes over with the state in `records`.
    fn restart(&mut self, records: &[StateRecord]) {
        self.core = Core::sharing(self.pipeline.clone(), Recovery::Changelog, origin(&self.pipeline));
        self.assign(records, Start::Restored);
    }

    fn roll_back(&mut self) {
        self.core.roll_back(self.committed.clone());
        self.assign(&compacted(&self.changelog), Start::RolledBack);
    }

    fn assign(&mut self, records: &[StateRecord], start: fn(Box<scorer_core::Restored>) -> Start) {
        let mut reader = StateReader::new(&self.pipeline, origin(&self.pipeline));
        for StateRecord { key, value } in records {
            reader.take(&self.pipeline, key, value.as_deref()).unwrap();
        }
        let restored = reader.finish(&self.pipeline).unwrap();
        self.next_offset = restored.head().unwrap().next_offset;
        self.core.apply(Input::Assigned { partition: 0, start: start(Box::new(restored)) }, &mut Vec::new());
    }

    fn reset(&self) -> Vec<StateRecord> {
        let mut keys = LiveKeys::default();
        self.changelog.iter().for_each(|record| keys.take(&record.key, record.value.as_deref()));
        keys.reset(&self.pipeline, origin(&self.pipeline), 77, self.next_offset, Some(3)).0
    }

    /// Takes on what was written.
    fn keep(&mut self, results: &[String]) {
        let records = |mark: &str| results.iter().filter_map(|line| read(line.strip_prefix(mark)?)).collect::<Vec<_>>();
        self.changelog.extend(records("= "));
        let snapshot = records("~ ");
        if !snapshot.is_empty() {
            self.snapshot = snapshot;
        }
        let reports = results.iter().filter_map(|line| line.strip_prefix("< report "));
        self.reports.extend(reports.map(|report| Report::decode(&from_hex(report)).unwrap()));
    }
}

fn origin(pipeline: &Pipeline) -> Origin {
    Origin { topic: pipeline.topic.clone(), partitions: 1, layout: pipeline.state_layout(), topic_id: None }
}

/// What compaction leaves of a changelog: the last record of each key, in order, deletions too.
fn compacted(changelog: &[StateRecord]) -> Vec<StateRecord> {
    let last: BTreeMap<&[u8], usize> =
        changelog.iter().enumerate().map(|(index, record)| (record.key.as_slice(), index)).collect();
    let is_last = |(index, record): &(usize, &StateRecord)| last[record.key.as_slice()] == *index;
    changelog.iter().enumerate().filter(is_last).map(|(_, record)| record.clone()).collect()
}

/// The key and the value of a record; a dash deletes.
fn written(mark: char, StateRecord { key, value }: &StateRecord) -> String {
    format!("{mark} {} {}", to_hex(key), value.as_deref().map_or("-".to_owned(), to_hex))
}

fn read(record: &str) -> Option<StateRecord> {
    let (key, value) = record.split_once(' ')?;
    Some(StateRecord { key: from_hex(key), value: (value != "-").then(|| from_hex(value)) })
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = |start: usize| u8::from_str_radix(&text[start..start + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn output_text(output: &Output) -> String {
    match output {
        Output::Closed(entity) => {
            let (features, truth) = (numbers(&entity.features), &entity.truth);
            format!("closed {} {features} {truth:?}", summary_text(&entity.summary))
        }
        Output::Windowed(verdict) => {
            let (window, truth) = (&verdict.window, &verdict.truth);
            let found = numbers(&[verdict.value, verdict.score, window.center, window.spread]);
            let summary = summary_text(&verdict.summary);
            format!("windowed {} {summary} {found} of {} {truth:?}", verdict.detector, window.count)
        }
        Output::Erroneous(Erroneous::Line { reasons, source, raw, .. }) => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            format!("bad line {} at {source:?} {}", reasons.join(" "), String::from_utf8_lossy(raw))
        }
        Output::Erroneous(Erroneous::Entity { reasons, summary, known, features, partition, offsets }) => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            let (summary, features) = (summary_text(summary), numbers(features));
            format!("bad entity {} {summary} {known:?} {features} {partition} {offsets:?}", reasons.join(" "))
        }
        Output::Erroneous(Erroneous::Lost { partition, first, last }) => {
            format!("lost {first} to {last} of partition {partition}")
        }
        Output::Cancellations(count) => {
            format!("cancellations {} to {}: {}", count.window_start, count.window_end, count.cancellations)
        }
        Output::Report(report) => format!("report {}", to_hex(&report.encode())),
        Output::Forwarded(_) | Output::Watermark(_) => unreachable!("one partition is one hop"),
    }
}

fn summary_text(summary: &EntitySummary) -> String {
    let EntitySummary { key, lines, customer, first_timestamp, last_timestamp, closed_early, fields } = summary;
    let customer = customer.as_deref().unwrap_or("-");
    let fields = if fields.is_empty() { String::new() } else { format!(" {fields:?},") };
    format!("{key} of {customer}, {lines} lines, {first_timestamp} to {last_timestamp}, early {closed_early},{fields}")
}

/// To ten digits: the last bits of a logarithm are the system's.
fn numbers(numbers: &[f64]) -> String {
    numbers.iter().map(|number| format!("{number:.9e}")).collect::<Vec<_>>().join(" ")
}
