//! Copies of the pipeline file with other settings.

use std::path::Path;

use crate::{TOPICS, repository};

/// The text of a pipeline file.
#[derive(Debug, Clone)]
pub struct PipelineFile(String);

impl PipelineFile {
    /// The one that ships as `invoices`.
    pub fn invoices() -> Self {
        Self(std::fs::read_to_string(repository().join("resources/pipelines/invoices.toml")).unwrap())
    }

    /// The same with another text at a key that it has once.
    pub fn with(self, key: &str, value: &str) -> Self {
        let start = format!("{key} = ");
        assert_eq!(self.0.lines().filter(|line| line.starts_with(&start)).count(), 1, "`{key}` is there once");
        let change = |line: &str| {
            if line.starts_with(&start) { format!("{start}\"{value}\"\n") } else { format!("{line}\n") }
        };
        Self(self.0.lines().map(change).collect())
    }

    /// The same with other topics to write to.
    pub fn with_output_prefix(self, prefix: &str) -> Self {
        let rename = |text: String, topic: &&str| {
            let (old, new) = (format!("\"{topic}\""), format!("\"{prefix}{topic}\""));
            assert_eq!(text.matches(&old).count(), 1, "{topic} is there once");
            text.replace(&old, &new)
        };
        Self(TOPICS.iter().fold(self.0, rename))
    }

    /// Writes it to a file.
    pub fn write(self, path: &Path) {
        std::fs::write(path, self.0).unwrap();
    }
}
