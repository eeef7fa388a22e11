//! What a program was built from and with, and which formats it reads and writes.

use std::fmt;

use serde::Serialize;

use crate::{model, verdict};

/// What a program is.
#[derive(Debug, Clone, Serialize)]
pub struct Build {
    /// Its name.
    pub program: &'static str,
    /// The version of the product.
    pub version: &'static str,
    /// The commit, where whoever built it said so with `ATALAYA_COMMIT`.
    pub commit: Option<&'static str>,
    /// The compiler.
    pub rustc: &'static str,
    /// The machine that it is for.
    pub target: &'static str,
    /// The features of cargo that are on.
    pub features: Vec<&'static str>,
    /// The versions of formats, by their names.
    pub formats: Vec<Format>,
}

/// A format and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Format {
    /// What is in this format.
    pub of: &'static str,
    /// Its version.
    pub version: u32,
}

impl Build {
    /// That of a program with these features, some of which are on, and with formats of its own.
    pub fn new(program: &'static str, features: &[(&'static str, bool)], formats: &[Format]) -> Self {
        let own = [
            Format { of: "model", version: model::FORMAT_VERSION },
            Format { of: "verdict", version: verdict::SCHEMA },
        ];
        Self {
            program,
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("ATALAYA_COMMIT").filter(|commit| !commit.is_empty()),
            rustc: env!("BUILT_WITH"),
            target: env!("BUILT_FOR"),
            features: features.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect(),
            formats: own.iter().chain(formats).cloned().collect(),
        }
    }
}

/// A line for each; the first is what `--version` says.
impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let formats = self.formats.iter().map(|format| format!("{} {}", format.of, format.version));
        let features = if self.features.is_empty() { "none".to_owned() } else { self.features.join(", ") };
        writeln!(f, "{} {}", self.program, self.version)?;
        writeln!(f, "commit: {}", self.commit.unwrap_or("unknown"))?;
        writeln!(f, "compiler: {}", self.rustc)?;
        writeln!(f, "target: {}", self.target)?;
        writeln!(f, "features: {features}")?;
        write!(f, "formats: {}", formats.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_features_that_are_on_are_named() {
        let build = Build::new("p", &[("a", true), ("b", false)], &[Format { of: "state", version: 7 }]);
        assert_eq!(build.features, ["a"]);
        assert!(build.rustc.starts_with("rustc ") && build.target.contains('-'), "{build:?}");
        let text = build.to_string();
        assert!(text.starts_with(&format!("p {}\n", env!("CARGO_PKG_VERSION"))), "{text}");
        let formats = format!("formats: model {}, verdict {}, state 7", model::FORMAT_VERSION, verdict::SCHEMA);
        assert!(text.ends_with(&formats) && text.contains("features: a\n"), "{text}");
    }
}
