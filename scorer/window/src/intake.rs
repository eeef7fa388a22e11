//! What comes in: a queue that never waits for its reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::rate::Rate;

/// Messages that may wait to be taken in.
const QUEUED: usize = 8192;

/// Bytes that may wait to be taken in.
const QUEUED_BYTES: usize = 16 << 20;

/// Verdicts that are taken in a second.
const VERDICTS_A_SECOND: u64 = 5_000;

/// Dead letters that are: a feed that is all wrong must not keep a processor busy with what nobody could read.
const DEAD_LETTERS_A_SECOND: u64 = 500;

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
    verdicts: Rate,
    dead_letters: Rate,
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
    /// Leaves a message of this moment, or drops it where too many come or wait; its bytes are made only where there is room.
    /// Never waits.
    pub fn offer(&self, kind: Kind, at: i64, payload: impl FnOnce() -> Vec<u8>) {
        if !self.admits(kind, at) || !self.leave(kind, at, payload) {
            self.pressure.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn admits(&self, kind: Kind, at: i64) -> bool {
        match kind {
            Kind::Verdict => self.pressure.verdicts.admits(at, VERDICTS_A_SECOND),
            Kind::DeadLetter => self.pressure.dead_letters.admits(at, DEAD_LETTERS_A_SECOND),
        }
    }

    /// Whether there was room.
    fn leave(&self, kind: Kind, at: i64, payload: impl FnOnce() -> Vec<u8>) -> bool {
        let Ok(place) = self.queue.try_reserve() else { return false };
        let payload = payload();
        let waiting = self.pressure.bytes.fetch_add(payload.len(), Ordering::Relaxed);
        if waiting.saturating_add(payload.len()) > QUEUED_BYTES {
            self.pressure.bytes.fetch_sub(payload.len(), Ordering::Relaxed);
            return false;
        }
        place.send(Committed { kind, payload, at });
        true
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

    fn offer(intake: &Intake, at: i64, bytes: usize) {
        intake.offer(Kind::Verdict, at, || vec![0; bytes]);
    }

    fn read(inbox: &mut Inbox) -> Option<Committed> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(inbox.next())
    }

    /// Nobody reads, and everything that is offered comes back at once.
    #[test]
    fn a_queue_that_nobody_reads_drops_and_counts() {
        let (intake, _refill, mut inbox) = intake();
        for second in 0..QUEUED + 1000 {
            offer(&intake, second as i64 * 1000, 10);
        }
        assert_eq!((intake.dropped(), inbox.inflow().dropped()), (1000, 1000));
        // What is read makes room.
        assert!(read(&mut inbox).is_some());
        offer(&intake, 0, 10);
        assert_eq!(intake.dropped(), 1000);
        intake.offer(Kind::Verdict, 0, || panic!("nothing is made of what there is no room for"));
        assert_eq!(intake.dropped(), 1001);
    }

    #[test]
    fn few_large_messages_fill_it_too() {
        let (intake, _refill, mut inbox) = intake();
        for _ in 0..20 {
            offer(&intake, 0, 1 << 20);
        }
        assert_eq!(intake.dropped(), 4);
        assert!(read(&mut inbox).is_some());
        offer(&intake, 0, 1 << 20);
        assert_eq!(intake.dropped(), 4);
    }

    #[test]
    fn more_in_a_second_than_anybody_reads_are_dropped_and_the_next_second_is_another_one() {
        let (intake, _refill, _inbox) = intake();
        for at in [1_000, 1_999, 2_000] {
            (0..400).for_each(|_| intake.offer(Kind::DeadLetter, at, Vec::new));
        }
        assert_eq!(intake.dropped(), 800 - DEAD_LETTERS_A_SECOND);
        offer(&intake, 2_000, 1);
        assert_eq!(intake.dropped(), 800 - DEAD_LETTERS_A_SECOND, "verdicts are counted apart");
    }

    #[test]
    fn what_is_live_comes_before_what_is_earlier() {
        let (intake, refill, mut inbox) = intake();
        assert!(refill.add(Committed { at: 1, ..message(1) }) && refill.add(Committed { at: 2, ..message(1) }));
        offer(&intake, 3, 1);
        drop(refill);
        assert!(!inbox.inflow().is_refilled());
        let times: Vec<i64> = (0..3).map(|_| read(&mut inbox).unwrap().at).collect();
        assert_eq!(times, [3, 1, 2]);
        drop(intake);
        assert!(read(&mut inbox).is_none(), "nobody is left");
    }
}
