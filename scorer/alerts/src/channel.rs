//! Where an alert is sent.

use std::time::Duration;

use thiserror::Error;

use crate::alert::Alert;

/// A way to somebody.
pub trait Channel: Send {
    /// Sends an alert, and waits for the answer: at most as long as the channel's patience.
    ///
    /// # Errors
    /// [`SendError`].
    fn send(&self, alert: &Alert) -> Result<(), SendError>;
}

/// An alert did not arrive, or nobody knows whether it did. No text of it has a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// Later it may be taken.
    #[error("{cause}")]
    Later {
        /// Why not now.
        cause: String,
        /// How long the receiver wants to be left alone.
        wait: Option<Duration>,
    },
    /// This alert is never taken, whatever others are.
    #[error("the alert was refused: {0}")]
    Refused(String),
}

impl SendError {
    /// Later it may be taken; nobody says when.
    pub fn later(cause: impl Into<String>) -> Self {
        Self::Later { cause: cause.into(), wait: None }
    }
}
