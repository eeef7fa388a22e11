//! Records that are gone before they were read.

use crate::kafka::client::error::KafkaError;
use crate::kafka::options::OnLostRecords;

/// Records that were deleted before they were read: by retention, or by somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostRange {
    pub partition: i32,
    /// The offset of the first of them.
    pub first: i64,
    /// The offset of the last of them.
    pub last: i64,
}

impl LostRange {
    /// Where reading goes on.
    pub(crate) fn next(&self) -> i64 {
        self.last + 1
    }

    /// How many offsets there are.
    pub(crate) fn count(&self) -> u64 {
        self.first.abs_diff(self.next())
    }
}

/// What a stream does about lost records of its topic.
#[derive(Debug, Clone)]
pub(crate) struct LossPolicy {
    pub on_lost: OnLostRecords,
    pub topic: String,
    pub group: String,
}

impl LossPolicy {
    /// Says what is lost.
    ///
    /// # Errors
    /// [`KafkaError::RecordsLost`] where the stream is to end then.
    pub(crate) fn accept(&self, lost: &LostRange) -> Result<(), KafkaError> {
        let Self { on_lost, topic, group } = self;
        let &LostRange { partition, first, last } = lost;
        match on_lost {
            OnLostRecords::Fail => {
                let (topic, group) = (topic.clone(), group.clone());
                Err(KafkaError::RecordsLost { topic, partition, first, last, group })
            }
            OnLostRecords::Continue => {
                tracing::warn!(
                    topic,
                    partition,
                    first,
                    last,
                    lost = lost.count(),
                    "records were deleted before they were read"
                );
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_ends_the_stream_where_that_is_asked_for() {
        let lost = LostRange { partition: 2, first: 100, last: 299 };
        assert_eq!((lost.next(), lost.count()), (300, 200));
        let policy = |on_lost| LossPolicy { on_lost, topic: "in".to_owned(), group: "g".to_owned() };
        policy(OnLostRecords::Continue).accept(&lost).unwrap();
        insta::assert_snapshot!(
            policy(OnLostRecords::Fail).accept(&lost).unwrap_err(),
            @"the records from offset 100 to 299 of partition 2 of `in` were deleted before group `g` read them, and --on-lost-records is `fail`: nothing behind them is committed. `--on-lost-records continue` counts them, and goes on with the first record that is left"
        );
    }
}
