//! Hops: how records that are looked at with others by several columns are scored where their topic has several partitions.
//!
//! A topic is keyed by one column. The first hop finds what the past of that column tells, and the records go on to a topic
//! that is keyed by the next one, with what is known by then. The last hop knows everything, as one partition would.

use std::sync::Arc;

use features::history::RecordFeatures;

use super::{Pipeline, Records, Scored};
use crate::fingerprint::fingerprint;

/// One of the hops of a pipeline.
#[derive(Debug, Clone)]
pub struct Hop {
    /// Which, from 0.
    pub index: usize,
    /// The column that each hop looks at, `(n_hops)`: that by which its records are keyed.
    pub columns: Vec<usize>,
    /// How many partitions each of its topics has.
    pub partitions: i32,
    /// The features that it finds: of the past of its column, the first one also of the record itself.
    pub features: RecordFeatures,
    /// What tells records that are under way from those of another pipeline.
    pub way: [u8; 8],
    /// The hop that finds each feature: `(n_features)`.
    found_by: Vec<usize>,
}

impl Hop {
    /// The column that it looks at.
    pub fn column(&self) -> usize {
        self.columns[self.index]
    }

    /// The column that the next hop looks at.
    pub fn next_column(&self) -> Option<usize> {
        self.columns.get(self.index + 1).copied()
    }

    /// Whether records come from a hop before.
    pub fn has_before(&self) -> bool {
        self.index > 0
    }

    /// How many features are known of a record that comes here.
    pub fn n_known(&self) -> usize {
        self.found_by.iter().filter(|hop| **hop < self.index).count()
    }

    /// The features that are known after this hop, in their order: `known` are those of the hops before, `own` its own.
    pub fn join(&self, known: &[f64], own: &[f64]) -> Vec<f64> {
        let (mut known, mut own) = (known.iter(), own.iter());
        let until_now = self.found_by.iter().filter(|hop| **hop <= self.index);
        until_now.filter_map(|hop| if *hop < self.index { known.next() } else { own.next() }).copied().collect()
    }
}

impl Records {
    /// The features that are found here: all, or those of the hop.
    pub fn own(&self) -> &RecordFeatures {
        self.hop.as_ref().map_or(&self.features, |hop| &hop.features)
    }
}

impl Pipeline {
    /// The hop that this is, where it is one of several.
    pub fn hop(&self) -> Option<&Hop> {
        match &self.scored {
            Scored::Records(records) => records.hop.as_ref(),
            Scored::Sessions(_) => None,
        }
    }

    /// Whether a topic with so many partitions is scored in several hops: records are looked at with others by more columns
    /// than one, and the topic is keyed by one.
    pub fn takes_hops(&self, partitions: i32) -> bool {
        partitions > 1 && self.placed_by().len() > 1
    }

    /// The pipeline as each hop works it off, where the topic has so many partitions: as it is, where one is enough.
    pub fn hops(&self, partitions: i32) -> Vec<Self> {
        let columns = self.placed_by();
        let Scored::Records(Records { features, .. }) = &self.scored else { return vec![self.clone()] };
        if !self.takes_hops(partitions) {
            return vec![self.clone()];
        }
        let keys = features.keys_of_features();
        let place = |key: usize| columns.iter().position(|column| *column == key);
        let found_by: Vec<usize> = keys.into_iter().map(|key| key.and_then(place).unwrap_or(0)).collect();
        let way = self.way(&columns, partitions);
        let hop = |index: usize| {
            let features = features.of_key(columns[index], index == 0);
            self.as_hop(Hop { index, columns: columns.clone(), partitions, features, way, found_by: found_by.clone() })
        };
        (0..columns.len()).map(hop).collect()
    }

