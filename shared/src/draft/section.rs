//! A part of a drafted pipeline file, and how TOML writes what stands in it.

use records::sniff::{About, Findings};
use toml::Value;

/// The longest line of a comment.
const WIDTH: usize = 118;

/// A part of a file, with comments above it.
#[derive(Debug)]
pub(super) struct Section {
    text: String,
}

impl Section {
    pub(super) fn plain(text: String) -> Self {
        Self { text }
    }

    pub(super) fn comment(lines: &[&str]) -> Self {
        Self { text: lines.iter().map(|line| wrapped("# ", "# ", line)).collect() }
    }

    /// A part, with what is not certain of it.
    pub(super) fn about(findings: &Findings, about: About, text: String) -> Self {
        let doubts: Vec<_> = findings.doubts.iter().filter(|doubt| doubt.about == about).collect();
        let mut above = String::new();
        if !doubts.is_empty() {
            above.push_str("# Not certain:\n");
            doubts.iter().for_each(|doubt| above += &wrapped("# - ", "#   ", &doubt.text));
        }
        Self { text: above + &text }
    }

    pub(super) fn render(&self) -> String {
        self.text.clone()
    }
}

/// A text in lines, the first of which begins with `first` and the others with `other`.
fn wrapped(first: &str, other: &str, text: &str) -> String {
    let mut lines = vec![first.to_owned()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line + word.chars().count() > WIDTH && line > other.len() {
            lines.push(other.to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
            line.push(' ');
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A text as TOML writes it.
pub(super) fn toml_text(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// A key as TOML writes it.
pub(super) fn toml_key(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_bare { key.to_owned() } else { toml_text(key) }
}

/// Texts as TOML writes a list of them.
pub(super) fn toml_list<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| toml_text(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}
