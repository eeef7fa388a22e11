//! Copies of the pipeline file with other settings.

use std::path::Path;

use shared::pipeline::Pipeline;

use crate::repository;

/// The text of a pipeline file.
#[derive(Debug, Clone)]
pub struct PipelineFile(String);

impl PipelineFile {
    /// The one that ships as `invoices`.
    pub fn invoices() -> Self {
        Self::of("invoices")
    }

    /// One that ships, by its name.
    pub fn of(name: &str) -> Self {
        let path = repository().join(format!("resources/pipelines/{name}.toml"));
        Self(std::fs::read_to_string(path).unwrap())
    }

    /// Payments that wait for those before them, longer than any pause of a test: however many partitions there are, and whatever
    /// happens, each is looked at with the same others.
    pub fn waiting_payments() -> Self {
        let waiting = Self::of("transactions").with_line("history", "lateness = \"1h\"");
        waiting.replaced("watermark = \"5m\"", "watermark = \"1h\"")
    }

    /// What it says.
    pub fn pipeline(&self) -> Pipeline {
        Pipeline::parse(&self.0, "a test's pipeline").unwrap()
    }

    /// The same with further features, each `Name = "expression"`.
    pub fn with_features(self, features: &[&str]) -> Self {
        self.with_line("features", &features.join("\n"))
    }

    /// The same with another line in a section.
    pub fn with_line(self, section: &str, line: &str) -> Self {
        let heading = format!("[{section}]");
        let (before, after) = self.0.split_once(&heading).unwrap();
        // The rest of the heading's line is a comment.
        let (comment, after) = after.split_once('\n').unwrap();
        Self(format!("{before}{heading}{comment}\n{line}\n{after}"))
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

    /// The same with another text wherever this one stands.
    pub fn replaced(self, from: &str, to: &str) -> Self {
        assert!(self.0.contains(from), "`{from}` is there");
        Self(self.0.replace(from, to))
    }

    /// The same with other topics to write to.
    pub fn with_output_prefix(self, prefix: &str) -> Self {
        let pipeline = self.pipeline();
        let rename = |text: String, topic: &str| {
            let (old, new) = (format!("\"{topic}\""), format!("\"{prefix}{topic}\""));
            assert_eq!(text.matches(&old).count(), 1, "{topic} is there once");
            text.replace(&old, &new)
        };
        Self(pipeline.output_topics().into_iter().fold(self.0, rename))
    }

    /// Writes it to a file.
    pub fn write(self, path: &Path) {
        std::fs::write(path, self.0).unwrap();
    }
}
