//! What comes in: a queue that never waits for its reader, and never drops anything while there is room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::anomaly::{Anomaly, Severity};
use crate::rule::Rule;

/// Anomalies that may wait to be looked at: the reader takes some hundred thousand a second.
pub(crate) const QUEUED: usize = 20_000;

/// Where the stream leaves the anomalies that it has committed.
#[derive(Debug, Clone)]
pub struct Intake {
    queue: SyncSender<Anomaly>,
    rules: Arc<[Rule]>,
    dropped: Arc<AtomicU64>,
}

/// The other end.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Receiver<Anomaly>,
    /// Keeps the queue open: where the stream has ended, the time goes on.
    _open: SyncSender<Anomaly>,
    pub(crate) dropped: Arc<AtomicU64>,
}

pub(crate) fn intake(rules: &[Rule]) -> (Intake, Inbox) {
    let (queue, from_queue) = sync_channel(QUEUED);
    let dropped = Arc::<AtomicU64>::default();
    let inbox = Inbox { queue: from_queue, _open: queue.clone(), dropped: dropped.clone() };
    (Intake { queue, rules: rules.into(), dropped }, inbox)
}

impl Intake {
    /// Leaves an anomaly that a rule is about; what is beyond the queue's room is dropped, and counted. It is made only if a rule
    /// is about this severity and detector. Never waits.
    pub fn offer(&self, severity: Severity, detector: &str, anomaly: impl FnOnce() -> Anomaly) {
        if !self.rules.iter().any(|rule| rule.concerns(severity, detector)) {
            return;
        }
        if self.queue.try_send(anomaly().shortened()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Inbox {
    /// The next anomaly, if one comes in time.
    pub(crate) fn next(&self, patience: Duration) -> Option<Anomaly> {
        self.queue.recv_timeout(patience).ok()
    }

    /// An anomaly that is there.
    pub(crate) fn try_next(&self) -> Option<Anomaly> {
        self.queue.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Condition;

    #[test]
    fn a_queue_that_nobody_reads_drops_and_counts_and_what_no_rule_is_about_is_not_made() {
        let condition = Condition::Anomalies { severity: Severity::High, detectors: Vec::new(), count: 1, window: 1 };
        let rule = Rule {
            name: "high".to_owned(),
            condition,
            group_by: Vec::new(),
            throttle: 0,
            repeat: None,
            resolve_after: 1,
            channels: Vec::new(),
        };
        let (intake, inbox) = intake(&[rule]);
        let anomaly = || Anomaly {
            entity: "a".to_owned(),
            key: "a".to_owned(),
            detector: "knn".to_owned(),
            severity: Severity::High,
            reason: String::new(),
            customer: None,
            fields: Vec::new(),
            at: 0,
        };
        intake.offer(Severity::Medium, "knn", || panic!("no rule is about it"));
        for _ in 0..QUEUED + 5 {
            intake.offer(Severity::High, "knn", anomaly);
        }
        assert_eq!(inbox.dropped.load(Ordering::Relaxed), 5);
        assert!(inbox.try_next().is_some());
        intake.offer(Severity::High, "knn", anomaly);
        assert_eq!(inbox.dropped.load(Ordering::Relaxed), 5);
    }
}
