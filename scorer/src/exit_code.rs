//! The exit code of the program, which tells a supervisor what to do: start it again, or wait for somebody who looks.
//!
//! Errors that belong to no [`ErrorKind`], such as a file that is not there, end with 1; a command line that cannot be
//! understood ends with 2.

use std::process::ExitCode;

use shared::model::ModelError;
use shared::pipeline::PipelineError;

use crate::kafka::{ErrorKind, KafkaError};

/// Some checks of `scorer check` failed: it ends as `run` would.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {done} checks failed")]
pub struct ChecksFailed {
    /// How many failed.
    pub failed: usize,
    /// How many there were.
    pub done: usize,
    /// The first that failed. It was said, so it is no source.
    pub first: anyhow::Error,
}

/// The exit code for an error.
pub fn of(error: &anyhow::Error) -> ExitCode {
    kind(error).map_or(ExitCode::FAILURE, |kind| ExitCode::from(kind.exit_code()))
}

fn kind(error: &anyhow::Error) -> Option<ErrorKind> {
    if let Some(failed) = error.downcast_ref::<ChecksFailed>() {
        return kind(&failed.first);
    }
    error.chain().find_map(|cause| {
        let of_files = (cause.is::<PipelineError>() || cause.is::<ModelError>()).then_some(ErrorKind::Configuration);
        cause.downcast_ref::<KafkaError>().map(KafkaError::kind).or(of_files)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_keeps_its_kind_through_what_is_said_around_it() {
        let missing = || KafkaError::MissingTopic("purchases".to_owned());
        assert_eq!(kind(&missing().into()), Some(ErrorKind::Configuration));
        assert_eq!(kind(&anyhow::Error::from(missing()).context("starting")), Some(ErrorKind::Configuration));
        let unreachable = Err::<(), _>(KafkaError::Unreachable { brokers: "nowhere:1".to_owned() });
        assert_eq!(kind(&unreachable.context("starting").unwrap_err()), Some(ErrorKind::Unavailable));
        assert_eq!(kind(&anyhow::anyhow!("a file is not there")), None);
        let checks = ChecksFailed { failed: 1, done: 3, first: missing().into() };
        assert_eq!(kind(&checks.into()), Some(ErrorKind::Configuration));
    }
}
