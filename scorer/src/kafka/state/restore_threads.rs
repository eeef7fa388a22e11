//! Restoring partitions on threads of their own, while the others are read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::restore::{Restoration, Restore, StateRestorer};
use crate::kafka::threads::spawn_with_client;

/// Whether the outcome of a partition is still wanted.
#[derive(Debug, Clone)]
struct Ticket(Arc<AtomicBool>);

impl Ticket {
    fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    fn is_valid(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn cancel(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A thread for the partitions that are begun with together. It ends by itself once it has told of all of them, or nothing of
/// them is wanted any more; nobody waits for it.
pub(crate) struct RestoreThreads {
    restorer: Arc<StateRestorer>,
    to_outcomes: Sender<(Ticket, Restoration)>,
    outcomes: Receiver<(Ticket, Restoration)>,
    /// The partitions without an outcome yet.
    tickets: BTreeMap<i32, Ticket>,
}

impl RestoreThreads {
    /// Nothing is restored yet.
    pub(crate) fn new(restorer: StateRestorer) -> Self {
        let (to_outcomes, outcomes) = channel();
        Self { restorer: Arc::new(restorer), to_outcomes, outcomes, tickets: BTreeMap::new() }
    }

    /// What is under way of partitions has no outcome any more.
    fn forget(&mut self, partitions: &[i32]) {
        for partition in partitions {
            if let Some(ticket) = self.tickets.remove(partition) {
                ticket.cancel();
            }
        }
    }
}

impl Restore for RestoreThreads {
    fn begin(&mut self, partitions: &[i32]) {
        self.forget(partitions);
        if let Some(standbys) = &self.restorer.standbys {
            standbys.own(partitions);
        }
        if partitions.is_empty() {
            return;
        }
        let tickets: BTreeMap<i32, Ticket> = partitions.iter().map(|&partition| (partition, Ticket::new())).collect();
        self.tickets.extend(tickets.clone());
        let (restorer, to_outcomes, partitions) =
            (self.restorer.clone(), self.to_outcomes.clone(), partitions.to_vec());
        spawn_with_client("restore", move || {
            let is_wanted = |partition: i32| tickets.get(&partition).is_some_and(Ticket::is_valid);
            restorer.restore(&partitions, &is_wanted, &mut |partition, result| {
                if let Some(ticket) = tickets.get(&partition) {
                    // Nobody hears it any more where the stream has ended.
                    let _ = to_outcomes.send((ticket.clone(), Restoration { partition, result }));
                }
            });
            Ok(())
        });
    }

    fn outcome(&mut self) -> Option<Restoration> {
        loop {
            let (ticket, restoration) = self.outcomes.try_recv().ok()?;
            if ticket.is_valid() {
                self.tickets.remove(&restoration.partition);
                return Some(restoration);
            }
        }
    }

    fn cancel(&mut self, partitions: &[i32]) {
        self.forget(partitions);
        if let Some(standbys) = &self.restorer.standbys {
            standbys.disown(partitions);
        }
    }
}

impl Drop for RestoreThreads {
    fn drop(&mut self) {
        self.tickets.values().for_each(Ticket::cancel);
        if let Some(standbys) = &self.restorer.standbys {
            standbys.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rdkafka::mocking::MockCluster;
    use shared::pipeline::Pipeline;

    use super::*;
    use crate::core::{Origin, Start};
    use crate::kafka::client::error::KafkaError;
    use crate::kafka::client::settings::KafkaSettings;
    use crate::kafka::client::watchdog::Watchdog;
    use crate::kafka::options::Delivery;
    use crate::kafka::state::changelogs::Changelogs;
    use crate::kafka::topics::input::InputTopic;
    use crate::kafka::topics::names::Topics;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A group that has committed nothing, of a topic with `partitions` partitions, all of which have an empty changelog.
    fn with_group(partitions: i32, test: impl FnOnce(RestoreThreads)) {
        let cluster = MockCluster::new(1).unwrap();
        let pipeline = Arc::new(Pipeline::load("invoices").unwrap());
        let topics = Topics::new(&pipeline, "g");
        cluster.create_topic(&topics.input, partitions, 1).unwrap();
        cluster.create_topic(&topics.state, partitions, 1).unwrap();
        let (topic, layout) = (topics.input.clone(), pipeline.state_layout());
        let changelogs = Changelogs {
            settings: KafkaSettings::at(cluster.bootstrap_servers()),
            input: InputTopic::without_id(&topics.input, "g", &pipeline.name),
            origin: Origin { topic, partitions, layout, topic_id: None },
            pipeline,
            topics,
            group: "g".to_owned(),
            snapshots: None,
            watchdog: Watchdog::new(),
            #[cfg(feature = "fault-injection")]
            faults: crate::kafka::stages::faults::FaultInjection::default(),
        };
        test(RestoreThreads::new(StateRestorer { delivery: Delivery::ExactlyOnce, changelogs, standbys: None }));
    }

    fn outcomes(threads: &mut RestoreThreads, count: usize) -> Vec<Restoration> {
        let (start, mut found) = (Instant::now(), Vec::new());
        while found.len() < count {
            assert!(start.elapsed() < PATIENCE, "{found:?}");
            found.extend(threads.outcome());
            std::thread::yield_now();
        }
        found.sort_by_key(|restoration| restoration.partition);
        found
    }

    #[test]
    fn each_partition_has_an_outcome_once() {
        with_group(2, |mut threads| {
            threads.begin(&[0, 1]);
            let found = outcomes(&mut threads, 2);
            for (expected, restoration) in (0..).zip(found) {
                assert_eq!(restoration.partition, expected);
                let start = restoration.result.unwrap();
                assert!(matches!((start.offset, start.start), (0, Start::At(0))));
            }
            assert!(threads.outcome().is_none() && threads.tickets.is_empty());
        });
    }

    #[test]
    fn what_is_cancelled_has_no_outcome_until_it_is_begun_with_again() {
        with_group(2, |mut threads| {
            threads.begin(&[0, 1]);
            threads.cancel(&[1]);
            threads.begin(&[1]);
            threads.cancel(&[0, 1]);
            threads.begin(&[1]);
            assert_eq!(outcomes(&mut threads, 1)[0].partition, 1);
            assert!(threads.outcome().is_none());
        });
    }

    #[test]
    fn what_is_true_of_all_is_told_of_each() {
        with_group(1, |mut threads| {
            threads.begin(&[0, 1]);
            for restoration in outcomes(&mut threads, 2) {
                assert!(matches!(restoration.result, Err(KafkaError::PartitionsChanged { before: 1, now: 2, .. })));
            }
        });
    }
}
