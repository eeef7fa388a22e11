//! Where the value of an option stands.

use std::fmt;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It was typed.
    CommandLine,
    /// In this variable.
    Environment(String),
    /// In a file.
    File {
        /// The file, as it was named.
        name: String,
        /// Tables and key, with dots.
        key: String,
    },
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::File { name, key } => write!(f, "{name}: {key}"),
            Self::Default => f.write_str("default"),
        }
    }
}
