//! The partitions that an instance owns, and how far it has read each.

use std::collections::BTreeMap;

/// The partitions that a loop owns: the one place that knows which are ours, which of them are read, where reading goes on in
/// each of these, and which have been read to their ends.
///
/// Its owner is the loop's [`PartitionSource`]. Other threads ask the consumer's context, which a source changes together
/// with this.
///
/// [`PartitionSource`]: super::source::PartitionSource
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Without a position where a partition is not read, for example because its state is not there yet.
    partitions: BTreeMap<i32, Option<Position>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    next_offset: i64,
    is_caught_up: bool,
}

impl Assignment {
    /// Adds partitions that are not read yet, or notes that partitions are not read any more.
    pub(crate) fn hold(&mut self, partitions: &[i32]) {
        self.partitions.extend(partitions.iter().map(|&partition| (partition, None)));
    }

    /// Notes where reading begins, or goes on. A partition that is not ours stays what it is.
    pub(crate) fn read_from(&mut self, positions: &[(i32, i64)]) {
        for &(partition, next_offset) in positions {
            if let Some(position) = self.partitions.get_mut(&partition) {
                *position = Some(Position { next_offset, is_caught_up: false });
            }
        }
    }

    /// Removes partitions.
    pub(crate) fn revoke(&mut self, partitions: &[i32]) {
        self.partitions.retain(|partition, _| !partitions.contains(partition));
    }

    /// Notes a record; whether its partition is read.
    pub(crate) fn on_record(&mut self, partition: i32, offset: i64) -> bool {
        let Some(position) = self.position_mut(partition) else { return false };
        *position = Position { next_offset: offset + 1, is_caught_up: false };
        true
    }

    /// Notes that there is no record before `next`: markers of transactions have offsets, too.
    pub(crate) fn on_passed(&mut self, partition: i32, next: i64) {
        if let Some(position) = self.position_mut(partition) {
            position.next_offset = position.next_offset.max(next);
        }
    }

    fn position_mut(&mut self, partition: i32) -> Option<&mut Position> {
        self.partitions.get_mut(&partition)?.as_mut()
    }

    /// Where reading goes on in a partition, if it is read.
    pub(crate) fn next_offset(&self, partition: i32) -> Option<i64> {
        self.partitions.get(&partition)?.map(|position| position.next_offset)
    }

    /// Notes that a partition has been read to its end; whether it is read.
    pub(crate) fn on_caught_up(&mut self, partition: i32) -> bool {
        self.position_mut(partition).map(|position| position.is_caught_up = true).is_some()
    }

