//! Everything that is shown, in one place: what was taken in, the numbers of the stream, and what does not change.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;

use crate::about::About;
use crate::alerts::AlertDesk;
use crate::history::History;
use crate::intake::Inflow;
use crate::journal::{Desk, Keeping};
use crate::questions::Asked;
use crate::snapshot::Snapshot;
use crate::store::{Limits, Store};

/// Gives the stream as it is now. It is asked once a second and with every scrape, and has to answer at once.
pub type Ask = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// Ticks that a slow reader may be behind before it misses some.
const TICKS: usize = 8;

/// What all requests share.
pub(crate) struct View {
    pub about: About,
    pub ask: Ask,
    state: Mutex<State>,
    /// The counters of the last scrape.
    scraped: Mutex<Snapshot>,
    /// A JSON object each second.
    pub ticks: broadcast::Sender<Arc<str>>,
    pub inflow: Inflow,
    /// Where what analysts say is handed over.
    pub desk: Desk,
    /// Connections that were refused because there were too many.
    pub refused: AtomicUsize,
    /// Pages that listen.
    pub listening: AtomicUsize,
    /// Records that were posted to be scored.
    pub asked: Asked,
    /// Who knows of alerts, where there are any.
    pub alerts: Option<Arc<dyn AlertDesk>>,
}

/// What changes.
#[derive(Debug)]
pub(crate) struct State {
    pub store: Store,
    pub history: History,
}

impl View {
    pub(crate) fn new(
        about: About,
        ask: Ask,
        inflow: Inflow,
        limits: Limits,
        (desk, keeping): (Desk, Keeping),
    ) -> Self {
        let mut store = Store::new(limits);
        store.labels.keeping = keeping;
        Self {
            about,
            ask,
            state: Mutex::new(State { store, history: History::default() }),
            scraped: Mutex::default(),
            ticks: broadcast::channel(TICKS).0,
            inflow,
            desk,
            refused: AtomicUsize::new(0),
            listening: AtomicUsize::new(0),
            asked: Asked::default(),
            alerts: None,
        }
    }

    /// The same with alerts.
    pub(crate) fn with_alerts(self, alerts: Option<Arc<dyn AlertDesk>>) -> Self {
        Self { alerts, ..self }
    }

    /// What was taken in. Whoever holds it does not wait for anything.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream as it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        (self.ask)()
    }

    /// The stream as it is now, with counters that never go back.
    pub(crate) fn scrape(&self) -> Snapshot {
        let mut last = self.scraped.lock().unwrap_or_else(PoisonError::into_inner);
        *last = self.snapshot().at_least(&last);
        last.clone()
    }

    /// Whether the stream reads all of its partitions; else why not.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        let partitions = self.snapshot().partitions;
        match partitions {
            _ if !partitions.has_joined => Err("the consumer group has given no partitions yet".to_owned()),
            _ if partitions.restoring > 0 => {
                Err(format!("the state of {} partitions is being restored", partitions.restoring))
            }
            _ if partitions.failed > 0 => {
                Err(format!("the state of {} partitions could not be restored", partitions.failed))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("pipeline", &self.about.pipeline).finish_non_exhaustive()
    }
}

/// The time of day, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
