//! `scorer watch`: the anomalies of a live pipeline in a terminal, a line an entity, as they come.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use shared::pipeline::Pipeline;
use shared::time::format_timestamp;
use tokio::signal::unix::{SignalKind, signal};
use window::{Found, Kind, Limits, Row, Severity, State, Wanted};

use super::logs::init_logs;
use super::published::{hear, read_anomalies, take};
use super::rows::{Anomaly, Rows};
use super::{columns, console};
use crate::args::WatchArgs;
use crate::kafka::{Follower, KafkaSettings, TopicMessage, labels_topic};

/// How long an entity waits for what the other detectors say. They publish in one transaction, which ends in each topic at a
/// moment of its own.
const SETTLE: Duration = Duration::from_millis(500);

pub(super) async fn watch(args: WatchArgs) -> Result<()> {
    init_logs(false);
    let pipeline = Pipeline::load(&args.pipeline)?;
    check_detector(&pipeline, args.detector.as_deref())?;
    let settings = args.brokers.settings()?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // Nothing is written, so there is nothing that an end could leave half done.
    tokio::select! {
        ended = tokio::task::spawn_blocking(move || show(&settings, &pipeline, &args)) => ended?,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

fn check_detector(pipeline: &Pipeline, name: Option<&str>) -> Result<()> {
    let known: Vec<&str> = pipeline.detector_topics().map(|(known, _)| known).collect();
    if let Some(unknown) = name.filter(|name| !known.contains(name)) {
        let known = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        bail!("pipeline `{}` has no detector `{unknown}`: it has {known}", pipeline.name);
    }
    Ok(())
}

/// Shows what there is, and then what comes.
fn show(settings: &KafkaSettings, pipeline: &Pipeline, args: &WatchArgs) -> Result<()> {
    let (mut follower, mut watcher) = (Follower::new(settings), Watcher::new(pipeline, args, columns::of_output()));
    read_anomalies(&mut follower, pipeline, args.since, &mut watcher.found)?;
    let lines = watcher.all();
    if watcher.found.evicted() > 0 {
        let kept = Limits::default().entities;
        console::say(format_args!("only the newest {kept} entities are shown: a later --since has fewer"));
    }
    if lines.is_empty() {
        let since = format_timestamp(args.since);
        console::say(format_args!("no anomaly since {since}{}", if args.once { "" } else { " yet: waiting for one" }));
    }
    if !args.json && !console::print_while_read(watcher.rows.head())? || !print(&lines)? || args.once {
        return Ok(());
    }
    let (labels, mut printed) = (labels_topic(pipeline), Ok(true));
    follower.follow(|message| {
        if let Some(message) = message {
            watcher.take(message, &labels, Instant::now());
        }
        printed = print(&watcher.settled(Instant::now()));
        matches!(printed, Ok(true))
    })?;
    printed.map(|_| ())
}

/// Prints lines; whether somebody is left to read more.
fn print(lines: &[String]) -> Result<bool> {
    for line in lines {
        if !console::print_while_read(line)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What was shown, and what is to be shown next.
struct Watcher {
    found: Found,
    wanted: Wanted,
    rows: Rows,
    is_json: bool,
    /// The detectors, in the order of the pipeline file.
    detectors: Vec<String>,
    /// How bad each entity was when it was shown.
    shown: HashMap<String, Option<Severity>>,
    /// Entities of which something new was said, and when it came.
    waiting: VecDeque<(Instant, String)>,
}

impl Watcher {
    fn new(pipeline: &Pipeline, args: &WatchArgs, width: usize) -> Self {
        let WatchArgs { severity, detector, all, json, .. } = args.clone();
        Self {
            found: Found::new(Limits::default()),
            wanted: Wanted { detector, severity, since: None, is_closed_wanted: all },
            rows: Rows::new(pipeline, width).with_time("scored UTC"),
            is_json: json,
            detectors: pipeline.detector_topics().map(|(name, _)| name.to_owned()).collect(),
            shown: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Takes in what came.
    fn take(&mut self, message: TopicMessage<'_>, labels: &str, now: Instant) {
        if message.topic == labels {
            return hear(&mut self.found, message);
        }
        let news = take(&mut self.found, Kind::Verdict, message);
        self.waiting.extend(news.into_iter().map(|id| (now, id)));
    }

    /// Lines of all that was taken in, the oldest first.
    fn all(&mut self) -> Vec<String> {
        let rows = self.found.newest(&self.wanted);
        self.shown.extend(rows.iter().map(|row| (row.id().to_owned(), row.severity())));
        rows.iter().rev().map(|row| self.line(row)).collect()
    }

    /// Lines of those that nothing more is waited for: each once, and again where it is worse than it was.
    fn settled(&mut self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some((came, _)) = self.waiting.front()
            && now.saturating_duration_since(*came) >= SETTLE
            && let Some((_, id)) = self.waiting.pop_front()
        {
            let Some(row) = self.found.row(&id, &self.wanted) else { continue };
            let severity = row.severity();
            if self.shown.get(&id).is_none_or(|shown| severity > *shown) {
                lines.push(self.line(&row));
                self.shown.insert(id, severity);
            }
        }
        // The store lets the oldest go, and nothing more comes of them.
        if self.shown.len() > 2 * Limits::default().entities {
            self.shown.retain(|id, _| self.found.has(id));
        }
        lines
    }

    fn line(&self, row: &Row<'_>) -> String {
        if self.is_json {
            // Plain data with text keys, which can be written as JSON.
            return console::json_line(&serde_json::to_value(row).unwrap_or_default());
        }
        let mut detectors: Vec<&str> = row.opinions().map(|opinion| opinion.detector).collect();
        detectors.sort_by_key(|name| self.detectors.iter().position(|known| known == name).unwrap_or(usize::MAX));
        self.rows.row(Anomaly {
            severity: row.severity().map_or("", Severity::name),
            time: &format_timestamp(row.at()),
            key: row.key(),
            customer: row.customer().unwrap_or_default(),
            reason: row.reason().unwrap_or_default(),
            detectors,
            said: said(row),
        })
    }
}

/// What analysts say of an anomaly, in a word.
fn said(row: &Row<'_>) -> &'static str {
    match (row.word(), row.state()) {
        (Some(word), _) => word.name(),
        (None, State::InReview) => "in review",
        (None, _) => "",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::commands::columns::WIDTH;

    const LABELS: &str = "invoices_labels";

    fn watcher(options: &[&str]) -> Watcher {
        let cli = Cli::try_parse_from([&["scorer", "watch"], options].concat()).unwrap();
        let Some(Command::Watch(args)) = cli.command else { panic!("{options:?}") };
        Watcher::new(&Pipeline::load("invoices").unwrap(), &args, WIDTH)
    }

    fn verdict(key: &str, detector: &str, severity: &str) -> Value {
        json!({
            "schema": 2, "id": format!("invoices/{detector}/0/7/{key}"), "pipeline": "invoices", "key": key, "detector": detector,
            "model_version": "1", "anomalous": true, "severity": severity, "reason": "4,000 items, 44 times the usual 91",
            "score": 2.0, "threshold": 1.0, "ratio": 2.0, "features": {}, "contributions": { "NumberItems": 1.0 }, "lines": 1,
            "customer_id": "12415", "first_timestamp": "2011-07-19T17:04:00Z", "last_timestamp": "2011-07-19T17:04:00Z",
        })
    }

    fn came(watcher: &mut Watcher, topic: &str, key: &str, value: &Value, now: Instant) {
        let payload = value.to_string().into_bytes();
        let at = 1_763_717_561_250;
        let message = TopicMessage {
            topic,
            key: key.as_bytes(),
            payload: Some(&payload),
            at,
            offset: 1,
            is_of_normal: value["anomalous"] == false,
        };
        watcher.take(message, LABELS, now);
    }

    #[test]
    fn an_entity_is_one_line_however_many_detectors_find_it_and_another_one_where_it_gets_worse() {
        let (mut watcher, start) = (watcher(&[]), Instant::now());
        came(&mut watcher, "a", "560539", &verdict("560539", "bisecting-kmeans", "medium"), start);
        assert!(watcher.settled(start + SETTLE / 2).is_empty(), "the other detector may say something yet");
        came(&mut watcher, "b", "560539", &verdict("560539", "kmeans", "high"), start + SETTLE / 2);
        let mut lines = vec![watcher.rows.head()];
        lines.extend(watcher.settled(start + SETTLE));
        assert!(watcher.settled(start + SETTLE * 2).is_empty(), "it was shown");
        came(&mut watcher, "c", "560539", &verdict("560539", "other", "high"), start);
        assert!(watcher.settled(start + SETTLE * 3).is_empty(), "it is not worse");
        came(&mut watcher, "c", "560539", &verdict("560539", "zscore", "critical"), start);
        lines.extend(watcher.settled(start + SETTLE * 4));
        insta::assert_snapshot!(lines.join("\n"), @r"
        severity  scored UTC   invoice  customer  why
        high      11-21 09:32  560539   12415     4,000 items, 44 times the usual 91
        critical  11-21 09:32  560539   12415     4,000 items, 44 times th… [kmeans, bisecting-kmeans, oth…]
        ");
    }

    #[test]
    fn what_is_closed_or_hidden_or_not_asked_for_is_not_shown() {
        let now = Instant::now();
        let label = json!({ "schema": 1, "kind": "label", "id": "invoices/0/7/1", "label": "false_alarm", "at": "2026-11-21T09:30:00Z" });
        let exception = json!({ "schema": 1, "kind": "exception", "id": "exception/a", "customer_id": "12415",
            "features": ["NumberItems"], "until": "2100-01-01T00:00:00Z", "at": "2026-11-21T09:30:00Z" });
        let shown = |options: &[&str], words: &[&Value]| {
            let mut watcher = watcher(options);
            for (key, detector, severity) in [("1", "kmeans", "low"), ("2", "bisecting-kmeans", "high")] {
                came(&mut watcher, "a", key, &verdict(key, detector, severity), now);
            }
            for word in words {
                came(&mut watcher, LABELS, word["id"].as_str().unwrap(), word, now);
            }
            let lines = watcher.settled(now + SETTLE);
            assert_eq!(watcher.all().len(), lines.len(), "the same as those that were there before");
            lines.iter().map(|line| line[23..24].to_owned()).collect::<String>()
        };
        assert_eq!(shown(&[], &[]), "12");
        assert_eq!(shown(&["--severity", "medium"], &[]), "2");
        assert_eq!(shown(&["--detector", "kmeans"], &[]), "1");
        assert_eq!(shown(&[], &[&label]), "2");
        assert_eq!(shown(&["--all"], &[&label]), "12");
        assert_eq!(shown(&[], &[&exception]), "");
        assert_eq!(shown(&["--all"], &[&label, &exception]), "1", "somebody has said something of it");
    }

    #[test]
    fn a_detector_that_is_not_there_is_refused() {
        let pipeline = Pipeline::load("invoices").unwrap();
        assert!(check_detector(&pipeline, Some("kmeans")).is_ok() && check_detector(&pipeline, None).is_ok());
        let refused = check_detector(&pipeline, Some("means")).unwrap_err().to_string();
        assert_eq!(refused, "pipeline `invoices` has no detector `means`: it has `kmeans`, `bisecting-kmeans`");
    }

    proptest! {
        /// Whatever records hold, a line is one line of at most 100 columns that nothing in a terminal obeys; and JSON is JSON.
        #[test]
        fn no_text_breaks_a_line(
            (key, customer) in ("(\\PC|\\x1b|\u{202e}|日){0,60}", "(日|\\PC|\\n){0,40}"),
            reason in "([a-z ]{0,9}|日本|;|\\(|🙂|\\PC|\n|\u{9b}|\u{7}){0,60}",
            detectors in proptest::collection::vec("(\\PC|\\x1b|日){1,20}", 1..4),
            severity in 0usize..4,
        ) {
            for options in [&[][..], &["--json"]] {
                let (mut watcher, now) = (watcher(options), Instant::now());
                for detector in &detectors {
                    let mut value = verdict(&key, detector, Severity::ALL[severity].name());
                    value["customer_id"] = json!(customer);
                    value["reason"] = json!(reason);
                    came(&mut watcher, "a", &key, &value, now);
                }
                let lines = watcher.settled(now + SETTLE);
                prop_assert_eq!(lines.len(), 1);
                prop_assert!(!lines[0].chars().any(|c| c.is_control() || c == '\u{202e}'), "{:?}", lines[0]);
                if options.is_empty() {
                    prop_assert!(lines[0].width() <= WIDTH, "{} columns: {:?}", lines[0].width(), lines[0]);
                } else {
                    let row: Value = serde_json::from_str(&lines[0]).unwrap();
                    prop_assert_eq!((&row["key"], &row["reason"]), (&json!(key), &json!(reason)));
                }
            }
        }
    }
}