    /// Whether every record of every partition that is read has been read; not while there is none.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.reads_any() && self.partitions.values().flatten().all(|position| position.is_caught_up)
    }

    /// Our partitions that have been read through these ends: up to the last record that was handed out, or to an end that
    /// was seen behind it.
    pub(crate) fn read_through(&self, ends: &[(i32, i64)], ends_seen: &BTreeMap<i32, i64>) -> Vec<i32> {
        let is_read = |&&(partition, end): &&(i32, i64)| {
            let seen = ends_seen.get(&partition).copied().unwrap_or(0);
            let position = self.partitions.get(&partition).copied().flatten();
            position
                .filter(|position| position.is_caught_up)
                .is_some_and(|position| position.next_offset.max(seen) >= end)
        };
        ends.iter().filter(is_read).map(|&(partition, _)| partition).collect()
    }

    /// The partitions that are read and not to their ends.
    pub(crate) fn behind(&self) -> impl Iterator<Item = i32> {
        let is_behind = |position: &Option<Position>| position.is_some_and(|position| !position.is_caught_up);
        self.partitions.iter().filter(move |(_, position)| is_behind(position)).map(|(&partition, _)| partition)
    }

    /// Whether any partition is read.
    pub(crate) fn reads_any(&self) -> bool {
        self.partitions.values().any(Option::is_some)
    }

    /// Whether there are partitions that are ours and not read.
    pub(crate) fn holds_any(&self) -> bool {
        self.partitions.values().any(Option::is_none)
    }

    /// Whether no partition is ours.
    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Our partitions.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.partitions.keys().copied().collect()
    }

    /// Our partitions that are read, each with the offset at which reading goes on.
    pub(crate) fn positions(&self) -> Vec<(i32, i64)> {
        let position = |(&partition, position): (&i32, &Option<Position>)| Some((partition, (*position)?.next_offset));
        self.partitions.iter().filter_map(position).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partitions that are read, each from an offset on.
    fn reading(positions: &[(i32, i64)]) -> Assignment {
        let mut assignment = Assignment::default();
        assignment.hold(&positions.iter().map(|(partition, _)| *partition).collect::<Vec<_>>());
        assignment.read_from(positions);
        assignment
    }

    #[test]
    fn what_is_held_is_ours_and_is_not_read() {
        let mut assignment = reading(&[(0, 10)]);
        assignment.hold(&[1]);
        assert_eq!((assignment.partitions(), assignment.positions()), (vec![0, 1], vec![(0, 10)]));
        assert!(!assignment.on_record(1, 20) && !assignment.on_caught_up(1) && assignment.next_offset(1).is_none());
        assert!(assignment.on_caught_up(0) && assignment.is_caught_up(), "only what is read has an end");
        assert_eq!(assignment.read_through(&[(0, 10), (1, 0)], &BTreeMap::from([(1, 5)])), [0]);
        assignment.hold(&[0]);
        assert!(!assignment.is_caught_up() && !assignment.is_empty());
        assignment.read_from(&[(0, 4), (1, 20), (7, 0)]);
        assert_eq!(assignment.positions(), [(0, 4), (1, 20)], "7 is not ours");
    }

    #[test]
    fn a_partition_is_caught_up_until_its_next_record() {
        assert!(!Assignment::default().is_caught_up(), "with nothing to read there is no end of it");
        let mut assignment = reading(&[(0, 10), (3, 0)]);
        assert!(assignment.on_caught_up(0) && !assignment.is_caught_up());
        assert!(assignment.on_caught_up(3) && assignment.is_caught_up());
        assert!(assignment.on_record(3, 0) && !assignment.is_caught_up());
        assert_eq!(assignment.positions(), [(0, 10), (3, 1)]);
    }

    #[test]
    fn markers_of_transactions_are_passed_and_nothing_goes_back() {
        let mut assignment = reading(&[(0, 10)]);
        assignment.on_passed(0, 12);
        assignment.on_passed(0, 11);
        assignment.on_passed(5, 7);
        assert_eq!((assignment.next_offset(0), assignment.next_offset(5)), (Some(12), None));
    }

    #[test]
    fn a_partition_is_read_through_an_end_that_it_has_reached() {
        let mut assignment = reading(&[(0, 10), (1, 20), (2, 30)]);
        assignment.on_caught_up(0);
        assignment.on_caught_up(1);
        let read = |assignment: &Assignment, ends: &[(i32, i64)], seen: &[(i32, i64)]| {
            assignment.read_through(ends, &seen.iter().copied().collect())
        };
        let ends = [(0, 10), (1, 20), (2, 30), (7, 0)];
        assert_eq!(read(&assignment, &ends, &[]), [0, 1], "the end of 2 was not seen, and 7 is not ours");
        assert_eq!(read(&assignment, &[(0, 11), (1, 20)], &[]), [1]);
        assert_eq!(read(&assignment, &[(0, 11), (1, 22)], &[(0, 11), (1, 21)]), [0], "behind a marker");
        assignment.on_record(0, 10);
        assert_eq!(read(&assignment, &[(0, 11)], &[(0, 11)]), [] as [i32; 0], "there may be more");
    }

    #[test]
    fn what_is_not_ours_leaves_no_trace() {
        let mut assignment = reading(&[(0, 10), (1, 20)]);
        assignment.revoke(&[1, 7]);
        assert_eq!(assignment.partitions(), [0]);
        assert!(!assignment.on_record(1, 20) && !assignment.on_caught_up(1));
        assert_eq!(assignment.positions(), [(0, 10)]);
    }

    #[test]
    fn partitions_that_are_sought_have_to_be_read_to_their_ends_again() {
        let mut assignment = reading(&[(0, 10)]);
        assignment.on_caught_up(0);
        assignment.read_from(&[(0, 4)]);
        assert!(!assignment.is_caught_up());
        assert_eq!(assignment.positions(), [(0, 4)]);
    }
}
