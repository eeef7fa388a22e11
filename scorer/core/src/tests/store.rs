//! A broker's side of cores that share partitions.

use super::*;

/// A broker's side of a core that shares partitions: a changelog and the topic of reports.
#[derive(Default)]
pub(super) struct Store {
    pub changelogs: BTreeMap<i32, Vec<StateRecord>>,
    pub reports: Vec<Report>,
    pub out: Vec<Output>,
}

impl Store {
    /// Commits what a core has: its outputs, its reports and its changes.
    pub fn commit(&mut self, core: &mut Core, mut outputs: Vec<Output>) {
        core.report(&mut outputs);
        for output in outputs {
            match output {
                Output::Report(report) => self.reports.push(report),
                output => self.out.push(output),
            }
        }
        for PartitionChanges { partition, records, .. } in core.take_changes() {
            self.changelogs.entry(partition).or_default().extend(records);
        }
    }

    /// The changelog of a partition after compaction: the last record of each key, in order; deletions too for a while.
    pub fn compacted(&self, partition: i32) -> Vec<StateRecord> {
        let records = self.changelogs.get(&partition).cloned().unwrap_or_default();
        let last: BTreeMap<Vec<u8>, usize> =
            records.iter().enumerate().map(|(i, record)| (record.key.clone(), i)).collect();
        records
            .into_iter()
            .enumerate()
            .filter(|(i, record)| last[&record.key] == *i)
            .map(|(_, record)| record)
            .collect()
    }

    pub fn restore(&self, partition: i32, partitions: i32) -> Option<Restored> {
        restored(&self.compacted(partition), partitions)
    }

    /// The same of the only partition of another pipeline.
    pub fn restore_for(&self, pipeline: &Pipeline) -> Option<Restored> {
        restored_for(pipeline, &self.compacted(0), 1)
    }

    /// Lets the owner of the windows read the reports that it has not read yet.
    pub fn deliver(&mut self, core: &mut Core) {
        let from = core.reports_from().unwrap_or(i64::MAX);
        let mut outputs = Vec::new();
        for (offset, report) in self.reports.clone().into_iter().enumerate().skip(from as usize) {
            core.apply(Input::Report { report, offset: offset as i64 }, &mut outputs);
        }
        self.commit(core, outputs);
    }
}

pub(super) fn origin(partitions: i32) -> Origin {
    Origin { topic: "purchases".into(), partitions, layout: pipeline().state_layout(), topic_id: None }
}

pub(super) fn sharing(partitions: i32) -> Core {
    Core::sharing(pipeline(), Recovery::Changelog, origin(partitions))
}

/// With the only partition of another pipeline, as the store has it; and where to go on.
pub(super) fn started_for(store: &Store, pipeline: &Arc<Pipeline>) -> (Core, i64) {
    let mut core = Core::sharing(pipeline.clone(), Recovery::Changelog, origin(1));
    let from = assign(&mut core, 0, store.restore_for(pipeline));
    (core, from)
}

pub(super) fn restored(records: &[StateRecord], partitions: i32) -> Option<Restored> {
    restored_for(&pipeline(), records, partitions)
}

pub(super) fn restored_for(pipeline: &Pipeline, records: &[StateRecord], partitions: i32) -> Option<Restored> {
    let mut restored = StateReader::new(pipeline, origin(partitions));
    for record in records {
        restored.take(pipeline, &record.key, record.value.as_deref()).unwrap();
    }
    restored.head().is_some().then(|| restored.finish(pipeline).unwrap())
}

pub(super) fn start(store: &Store, core: &mut Core, partition: i32, partitions: i32) -> i64 {
    assign(core, partition, store.restore(partition, partitions))
}

fn assign(core: &mut Core, partition: i32, restored: Option<Restored>) -> i64 {
    let (start, from) = match restored {
        Some(restored) => {
            let from = restored.head().unwrap().next_offset;
            (Start::Restored(Box::new(restored)), from)
        }
        None => (Start::At(0), 0),
    };
    core.apply(Input::Assigned { partition, start }, &mut Vec::new());
    from
}

pub(super) fn feed(core: &mut Core, partition: i32, lines: &[(i64, String)], from: i64, out: &mut Vec<Output>) {
    for (offset, (timestamp, payload)) in lines.iter().enumerate().skip(from as usize) {
        let record = Record::new(partition, offset as i64, *timestamp, payload.as_bytes());
        core.apply(Input::Record(record), out);
        let counters = core.counters();
        assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
    }
}
