//! What comes in: a queue that never waits for its reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// Messages that may wait to be taken in.
const QUEUED: usize = 8192;

/// Bytes that may wait to be taken in.
const QUEUED_BYTES: usize = 16 << 20;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A verdict of one detector, or the verdicts of all of them on an entity.
    Verdict,
    /// A dead letter.
    DeadLetter,
}

/// A message that was committed.
#[derive(Debug, Clone)]
pub struct Committed {
    /// What it is.
    pub kind: Kind,
    /// Its bytes, as they were published.
    pub payload: Vec<u8>,
    /// When it was made, in milliseconds since 1970.
    pub at: i64,
}

#[derive(Debug, Default)]
struct Pressure {
    bytes: AtomicUsize,
    dropped: AtomicU64,
    is_refilled: AtomicBool,
}

/// Where the stream leaves what it has committed.
#[derive(Debug, Clone)]
pub struct Intake {
    queue: mpsc::Sender<Committed>,
    pressure: Arc<Pressure>,
}

/// Where earlier messages are left, by a thread that may wait.
#[derive(Debug)]
pub struct Refill {
    queue: mpsc::Sender<Committed>,
}

/// The other end of both.
#[derive(Debug)]
pub(crate) struct Inbox {
    live: mpsc::Receiver<Committed>,
    earlier: mpsc::Receiver<Committed>,
    pressure: Arc<Pressure>,
    is_refilled: bool,
}

/// How it goes with what comes in.
#[derive(Debug, Clone)]
pub(crate) struct Inflow(Arc<Pressure>);

/// Both ends of the queues.
pub(crate) fn intake() -> (Intake, Refill, Inbox) {
    let (live, from_live) = mpsc::channel(QUEUED);
    // Whoever reads topics waits, so that few need to be in memory.
    let (earlier, from_earlier) = mpsc::channel(64);
    let pressure = Arc::<Pressure>::default();
    let inbox = Inbox { live: from_live, earlier: from_earlier, pressure: pressure.clone(), is_refilled: false };
    (Intake { queue: live, pressure }, Refill { queue: earlier }, inbox)
}

impl Intake {
    /// Leaves a message, or drops it where too many wait. Never waits.
    pub fn offer(&self, committed: Committed) {
        let bytes = committed.payload.len();
        let waiting = self.pressure.bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting.saturating_add(bytes) > QUEUED_BYTES || self.queue.try_send(committed).is_err() {
            self.pressure.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.pressure.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many messages were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.pressure.dropped.load(Ordering::Relaxed)
    }
}

impl Refill {
    /// Leaves an earlier message, and waits where too many do. `false` once nobody wants any.
    pub fn add(&self, committed: Committed) -> bool {
        self.queue.blocking_send(committed).is_ok()
    }
}

impl Inbox {
    /// The next message: what is live first. `None` once nobody can leave any.
    pub(crate) async fn next(&mut self) -> Option<Committed> {
        loop {
            let received = tokio::select! {
                biased;
                live = self.live.recv() => return live.inspect(|it| self.take(it)),
                earlier = self.earlier.recv(), if !self.is_refilled => earlier,
            };
            match received {
                Some(earlier) => return Some(earlier),
                None => {
                    self.is_refilled = true;
                    self.pressure.is_refilled.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    fn take(&self, committed: &Committed) {
        self.pressure.bytes.fetch_sub(committed.payload.len(), Ordering::Relaxed);
    }

    pub(crate) fn inflow(&self) -> Inflow {
        Inflow(self.pressure.clone())
    }
}

impl Inflow {
    /// How many messages were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Whether all earlier messages are there.
    pub(crate) fn is_refilled(&self) -> bool {
        self.0.is_refilled.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Committed {
        Committed { kind: Kind::Verdict, payload: vec![0; bytes], at: 0 }
    }

    fn read(inbox: &mut Inbox) -> Option<Committed> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(inbox.next())
    }

    /// Nobody reads, and everything that is offered comes back at once.
    #[test]
    fn a_queue_that_nobody_reads_drops_and_counts() {
        let (intake, _refill, mut inbox) = intake();
        for _ in 0..QUEUED + 1000 {
            intake.offer(message(10));
        }
        assert_eq!((intake.dropped(), inbox.inflow().dropped()), (1000, 1000));
        // What is read makes room.
        assert!(read(&mut inbox).is_some());
        intake.offer(message(10));
        assert_eq!(intake.dropped(), 1000);
        intake.offer(message(10));
        assert_eq!(intake.dropped(), 1001);
    }

    #[test]
    fn few_large_messages_fill_it_too() {
        let (intake, _refill, mut inbox) = intake();
        for _ in 0..20 {
            intake.offer(message(1 << 20));
        }
        assert_eq!(intake.dropped(), 4);
        assert!(read(&mut inbox).is_some());
        intake.offer(message(1 << 20));
        assert_eq!(intake.dropped(), 4);
    }

    #[test]
    fn what_is_live_comes_before_what_is_earlier() {
        let (intake, refill, mut inbox) = intake();
        assert!(refill.add(Committed { at: 1, ..message(1) }) && refill.add(Committed { at: 2, ..message(1) }));
        intake.offer(Committed { at: 3, ..message(1) });
        drop(refill);
        assert!(!inbox.inflow().is_refilled());
        let times: Vec<i64> = (0..3).map(|_| read(&mut inbox).unwrap().at).collect();
        assert_eq!(times, [3, 1, 2]);
        drop(intake);
        assert!(read(&mut inbox).is_none(), "nobody is left");
    }
}
