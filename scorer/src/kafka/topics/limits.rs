//! How large a record the topics take that we write to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::admin::{DEFAULT_MAX_MESSAGE_BYTES, max_message_bytes};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::{KafkaSettings, MAX_MESSAGE_BYTES};

/// How long an answer of the broker is believed, where a record is too large by it.
const ASK_AFTER: Duration = Duration::from_secs(60);

/// The largest record of each topic, in bytes, key and headers with it.
#[derive(Clone)]
pub(crate) struct RecordLimits {
    /// What the client takes, and what topics take that nobody asked about.
    of_all: usize,
    known: Arc<Mutex<Known>>,
    asks: Option<Asks>,
}

#[derive(Debug)]
struct Known {
    limits: Arc<BTreeMap<String, usize>>,
    asked: Instant,
}

/// How to ask a broker.
#[derive(Clone)]
struct Asks {
    settings: KafkaSettings,
    topics: Arc<[String]>,
    runtime: Handle,
}

impl fmt::Debug for RecordLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordLimits").field("known", &self.known).finish_non_exhaustive()
    }
}

impl RecordLimits {
    /// Asks the broker about `topics`.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn ask(settings: &KafkaSettings, topics: Vec<String>) -> Result<Self, KafkaError> {
        let limits = max_message_bytes(settings, &topics).await?;
        let of_client = settings.property("message.max.bytes").and_then(|value| value.parse().ok());
        let asks = Asks { settings: settings.clone(), topics: topics.into(), runtime: Handle::current() };
        let known = Self::known(limits);
        Ok(Self { of_all: of_client.unwrap_or(MAX_MESSAGE_BYTES), known, asks: Some(asks) })
    }

    /// The same limit for every topic.
    pub(crate) fn same(bytes: usize) -> Self {
        Self { of_all: bytes, known: Self::known(BTreeMap::new()), asks: None }
    }

    fn known(limits: BTreeMap<String, usize>) -> Arc<Mutex<Known>> {
        Arc::new(Mutex::new(Known { limits: Arc::new(limits), asked: Instant::now() }))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest record that `topic` takes.
    pub(crate) fn of(&self, topic: &str) -> usize {
        let unknown = if self.asks.is_some() { DEFAULT_MAX_MESSAGE_BYTES } else { self.of_all };
        self.lock().limits.get(topic).copied().unwrap_or(unknown).min(self.of_all)
    }

    /// The largest batch of records that every topic takes.
    pub(crate) fn smallest(&self) -> usize {
        self.lock().limits.values().copied().min().unwrap_or(self.of_all).min(self.of_all)
    }

    /// Notes that `topic` did not take a record of so many bytes.
    pub(crate) fn learn(&self, topic: &str, refused_bytes: usize) {
        let limit = self.of(topic).min(refused_bytes.saturating_sub(1));
        Arc::make_mut(&mut self.lock().limits).insert(topic.to_owned(), limit);
    }

    /// Asks the broker anew, unless that was a moment ago: somebody may have mended a topic. The answer is for later
    /// batches.
    pub(crate) fn ask_again(&self) {
        let Some(Asks { settings, topics, runtime }) = self.asks.clone() else { return };
        {
            let mut known = self.lock();
            if known.asked.elapsed() < ASK_AFTER {
                return;
            }
            known.asked = Instant::now();
        }
        let limits = self.clone();
        runtime.spawn(async move {
            match max_message_bytes(&settings, &topics).await {
                Ok(answer) => limits.lock().limits = Arc::new(answer),
                Err(error) => tracing::debug!(%error, "asking for the sizes that topics take"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_once_is_too_large() {
        let limits = RecordLimits::same(1000);
        limits.learn("a", 500);
        limits.learn("a", 700);
        assert_eq!((limits.of("a"), limits.of("b"), limits.smallest()), (499, 1000, 499));
    }
}
