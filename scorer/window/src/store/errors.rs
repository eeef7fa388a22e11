//! The newest erroneous messages.

use std::collections::{BTreeMap, HashSet, VecDeque};

use serde::Serialize;
use serde_json::{Map, Value};

/// What is shown of a record's text.
const SHOWN_BYTES: usize = 4096;

/// What a message takes beside its texts, about.
const OVERHEAD: usize = 256;

/// A dead letter, cut to what is shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DeadLetter {
    /// When it was made, in milliseconds since 1970.
    pub at: i64,
    /// What it is about: see `docs/messages.md`.
    pub kind: String,
    pub reasons: Vec<String>,
    pub key: Option<String>,
    /// Where the records are.
    pub source: Option<Value>,
    /// The record, or what is known of the entity.
    pub content: String,
    /// Whether `content` is all there is.
    pub is_cut: bool,
    /// The broker's words.
    pub cause: Option<String>,
}

/// The newest of them, in the order in which they were made.
#[derive(Debug)]
pub(crate) struct Errors {
    letters: VecDeque<DeadLetter>,
    /// What tells a message from a copy of it.
    seen: HashSet<String>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
    /// Messages that had to go.
    pub evicted: u64,
    /// Changes with every message.
    pub version: u64,
}

impl DeadLetter {
    /// Reads a message; `None` of anything else.
    pub(crate) fn read(payload: &[u8], at: i64) -> Option<Self> {
        let mut message: Map<String, Value> = serde_json::from_slice(payload).ok()?;
        let mut text = |name: &str| match message.shift_remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (kind, key, cause) = (text("kind")?, text("key"), text("cause"));
        let raw = text("raw").or_else(|| text("raw_base64"));
        let reasons = match message.shift_remove("reasons") {
            Some(Value::Array(reasons)) => reasons.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let source = message.shift_remove("source");
        let was_cut = message.keys().any(|name| name.ends_with("_truncated"));
        let whole =
            raw.unwrap_or_else(|| if message.is_empty() { String::new() } else { Value::Object(message).to_string() });
        let (content, is_cut) = cut(whole);
        Some(Self { at, kind, reasons, key, source, content, is_cut: is_cut || was_cut, cause })
    }

    fn bytes(&self) -> usize {
        let texts: usize = self.reasons.iter().map(|reason| reason.len() + 24).sum();
        let source = self.source.as_ref().map_or(0, |source| source.to_string().len() * 3);
        OVERHEAD + texts + source + self.content.len() + self.cause.as_ref().map_or(0, String::len)
    }

    /// What tells it from others: where its records are, or what it says.
    fn identity(&self) -> String {
        let of = self.source.as_ref().map_or_else(|| self.content.clone(), Value::to_string);
        format!("{} {of}", self.kind)
    }
}

fn cut(mut text: String) -> (String, bool) {
    let is_long = text.len() > SHOWN_BYTES;
    text.truncate(text.floor_char_boundary(SHOWN_BYTES));
    text.shrink_to_fit();
    (text, is_long)
}

impl Errors {
    pub(crate) fn new(most: usize, most_bytes: usize) -> Self {
        let (letters, seen) = (VecDeque::new(), HashSet::new());
        Self { letters, seen, bytes: 0, most, most_bytes, evicted: 0, version: 0 }
    }

    pub(crate) fn add(&mut self, letter: DeadLetter) {
        if !self.seen.insert(letter.identity()) {
            return;
        }
        self.bytes += letter.bytes();
        self.version += 1;
        let place = self.letters.partition_point(|other| other.at <= letter.at);
        self.letters.insert(place, letter);
        while self.letters.len() > self.most || self.bytes > self.most_bytes {
            let Some(oldest) = self.letters.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.seen.remove(&oldest.identity());
            self.evicted += 1;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Those of a reason, or all, the newest first; and how many there are.
    pub(crate) fn newest(
        &self,
        reason: Option<&str>,
        text: Option<&str>,
        skip: usize,
        most: usize,
    ) -> (usize, Vec<&DeadLetter>) {
        let text = text.map(str::to_lowercase);
        let is_wanted = |letter: &&DeadLetter| {
            let of_reason = reason.is_none_or(|reason| letter.reasons.iter().any(|it| it == reason));
            of_reason && text.as_ref().is_none_or(|text| letter.content.to_lowercase().contains(text))
        };
        let matching = self.letters.iter().filter(is_wanted).count();
        (matching, self.letters.iter().rev().filter(is_wanted).skip(skip).take(most).collect())
    }

    /// How many of those that are kept have which reason.
    pub(crate) fn by_reason(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for reason in self.letters.iter().flat_map(|letter| &letter.reasons) {
            *counts.entry(reason.as_str()).or_default() += 1;
        }
        counts
    }
}
