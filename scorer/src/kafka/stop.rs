//! How a stream is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks a stream to stop: it publishes what it has, commits and ends.
#[derive(Debug, Clone, Default)]
pub struct StopHandle {
    own: Arc<AtomicBool>,
    /// That of the whole, where this is of a part.
    of_whole: Option<Arc<AtomicBool>>,
}

impl StopHandle {
    /// One that asks a part alone, which stops with the whole as well.
    pub(crate) fn of_part(&self) -> Self {
        Self { own: Arc::default(), of_whole: Some(self.own.clone()) }
    }

    /// Asks.
    pub fn request(&self) {
        self.own.store(true, Ordering::Relaxed);
    }

    /// Whether anybody asked.
    pub fn is_requested(&self) -> bool {
        self.own.load(Ordering::Relaxed) || self.of_whole.as_ref().is_some_and(|whole| whole.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_alone_or_with_the_whole() {
        let whole = StopHandle::default();
        let (first, second) = (whole.of_part(), whole.of_part());
        first.request();
        assert!(first.clone().is_requested() && !second.is_requested() && !whole.is_requested());
        whole.request();
        assert!(second.is_requested());
    }
}
