//! What a file should lead to: `scorer score` of it, sorted by topic.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tests::{Received, scorer, text};

/// The messages that `scorer score` writes for a `file` of invoices, by topic.
pub fn score(file: &Path, models: &Path, folder: &Path) -> BTreeMap<String, Vec<Value>> {
    score_as("invoices", file, models, folder)
}

/// The messages that `scorer score` writes for a `file` of a pipeline, by topic.
pub fn score_as(pipeline: &str, file: &Path, models: &Path, folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let output = folder.join("reference.jsonl");
    let paths = ["--pipeline", pipeline, "--models", text(models), "--output", text(&output)];
    let run = scorer(&[&["score", text(file), "--device", "cpu"][..], &paths].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mut topics: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in std::fs::read_to_string(output).unwrap().lines() {
        let mut message: Value = serde_json::from_str(line).unwrap();
        let topic = message.as_object_mut().unwrap().shift_remove("topic").unwrap();
        topics.entry(topic.as_str().unwrap().to_owned()).or_default().push(message);
    }
    topics
}

/// Messages as sorted lines, so that two lists are equal when they hold the same messages equally often. Sources and ids,
/// which name them, are left out: a file is not a topic, and its lines are not the offsets of several partitions.
pub fn sorted<'a>(messages: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let line = |message: &Value| {
        let mut message = message.clone();
        let fields = message.as_object_mut().unwrap();
        for name in ["source", "id"] {
            fields.shift_remove(name);
        }
        message.to_string()
    };
    let mut lines: Vec<String> = messages.into_iter().map(line).collect();
    lines.sort();
    lines
}

pub fn values(received: &[Received]) -> impl Iterator<Item = &Value> {
    received.iter().map(|received| &received.value)
}
