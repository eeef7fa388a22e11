//! `[drift]`: when the stream is called no longer like the training.

use super::PipelineError;
use super::checker::Checker;
use super::file::DriftSection;

/// Records that the population stability index looks at, where nobody says another number.
const DEFAULT_WINDOW: u64 = 10_000;

/// The most of them.
const MOST: u64 = 1_000_000_000;

/// When the stream is called no longer like the training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DriftSpec {
    /// The probability with which a detector ever raises an alarm while nothing has changed.
    pub alpha: f64,
    /// At least so many of the newest records are compared with the training, to say how far a feature is from it.
    pub window: u64,
}

impl Default for DriftSpec {
    fn default() -> Self {
        Self { alpha: 0.001, window: DEFAULT_WINDOW }
    }
}

pub(super) fn check(checker: &Checker<'_>, section: Option<&DriftSection>) -> Result<DriftSpec, PipelineError> {
    let default = DriftSpec::default();
    let alpha = section.and_then(|section| section.alpha).unwrap_or(default.alpha);
    if !(1e-9..=0.5).contains(&alpha) {
        return checker.error("[drift] alpha", "must be a probability from 1e-9 to 0.5, such as 0.001");
    }
    let window = section.and_then(|section| section.window).unwrap_or(default.window);
    if !(500..=MOST).contains(&window) {
        return checker.error("[drift] window", format!("must be a number of records from 500 to {MOST}"));
    }
    Ok(DriftSpec { alpha, window })
}

#[cfg(test)]
mod tests {
    use crate::pipeline::Pipeline;

    fn parsed(section: &str) -> Result<super::DriftSpec, String> {
        let file = include_str!("../../../resources/pipelines/transactions.toml");
        Pipeline::parse(&format!("{file}\n{section}"), "file").map(|it| it.drift).map_err(|error| error.to_string())
    }

    #[test]
    fn alpha_is_a_probability_and_a_window_is_long_enough() {
        let found = parsed("[drift]\nalpha = 0.01\nwindow = 2000").unwrap();
        assert_eq!((found.alpha, found.window), (0.01, 2000));
        assert_eq!(parsed("").unwrap(), super::DriftSpec::default());
        for (section, said) in [
            ("[drift]\nalpha = 0.0", "[drift] alpha: must be a probability"),
            ("[drift]\nalpha = nan", "[drift] alpha: must be a probability"),
            ("[drift]\nwindow = 10", "[drift] window: must be a number of records"),
            ("[drift]\nalfa = 0.1", "did you mean `alpha`?"),
        ] {
            let error = parsed(section).unwrap_err();
            assert!(error.contains(said), "{section}: {error}");
        }
    }

    /// It is no part of what models and states are of.
    #[test]
    fn it_changes_no_definition() {
        let of = |section: &str| {
            let file = include_str!("../../../resources/pipelines/transactions.toml");
            let pipeline = Pipeline::parse(&format!("{file}\n{section}"), "file").unwrap();
            (pipeline.definition.clone(), pipeline.state_layout())
        };
        assert_eq!(of(""), of("[drift]\nalpha = 0.01"));
    }
}
