//! How the state of a partition is deleted, whatever wrote it.

use std::collections::BTreeSet;

use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::head::{Head, Origin};
use super::record::StateRecord;
use crate::cancellations::windows::Windows;

/// What the keys of a changelog are, whatever wrote it: enough to delete its state.
#[derive(Debug, Default)]
pub struct LiveKeys {
    keys: BTreeSet<Vec<u8>>,
}

impl LiveKeys {
    /// Takes in the next record.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(_) => self.keys.insert(key.to_vec()),
            None => self.keys.remove(key),
        };
    }

    /// The records that delete everything but the head and the windows, which are written over.
    pub(crate) fn deletions(&self) -> Vec<StateRecord> {
        let gone = self.keys.iter().filter(|key| ![Head::KEY, Windows::KEY].contains(&key.as_slice()));
        gone.map(|key| StateRecord { key: key.clone(), value: None }).collect()
    }

    /// The records that delete everything and begin a new life at `next_offset` of the input; where the windows are of
    /// this partition, with the reports from `reports_from` on.
    pub fn reset(
        &self,
        pipeline: &Pipeline,
        origin: Origin,
        birth: i64,
        next_offset: i64,
        reports_from: Option<i64>,
    ) -> (Vec<StateRecord>, Head) {
        let is_kept = |key: &&Vec<u8>| **key == Head::KEY || (**key == Windows::KEY && reports_from.is_some());
        let gone = self.keys.iter().filter(|key| !is_kept(key));
        let mut out: Vec<StateRecord> = gone.map(|key| StateRecord { key: key.clone(), value: None }).collect();
        if let (Some(position), Some(settings)) = (reports_from, &pipeline.cancellations) {
            out.push(Windows::starting_at(settings, position).record());
        }
        let head = Head {
            origin,
            birth,
            sequence: 1,
            next_offset,
            watermark: None,
            idle_since: None,
            idle_for: None,
            closed_through: Timestamp::MIN,
            next_list: 0,
        };
        out.push(head.record());
        (out, head)
    }
}
