//! Erroneous records that somebody wants to be sent to the input again: orders wait, within bounds, for whoever can send them.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::oneshot;

use crate::view::now;

/// Orders that may wait.
const WAITING: usize = 8;

/// Which erroneous records are meant. Those that fit all of it are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Which {
    /// Those with this reason: `code` or `code:Column`.
    pub reason: Option<String>,
    /// Those that were published at this moment or later, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Those that were published at this moment or earlier.
    pub until: Option<i64>,
    /// The record that was at this place first: topic, partition and offset, with colons between them.
    pub record: Option<String>,
}

/// What became of the records that were meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// Sent; of a dry run, those that would be.
    pub sent: u64,
    /// Sent before, or told of twice.
    pub sent_before: u64,
    /// Some of their bytes were cut off.
    pub truncated: u64,
    /// Larger than the input takes.
    pub too_large: u64,
    /// Not of one record.
    pub not_of_a_record: u64,
}

/// What somebody wants.
#[derive(Debug)]
pub struct Order {
    /// Which records.
    pub which: Which,
    /// Who.
    pub by: String,
    /// Whether nothing is to be sent, only counted.
    pub is_dry: bool,
    answer: oneshot::Sender<Result<Redriven, String>>,
    board: Arc<Board>,
}

impl Order {
    /// Whether somebody still waits for what comes of it.
    pub fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    /// Tells what comes of it, or why nothing does, in one sentence. Who asked may have gone; what was sent is told on the page.
    pub fn answer(self, result: Result<Redriven, String>) {
        if !self.is_dry {
            self.board.end(&result);
        }
        drop(self.answer.send(result));
    }
}

/// A redrive as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Told {
    by: String,
    #[serde(flatten)]
    which: Which,
    began: i64,
    ended: Option<i64>,
    counts: Option<Redriven>,
    error: Option<String>,
}

/// The redrive that is under way, and the one before it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Shown {
    running: Option<Told>,
    last: Option<Told>,
}

#[derive(Debug, Default)]
struct Board(Mutex<Shown>);

impl Board {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, order: &Order) {
        let (by, which) = (order.by.clone(), order.which.clone());
        self.shown().running = Some(Told { by, which, began: now(), ended: None, counts: None, error: None });
    }

    fn end(&self, result: &Result<Redriven, String>) {
        let mut shown = self.shown();
        let Some(running) = shown.running.take() else { return };
        let (counts, error) = (result.as_ref().ok().copied(), result.as_ref().err().cloned());
        shown.last = Some(Told { ended: Some(now()), counts, error, ..running });
    }
}

/// The end of whoever can send. While it is there, the window takes orders.
#[derive(Debug)]
pub struct Redrives(Receiver<Order>);

impl Redrives {
    /// The next order; waits for it. `None` once the window is closed. For a thread that may block.
    pub fn wait(&self) -> Option<Order> {
        let order = self.0.recv().ok()?;
        if !order.is_dry {
            order.board.begin(&order);
        }
        Some(order)
    }
}

/// The window's end.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    orders: SyncSender<Order>,
    board: Arc<Board>,
}

/// Both ends.
pub(crate) fn redrives() -> (Orders, Redrives) {
    let (orders, taken) = sync_channel(WAITING);
    (Orders { orders, board: Arc::default() }, Redrives(taken))
}

/// Why an order is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// As many wait as may.
    Full,
    /// Nobody sends any more.
    Closed,
}

impl Orders {
    /// Hands an order over; what comes of it is received.
    pub(crate) fn order(
        &self,
        which: Which,
        by: String,
        is_dry: bool,
    ) -> Result<oneshot::Receiver<Result<Redriven, String>>, NotTaken> {
        let (answer, received) = oneshot::channel();
        match self.orders.try_send(Order { which, by, is_dry, answer, board: self.board.clone() }) {
            Ok(()) => Ok(received),
            Err(TrySendError::Full(_)) => Err(NotTaken::Full),
            Err(TrySendError::Disconnected(_)) => Err(NotTaken::Closed),
        }
    }

    /// What is under way, and what was before.
    pub(crate) fn shown(&self) -> Shown {
        self.board.shown().clone()
    }
}
