//! Reading partitions to their ends, in no group: this is how state is restored, and how topics are looked at.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;

use super::error::KafkaError;
use super::offsets::{partitions_of, positions_of};
use super::settings::QuietContext;

/// The longest wait for a record: how soon a request to stop is seen.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// A partition that is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub partition: i32,
    /// The first offset to read.
    pub from: Offset,
    /// Whether the partition is done where it ends now, or only when a record says so.
    pub ends_at_end: bool,
}

/// What is read.
#[derive(Debug)]
pub(crate) enum Read<'m, 'c> {
    /// A record of a partition that is not done.
    Record(&'m BorrowedMessage<'c>),
    /// The end of a partition that is done where it ends. It comes once.
    End(i32),
}

/// What that says about reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is more.
    ReadOn,
    /// Its partition is done where it ends.
    DoneAtEnd,
    /// Its partition is done.
    PartitionDone,
    /// Nothing more is wanted.
    Stop,
}

/// How reading ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Every partition that is wanted is done.
    AtEnd,
    /// What was read says so.
    Stopped,
    /// Nothing came for too long of any partition that is not done; there is at least one.
    Silent(Vec<Silence>),
}

/// That nothing came of a partition for too long.
#[derive(Debug)]
pub(crate) struct Silence {
    pub partition: i32,
    /// Whether its end was seen, and no record came after it.
    pub is_at_end: bool,
    /// The last error of the client, if there was any.
    pub error: Option<ClientError>,
}

/// A partition that is not done.
#[derive(Debug, Clone, Copy)]
struct Unread {
    ends_at_end: bool,
    is_at_end: bool,
}

impl Unread {
    fn new(part: &Part) -> Self {
        Self { ends_at_end: part.ends_at_end, is_at_end: false }
    }
}

/// Reads partitions of `topic`, which no other assignment of `consumer` outlives.
pub(crate) struct ReadToEnd<'a> {
    pub consumer: &'a BaseConsumer<QuietContext>,
    pub topic: &'a str,
    /// What for: in errors and logs.
    pub doing: &'static str,
    /// How long nothing may come.
    pub silence: Duration,
}

