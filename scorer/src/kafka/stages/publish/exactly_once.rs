//! Exactly once: one transaction a batch. Its results are sent as they come, and readers see them when it is committed.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::{PublishedBatch, Publisher};
use crate::core::PartitionChanges;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{ProduceRecord, ProducedOffsets};
use crate::kafka::membership::commit_fence::CommitFence;
use crate::kafka::stages::batch::{CommitPoint, CommitResult, ScoredPart};
use crate::kafka::stages::commit::{Transaction, Transactions};
use crate::kafka::stages::transaction_error::TransactionError;
use crate::kafka::wire::offset_metadata::StateTag;

/// How often a batch is sent before everything goes back to the last commit.
const ATTEMPTS: u32 = 3;

/// A batch that is not whole yet.
struct OpenBatch<'a> {
    batch: PublishedBatch<'a>,
    /// How many of its records are in the open transaction.
    sent: usize,
    /// How often sending it has failed. Then nothing more of it is sent before it is whole.
    failures: u32,
}

impl Publisher {
    pub(super) fn run_exactly_once(
        &self,
        parts: &Receiver<ScoredPart>,
        mut transactions: Transactions,
    ) -> Result<(), KafkaError> {
        transactions.start(&self.stop)?;
        let mut open: Option<OpenBatch<'_>> = None;
        let mut failed_epoch = None;
        while let Ok(part) = parts.recv() {
            let id = part.id;
            if open.take_if(|open| open.batch.id.epoch != id.epoch).is_some() {
                transactions.abandon();
            }
            if failed_epoch == Some(id.epoch) {
                continue;
            }
            let start = Instant::now();
            let current = open.get_or_insert_with(|| OpenBatch { batch: self.open(id), sent: 0, failures: 0 });
            let Some(point) = current.batch.add(part)? else {
                self.send_ahead(&mut transactions, current)?;
                continue;
            };
            let (Some(mut whole), CommitPoint::Changes { changes, fence }) = (open.take(), point) else { continue };
            let result = self.commit(&mut transactions, &mut whole, &changes, &fence)?;
            self.trace(&whole.batch, transactions.acknowledged(), result.as_ref().err().cloned());
            match result {
                Ok(produced) => self.committed(whole.batch, produced, start),
                Err(reason) => {
                    failed_epoch = Some(id.epoch);
                    self.status.update(|status| status.rolled_back += 1);
                    let _ = self.results.send(CommitResult::Failed { epoch: id.epoch, reason });
                }
            }
        }
        // Nobody is going to end what is half done.
        transactions.abandon();
        Ok(())
    }

    /// Sends what there is of a batch. Where that fails, all of it is sent once it is whole.
    fn send_ahead(&self, transactions: &mut Transactions, open: &mut OpenBatch<'_>) -> Result<(), KafkaError> {
        let publication = &mut open.batch.publication;
        if open.failures > 0 || open.sent == publication.len() {
            return Ok(());
        }
        let result = transactions.send(&mut publication.records_from(open.sent), &self.stop);
        open.sent = if result.is_ok() { publication.len() } else { 0 };
        match result {
            Ok(()) => Ok(()),
            Err(TransactionError::Undeliverable(error)) => Err(error),
            Err(TransactionError::Refused(refused)) => publication.refuse(&refused),
            Err(error) => {
                tracing::debug!(%error, "a part of a batch is sent again with the whole");
                self.status.update(|status| status.sent_again += 1);
                open.failures += 1;
                Ok(())
            }
        }
    }

    /// Commits a batch: without the records that topics do not take, and again where it failed and nothing of it was lost.
    /// Inside is why it came to nothing.
    fn commit(
        &self,
        transactions: &mut Transactions,
        open: &mut OpenBatch<'_>,
        changes: &[PartitionChanges],
        fence: &CommitFence,
    ) -> Result<Result<ProducedOffsets, String>, KafkaError> {
        let owner = self.input.owner();
        let tag = |of: &PartitionChanges| StateTag::of(&of.head).encode(&owner);
        let offset = |of: &PartitionChanges| (of.partition, of.head.next_offset, tag(of));
        let offsets: Vec<(i32, i64, String)> = changes.iter().map(offset).collect();
        let transaction = Transaction { input: &self.input, offsets: &offsets, fence };
        let publication = &mut open.batch.publication;
        loop {
            let result = {
                let mut records = publication.records_from(open.sent).chain(self.state_records(changes));
                transactions.commit(&transaction, &mut records, &self.consumer, &self.stop)
            };
            // Where it failed, nothing of it is there any more.
            open.sent = 0;
            let (reason, is_unknown) = match result {
                Ok(produced) => return Ok(Ok(produced)),
                Err(TransactionError::Undeliverable(error)) => return Err(error),
                Err(TransactionError::Refused(refused)) => {
                    publication.refuse(&refused)?;
                    continue;
                }
                Err(TransactionError::Abortable(reason) | TransactionError::FatalProducer(reason)) => (reason, None),
                Err(TransactionError::Unknown(reason, produced)) => (reason, Some(produced)),
            };
            // A new producer ends what the old one left open: offsets are known only then.
            transactions.start(&self.stop)?;
            if let Some(produced) = is_unknown {
                match transactions.was_committed(&transaction, &self.consumer, &self.stop) {
                    Some(true) => return Ok(Ok(produced)),
                    Some(false) => {}
                    None => return Ok(Err(reason)),
                }
            }
            open.failures += 1;
            if open.failures >= ATTEMPTS || !self.may_try_again(transactions, fence) {
                return Ok(Err(reason));
            }
            tracing::debug!(reason, failures = open.failures, "a batch is sent again");
            self.status.update(|status| status.sent_again += 1);
        }
    }

    /// Whether a batch that failed is as good as before.
    fn may_try_again(&self, transactions: &Transactions, fence: &CommitFence) -> bool {
        transactions.may_try_again() && !self.stop.is_requested() && fence.holds(&self.consumer)
    }

    fn state_records<'a>(&'a self, changes: &'a [PartitionChanges]) -> impl Iterator<Item = ProduceRecord<'a>> {
        let topic = &self.topics.state;
        changes
            .iter()
            .flat_map(move |of| of.records.iter().map(move |record| ProduceRecord::state(topic, of.partition, record)))
    }
}
