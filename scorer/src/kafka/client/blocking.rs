//! Calls that wait for a broker, made from a task that may not.

use super::error::KafkaError;

/// Does blocking work on a thread that may block; `action` says what for, in case it panics.
///
/// # Errors
/// Those of the work.
pub(crate) async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    let panicked = |error: tokio::task::JoinError| KafkaError::Bug { what: action, cause: error.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}