impl ReadToEnd<'_> {
    /// Reads until every part is done or no longer wanted, `take` says stop, or nothing comes for too long. A part that is
    /// done holds no other up, nor is it held up by one.
    ///
    /// # Errors
    /// Those of `take`; [`KafkaError::MissingTopic`]; when librdkafka refuses the assignment. Other errors of the client
    /// pass: it goes on by itself.
    pub(crate) fn read(
        &self,
        parts: &[Part],
        is_wanted: impl Fn(i32) -> bool,
        mut take: impl FnMut(Read<'_, '_>) -> Result<Next, KafkaError>,
    ) -> Result<Ended, KafkaError> {
        let parts: Vec<&Part> = parts.iter().filter(|part| is_wanted(part.partition)).collect();
        // The client aborts the process where partitions that have just been assigned are given up again at once.
        if parts.is_empty() {
            return Ok(Ended::AtEnd);
        }
        positions_of(self.topic, parts.iter().map(|part| (part.partition, part.from)))
            .and_then(|assignment| {
                self.consumer.assign(&assignment)?;
                // An earlier call may have been done with some.
                self.consumer.resume(&assignment)
            })
            .map_err(KafkaError::failed(self.doing))?;
        let mut unread: BTreeMap<i32, Unread> = parts.iter().map(|part| (part.partition, Unread::new(part))).collect();
        let (mut last_record, mut last_error) = (Instant::now(), None);
        let mut looked_at = Instant::now();
        while !unread.is_empty() {
            let polled = self.consumer.poll(POLL_TIMEOUT);
            if looked_at.elapsed() >= POLL_TIMEOUT {
                looked_at = Instant::now();
                let unwanted: Vec<i32> = unread.keys().copied().filter(|partition| !is_wanted(*partition)).collect();
                unwanted.into_iter().for_each(|partition| self.is_done(&mut unread, partition));
            }
            match polled {
                Some(Ok(message)) => {
                    // What is done may have got more since, which tells nothing of the others.
                    let Some(part) = unread.get_mut(&message.partition()) else { continue };
                    last_record = Instant::now();
                    part.is_at_end = false;
                    match take(Read::Record(&message))? {
                        Next::ReadOn => {}
                        Next::DoneAtEnd => part.ends_at_end = true,
                        Next::PartitionDone => self.is_done(&mut unread, message.partition()),
                        Next::Stop => return Ok(Ended::Stopped),
                    }
                    continue;
                }
                Some(Err(ClientError::PartitionEOF(partition))) => {
                    let Some(part) = unread.get_mut(&partition) else { continue };
                    part.is_at_end = true;
                    if part.ends_at_end {
                        self.is_done(&mut unread, partition);
                        if take(Read::End(partition))? == Next::Stop {
                            return Ok(Ended::Stopped);
                        }
                    }
                    continue;
                }
                Some(Err(ClientError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))) => {
                    return Err(KafkaError::MissingTopic(self.topic.to_owned()));
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "{}", self.doing);
                    last_error = Some(error);
                }
                None => {}
            }
            if last_record.elapsed() >= self.silence && !unread.is_empty() {
                let silence = |(&partition, part): (&i32, &Unread)| {
                    let (is_at_end, error) = (part.is_at_end, last_error.clone());
                    Silence { partition, is_at_end, error }
                };
                return Ok(Ended::Silent(unread.iter().map(silence).collect()));
            }
        }
        Ok(Ended::AtEnd)
    }

    /// Nothing more is wanted of a partition.
    fn is_done(&self, unread: &mut BTreeMap<i32, Unread>, partition: i32) {
        unread.remove(&partition);
        if let Err(error) = self.consumer.pause(&partitions_of(self.topic, &[partition])) {
            tracing::debug!(%error, partition, "{}", self.doing);
        }
    }

    /// As [`read`](Self::read), where silence is an error.
    ///
    /// # Errors
    /// As there, and when nothing comes for too long.
    pub(crate) fn read_all(
        &self,
        parts: &[Part],
        take: impl FnMut(&BorrowedMessage<'_>) -> Result<Next, KafkaError>,
    ) -> Result<(), KafkaError> {
        let mut take = take;
        let ended = self.read(
            parts,
            |_| true,
            |read| match read {
                Read::Record(message) => take(message),
                Read::End(_) => Ok(Next::ReadOn),
            },
        )?;
        match ended {
            Ended::AtEnd | Ended::Stopped => Ok(()),
            Ended::Silent(silent) => match silent.first() {
                Some(Silence { partition, error, .. }) => {
                    Err(KafkaError::no_answer(self.topic, *partition, self.silence, error.as_ref()))
                }
                None => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::kafka::client::producer::{ProduceRecord, Producer};
    use crate::kafka::client::settings::KafkaSettings;

    const TOPIC: &str = "topic";

    /// Longer than any test.
    const MINUTE: Duration = Duration::from_secs(60);

    /// A topic of two partitions, with three records in the first and one in the second, as `test` reads it.
    fn with_topic(silence: Duration, test: impl FnOnce(&ReadToEnd<'_>)) {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        let producer = Producer::new(&settings).unwrap();
        for partition in [0, 0, 0, 1] {
            producer.queue(ProduceRecord { partition: Some(partition), ..ProduceRecord::to(TOPIC) }).unwrap();
        }
        producer.flush().unwrap();
        let consumer = settings.reader("test").unwrap();
        test(&ReadToEnd { consumer: &consumer, topic: TOPIC, doing: "testing", silence });
    }

    fn parts(ends_at_end: bool) -> [Part; 2] {
        [0, 1].map(|partition| Part { partition, from: Offset::Beginning, ends_at_end })
    }

    /// The partitions of which nothing came, and whether their ends were seen.
    fn silent(ended: Result<Ended, KafkaError>) -> Vec<(i32, bool)> {
        let Ok(Ended::Silent(silent)) = ended else { panic!("{ended:?}") };
        silent.into_iter().map(|silence| (silence.partition, silence.is_at_end)).collect()
    }

    #[test]
    fn everything_is_read_to_the_end() {
        with_topic(MINUTE, |reader| {
            let mut seen = Vec::new();
            let mut ends = Vec::new();
            let ended = reader.read(
                &parts(true),
                |_| true,
                |read| {
                    match read {
                        Read::Record(message) => seen.push((message.partition(), message.offset())),
                        Read::End(partition) => ends.push(partition),
                    }
                    Ok(Next::ReadOn)
                },
            );
            assert!(matches!(ended, Ok(Ended::AtEnd)), "{ended:?}");
            seen.sort_unstable();
            ends.sort_unstable();
            assert_eq!((seen, ends), (vec![(0, 0), (0, 1), (0, 2), (1, 0)], vec![0, 1]));
        });
    }

    #[test]
    fn a_partition_is_done_when_a_record_says_so() {
        with_topic(MINUTE, |reader| {
            let mut seen = Vec::new();
            let ended = reader.read(
                &parts(false),
                |_| true,
                |read| {
                    let Read::Record(message) = read else { panic!("no partition is done at its end") };
                    seen.push((message.partition(), message.offset()));
                    let is_last = message.partition() == 1 || message.offset() == 1;
                    Ok(if is_last { Next::PartitionDone } else { Next::ReadOn })
                },
            );
            assert!(matches!(ended, Ok(Ended::AtEnd)), "{ended:?}");
            seen.sort_unstable();
            assert_eq!(seen, [(0, 0), (0, 1), (1, 0)]);
        });
    }

    #[test]
    fn silence_names_a_partition_that_is_not_done() {
        with_topic(Duration::from_secs(2), |reader| {
            let nothing_comes = [Part { partition: 1, from: Offset::End, ends_at_end: false }];
            let ended = reader.read(&nothing_comes, |_| true, |_| panic!("nothing comes"));
            assert_eq!(silent(ended), [(1, true)]);
            let failed = reader.read_all(&nothing_comes, |_| panic!("nothing comes")).unwrap_err();
            assert!(matches!(&failed, KafkaError::NoAnswer { partition: 1, .. }), "{failed}");
        });
    }

    #[test]
    fn a_partition_whose_leader_is_away_is_not_at_its_end() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        let consumer = settings.reader("test").unwrap();
        consumer.fetch_metadata(Some(TOPIC), MINUTE).unwrap();
        cluster.broker_down(1).unwrap();
        let silence = Duration::from_millis(300);
        let reader = ReadToEnd { consumer: &consumer, topic: TOPIC, doing: "testing", silence };
        let ended = reader.read(&parts(false)[..1], |_| true, |_| panic!("nothing comes"));
        assert_eq!(silent(ended), [(0, false)]);
    }

    #[test]
    fn a_partition_can_be_done_at_its_end_once_a_record_was_read() {
        with_topic(Duration::from_secs(2), |reader| {
            let mut ends = Vec::new();
            let ended = reader.read(
                &parts(false),
                |_| true,
                |read| match read {
                    Read::Record(message) if message.partition() == 0 && message.offset() == 1 => Ok(Next::DoneAtEnd),
                    Read::Record(_) => Ok(Next::ReadOn),
                    Read::End(partition) => {
                        ends.push(partition);
                        Ok(Next::ReadOn)
                    }
                },
            );
            assert_eq!((silent(ended), ends), (vec![(1, true)], vec![0]), "the other one is waited for");
        });
    }

    #[test]
    fn a_partition_that_is_no_longer_wanted_is_not_waited_for() {
        with_topic(MINUTE, |reader| {
            let start = Instant::now();
            let (is_wanted, mut ends) = (|partition| partition == 0 && start.elapsed() < POLL_TIMEOUT, Vec::new());
            let ended = reader.read(&parts(false), is_wanted, |read| {
                if let Read::End(partition) = read {
                    ends.push(partition);
                }
                Ok(Next::ReadOn)
            });
            assert!(matches!(ended, Ok(Ended::AtEnd)) && ends.is_empty(), "{ended:?}, {ends:?}");
        });
    }

    #[test]
    fn a_record_can_stop_it_and_nothing_is_read_that_nobody_wants() {
        with_topic(MINUTE, |reader| {
            let mut count = 0;
            let ended = reader.read(
                &parts(true),
                |_| true,
                |_| {
                    count += 1;
                    Ok(Next::Stop)
                },
            );
            assert!(matches!(ended, Ok(Ended::Stopped)) && count == 1, "{ended:?}, {count} records");
            let ended = reader.read(&parts(true), |_| false, |_| panic!("nothing is read"));
            assert!(matches!(ended, Ok(Ended::AtEnd)), "{ended:?}");
        });
    }
}
