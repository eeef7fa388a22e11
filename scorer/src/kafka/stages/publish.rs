//! The last stage: messages out, acknowledgements in, progress committed; and what came of it goes back to the first.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender as Channel};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::batch::{Outcome, Progress, Publication, Ticket};
use super::commit::{Failure, Transaction, Transactions};
use crate::agreement::Agreement;
use crate::core::{PartitionChanges, Resume};
use crate::kafka::client::consumer::InputConsumer;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{Ends, Outgoing, Sender};
use crate::kafka::options::OnMessage;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::names::Topics;
use crate::kafka::wire::offset_metadata::{Tag, encode_resume};
use crate::messages::Message;
use crate::status::StatusCell;
use crate::truth::Truth;

/// The last stage.
pub(crate) struct Publisher {
    pub consumer: Arc<InputConsumer>,
    pub topics: Topics,
    pub status: StatusCell,
    pub stop: StopHandle,
    pub on_message: OnMessage,
    pub outcomes: Channel<Outcome>,
}

impl Publisher {
    /// Exactly once: until the channel closes or Kafka fails for good.
    pub(crate) fn run_transactions(
        &self,
        batches: &Receiver<Publication>,
        mut transactions: Transactions,
    ) -> Result<(), KafkaError> {
        transactions.start(&self.stop)?;
        let mut failed_epoch = None;
        while let Ok(Publication { ticket, messages, truth, agreement, progress }) = batches.recv() {
            let Progress::Changes { changes, group, given_up } = &progress else { continue };
            if failed_epoch == Some(ticket.epoch) {
                continue;
            }
            let offset = |of: &PartitionChanges| (of.partition, of.head.next_offset, Tag::of(&of.head).encode());
            let offsets: Vec<(i32, i64, String)> = changes.iter().map(offset).collect();
            let transaction = Transaction {
                messages: &|send| self.send(&messages, changes, send),
                topic: &self.topics.input,
                offsets: &offsets,
                group,
                given_up: *given_up,
            };
            match transactions.commit(&transaction, &self.consumer, &self.stop) {
                Ok(ends) => self.committed(ticket, &messages, (truth, agreement), ends),
                Err(Failure::Hopeless(error)) => return Err(error),
                Err(Failure::Abort(reason) | Failure::Rebuild(reason)) => {
                    failed_epoch = Some(ticket.epoch);
                    // A new producer ends what the old one left open: offsets are known only then.
                    transactions.start(&self.stop)?;
                    let _ = self.outcomes.send(Outcome::Failed { epoch: ticket.epoch, reason });
                }
            }
        }
        Ok(())
    }

    /// Results, then changes of state.
    fn send(
        &self,
        messages: &[Message],
        changes: &[PartitionChanges],
        send: &mut dyn FnMut(Outgoing<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for message in messages {
            let payload = message.payload();
            let key = message.key.as_deref().map(str::as_bytes);
            send(Outgoing { key, payload: Some(&payload), ..Outgoing::to(&message.topic) })?;
        }
        for PartitionChanges { partition, records, .. } in changes {
            for record in records {
                let (key, payload) = (Some(record.key.as_slice()), record.value.as_deref());
                send(Outgoing { partition: Some(*partition), key, payload, ..Outgoing::to(&self.topics.state) })?;
            }
        }
        Ok(())
    }

    /// At least once: until the channel closes or Kafka fails.
    pub(crate) fn run_plain(&self, batches: &Receiver<Publication>, sender: &Sender) -> Result<(), KafkaError> {
        let mut last: Option<TopicPartitionList> = None;
        while let Ok(Publication { ticket, messages, truth, agreement, progress }) = batches.recv() {
            let Progress::Resume(points) = progress else { continue };
            for message in &messages {
                sender.send(&message.topic, message.key.as_deref().map(str::as_bytes), &message.payload())?;
            }
            sender.flush()?;
            if let Some(offsets) = self.commit_offsets(&points) {
                last = Some(offsets);
            }
            self.committed(ticket, &messages, (truth, agreement), sender.take_ends());
        }
        // The last word is said in person: an asynchronous commit may be lost when the client goes.
        if let Some(offsets) = last {
            self.consumer.commit(&offsets, CommitMode::Sync).map_err(KafkaError::failed("committing offsets"))?;
        }
        Ok(())
    }

    fn committed(&self, ticket: Ticket, messages: &[Message], found: (Truth, Agreement), ends: Ends) {
        messages.iter().for_each(|message| (self.on_message)(message));
        self.status.update(|status| {
            messages.iter().for_each(|message| status.count(message));
            status.truth.merge(found.0);
            status.agreement.merge(found.1);
        });
        let _ = self.outcomes.send(Outcome::Committed { number: ticket.number, ends });
    }

    /// Commits the partitions that are still ours; what else the batch held is its new owner's to commit.
    fn commit_offsets(&self, points: &[(i32, Resume)]) -> Option<TopicPartitionList> {
        let mut offsets = TopicPartitionList::new();
        for (partition, resume) in points.iter().filter(|(partition, _)| self.consumer.context().owns(*partition)) {
            let added = offsets.add_partition_offset(&self.topics.input, *partition, Offset::Offset(resume.offset));
            if added.is_ok()
                && let Some(mut element) = offsets.find_partition(&self.topics.input, *partition)
            {
                element.set_metadata(encode_resume(resume));
            }
        }
        if offsets.count() == 0 {
            return None;
        }
        if let Err(error) = self.consumer.commit(&offsets, CommitMode::Async) {
            tracing::warn!(%error, "offsets were not committed; their records may be read again");
        }
        Some(offsets)
    }
}