    /// The columns whose values stay with a record as long as it is under way.
    pub fn kept_columns(&self, records: &Records) -> Vec<usize> {
        let mut columns = records.features.columns();
        columns.extend(records.features.places());
        columns.extend(self.entity.customer);
        columns.extend(self.zscores.iter().flat_map(|spec| std::iter::once(spec.value).chain(spec.by)));
        columns.extend(self.fields.columns());
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    fn as_hop(&self, hop: Hop) -> Self {
        let mut pipeline = self.clone();
        if hop.has_before() {
            // Its records are our own, and name no schema; cancellations are none of them.
            Arc::make_mut(&mut pipeline.schema).schemas = None;
            pipeline.registry = None;
            pipeline.cancellations = None;
        }
        if let Scored::Records(records) = &mut pipeline.scored {
            records.hop = Some(hop);
        }
        pipeline
    }

    /// The first bytes of the hash of all that a record under way depends on.
    fn way(&self, columns: &[usize], partitions: i32) -> [u8; 8] {
        let facts = format!("{}\n{}", self.state_layout(), self.carried(columns, partitions).join("\n"));
        let mut way = [0; 8];
        way.iter_mut().zip(fingerprint(facts.as_bytes()).bytes()).for_each(|(byte, digit)| *byte = digit);
        way
    }

    /// What a record takes along from hop to hop, one fact a line.
    fn carried(&self, columns: &[usize], partitions: i32) -> Vec<String> {
        let names = |columns: &[usize]| {
            let names: Vec<&str> = columns.iter().map(|&column| self.schema.columns[column].name.as_str()).collect();
            names.join(" ")
        };
        let mut facts = vec![format!("hops by {} over {partitions} partitions", names(columns))];
        if let Scored::Records(records) = &self.scored {
            facts.push(format!("carries {}", names(&self.kept_columns(records))));
        }
        facts
    }

    /// What the state of a hop depends on beside what all pipelines' does, one fact a line.
    pub(super) fn hop_layout(&self) -> Vec<String> {
        let Some(hop) = self.hop() else { return Vec::new() };
        let mut facts = self.carried(&hop.columns, hop.partitions);
        facts.push(format!("hop {} of {}", hop.index + 1, hop.columns.len()));
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payments() -> Pipeline {
        Pipeline::load("transactions").unwrap()
    }

    fn names(pipeline: &Pipeline) -> Vec<String> {
        let Scored::Records(records) = &pipeline.scored else { panic!("payments are scored one by one") };
        records.own().features().iter().map(|feature| feature.name.clone()).collect()
    }

    #[test]
    fn one_partition_takes_no_hops_and_no_other_state() {
        let whole = payments();
        let [same]: [Pipeline; 1] = whole.hops(1).try_into().unwrap();
        assert!(same.hop().is_none());
        assert_eq!(same.state_layout(), whole.state_layout());
        let invoices = Pipeline::load("invoices").unwrap();
        assert!(invoices.hops(6).iter().all(|hop| hop.hop().is_none()) && !invoices.takes_hops(6));
    }

    #[test]
    fn each_feature_is_found_by_the_hop_of_its_key() {
        let hops = payments().hops(4);
        let found: Vec<Vec<String>> = hops.iter().map(names).collect();
        assert_eq!(found, [vec!["RatioToUser", "PaymentsInHour", "Speed"], vec!["RatioToMerchant"]]);
        let [first, last] = [&hops[0], &hops[1]].map(|hop| hop.hop().unwrap());
        assert_eq!((first.n_known(), last.n_known()), (0, 3));
        assert_eq!(first.join(&[], &[1.0, 3.0, 4.0]), [1.0, 3.0, 4.0]);
        assert_eq!(last.join(&[1.0, 3.0, 4.0], &[2.0]), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!((first.next_column(), last.next_column()), (Some(last.column()), None));
        assert_eq!(first.way, last.way);
    }

    #[test]
    fn the_state_of_each_hop_is_its_own() {
        let whole = payments();
        let layouts = |partitions| whole.hops(partitions).iter().map(Pipeline::state_layout).collect::<Vec<_>>();
        let (four, three) = (layouts(4), layouts(3));
        let mut all = [four, three, vec![whole.state_layout()]].concat();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count, "{all:#?}");
        assert_ne!(whole.hops(4)[0].hop().unwrap().way, whole.hops(3)[0].hop().unwrap().way);
    }
}
