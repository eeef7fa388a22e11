//! How a stream is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks a stream to stop: it publishes what it has, commits and ends.
#[derive(Debug, Clone, Default)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    /// Asks.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether anybody asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
