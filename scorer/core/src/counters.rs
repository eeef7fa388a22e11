//! What became of the records: each has exactly one outcome, and the outcomes add up to the records.

use std::collections::BTreeMap;

use shared::reason::Reason;

/// Counts of records by outcome, and of entities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records read. A message counts once, or as often as it holds records.
    pub records: u64,
    /// Lines of entities that were closed and handed on to be scored.
    pub scored_lines: u64,
    /// Lines of complete entities that break a rule.
    pub erroneous_entity_lines: u64,
    /// Lines that could not be parsed.
    pub malformed_lines: u64,
    /// Lines for an entity that had been closed.
    pub late_lines: u64,
    /// Records whose key was taken a while ago.
    pub duplicate_lines: u64,
    /// Records with a time that is too far ahead, of Kafka's or of the present.
    pub future_lines: u64,
    /// Records that are older than anything that is remembered.
    pub old_lines: u64,
    /// Change events that say that a row was deleted.
    pub deletions: u64,
    /// Messages that hold no record: tombstones, and empty arrays.
    pub tombstones: u64,
    /// Lines of cancellations.
    pub cancellation_lines: u64,
    /// Lines read again after a restart, whose outcome had been published before.
    pub already_published_lines: u64,
    /// Lines of entities that were open when their partition went to another instance.
    pub given_up_lines: u64,
    /// Lines of entities that were open when their partition came with the state of an earlier owner.
    pub taken_over_lines: u64,
    /// Records that went on to the next hop.
    pub forwarded_lines: u64,
    /// Records that came from the hop before.
    pub received_lines: u64,
    /// Records of an internal topic that nobody of this pipeline wrote there: neither read nor an outcome.
    pub foreign_records: u64,
    /// Records that were deleted before they were read: as many as there are offsets, which may include those of markers of
    /// transactions and of records that compaction had removed.
    pub lost_to_retention: u64,
    /// Lines whose key in Kafka is missing or is not their entity's, where that may part them from their entity: a
    /// remark, not an outcome.
    pub misplaced_lines: u64,
    /// Lines with a date before 1970, or more than a year after them, by column: a remark, not an outcome.
    pub odd_dates: BTreeMap<String, u64>,
    /// Lines of entities that are open, and records that wait for those that may come before them.
    pub open_lines: u64,
    /// Entities that are open, and records that wait.
    pub open_entities: u64,
    /// Entities closed and handed on to be scored.
    pub scored_entities: u64,
    /// Complete entities that break a rule.
    pub erroneous_entities: u64,
    /// Entities of either kind that were closed before their time, at a limit of the pipeline.
    pub closed_early: u64,
    /// Records that were judged after one of a later time: a remark, not an outcome.
    pub out_of_order: u64,
    /// Keys whose past was forgotten at a limit of the pipeline.
    pub forgotten_keys: u64,
    /// Keys that were done with and forgotten at a limit, before their time: a line of theirs is not known to be late, nor a
    /// copy to be one.
    pub forgotten_seen_keys: u64,
    /// Cancelled keys that were forgotten at a limit, before their time: a further line of theirs counts as another one.
    pub forgotten_cancelled_keys: u64,
    /// Records that a detector did not judge, because they came after a window that would have held them was judged: a
    /// remark, not an outcome, for each such detector.
    pub too_late_for_windows: u64,
    /// Windows of detectors that were judged before their time, at a limit of the pipeline.
    pub windows_judged_early: u64,
    /// Distinct cancelled keys.
    pub cancellations: u64,
    /// Broken rules by reason, lines and entities together.
    pub reasons: BTreeMap<Reason, u64>,
}

impl Counters {
    /// Records read, those that came from a hop before or with state, and those that could not be read any more.
    pub fn accounted(&self) -> u64 {
        self.records + self.received_lines + self.taken_over_lines + self.lost_to_retention
    }

    /// The sum of all outcomes: equals [`Counters::accounted`] at any moment.
    pub fn outcomes(&self) -> u64 {
        self.scored_lines
            + self.erroneous_entity_lines
            + self.malformed_lines
            + self.refused_lines()
            + self.cancellation_lines
            + self.deletions
            + self.tombstones
            + self.already_published_lines
            + self.given_up_lines
            + self.forwarded_lines
            + self.lost_to_retention
            + self.open_lines
    }

    /// How often something was closed, judged or forgotten before its time, at a limit of the pipeline or of the memory.
    pub fn at_limits(&self) -> u64 {
        self.closed_early
            + self.windows_judged_early
            + self.forgotten_keys
            + self.forgotten_seen_keys
            + self.forgotten_cancelled_keys
    }

    /// Messages on lines and entities to the erroneous topic; those on lost records, one a range, are not among them.
    pub fn erroneous(&self) -> u64 {
        self.malformed_lines + self.refused_lines() + self.erroneous_entities
    }

    /// Lines that are good and came at the wrong time.
    fn refused_lines(&self) -> u64 {
        self.late_lines + self.duplicate_lines + self.future_lines + self.old_lines
    }

    /// Adds what was counted of other partitions, or by another hop: what went from one to the other counts in both ways, so
    /// that the outcomes still add up.
    pub fn add(&mut self, other: Self) {
        let Self {
            records,
            scored_lines,
            erroneous_entity_lines,
            malformed_lines,
            late_lines,
            duplicate_lines,
            future_lines,
            old_lines,
            deletions,
            tombstones,
            cancellation_lines,
            already_published_lines,
            given_up_lines,
            taken_over_lines,
            forwarded_lines,
            received_lines,
            foreign_records,
            lost_to_retention,
            misplaced_lines,
            odd_dates,
            open_lines,
            open_entities,
            scored_entities,
            erroneous_entities,
            closed_early,
            out_of_order,
            forgotten_keys,
            forgotten_seen_keys,
            forgotten_cancelled_keys,
            too_late_for_windows,
            windows_judged_early,
            cancellations,
            reasons,
        } = other;
        self.records += records;
        self.scored_lines += scored_lines;
        self.erroneous_entity_lines += erroneous_entity_lines;
        self.malformed_lines += malformed_lines;
        self.late_lines += late_lines;
        self.duplicate_lines += duplicate_lines;
        self.future_lines += future_lines;
        self.old_lines += old_lines;
        self.deletions += deletions;
        self.tombstones += tombstones;
        self.cancellation_lines += cancellation_lines;
        self.already_published_lines += already_published_lines;
        self.given_up_lines += given_up_lines;
        self.taken_over_lines += taken_over_lines;
        self.forwarded_lines += forwarded_lines;
        self.received_lines += received_lines;
        self.foreign_records += foreign_records;
        self.lost_to_retention += lost_to_retention;
        self.misplaced_lines += misplaced_lines;
        self.open_lines += open_lines;
        self.open_entities += open_entities;
        self.scored_entities += scored_entities;
        self.erroneous_entities += erroneous_entities;
        self.closed_early += closed_early;
        self.out_of_order += out_of_order;
        self.forgotten_keys += forgotten_keys;
        self.forgotten_seen_keys += forgotten_seen_keys;
        self.forgotten_cancelled_keys += forgotten_cancelled_keys;
        self.too_late_for_windows += too_late_for_windows;
        self.windows_judged_early += windows_judged_early;
        self.cancellations += cancellations;
        for (column, count) in odd_dates {
            *self.odd_dates.entry(column).or_default() += count;
        }
        for (reason, count) in reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }

    /// Counts a record that is erroneous by itself, for these reasons.
    pub(crate) fn add_refused(&mut self, reasons: &[Reason]) {
        let outcome = match reasons {
            [Reason::LateLine] => &mut self.late_lines,
            [Reason::DuplicateKey] => &mut self.duplicate_lines,
            [Reason::FromTheFuture(_)] => &mut self.future_lines,
            [Reason::TooOld(_)] => &mut self.old_lines,
            _ => &mut self.malformed_lines,
        };
        *outcome += 1;
        self.add_reasons(reasons);
    }

    /// Counts a line with an odd date in this column.
    pub(crate) fn add_odd_date(&mut self, column: &str) {
        match self.odd_dates.get_mut(column) {
            Some(count) => *count += 1,
            None => _ = self.odd_dates.insert(column.to_owned(), 1),
        }
    }

    pub(crate) fn add_reasons(&mut self, reasons: &[Reason]) {
        for reason in reasons {
            *self.reasons.entry(reason.clone()).or_default() += 1;
        }
    }

    /// Turns what was counted since `before` into lines whose outcome had been published.
    pub(crate) fn count_as_published(&mut self, before: Self) {
        let lines = self.outcomes() - before.outcomes();
        let (records, already) = (self.records, before.already_published_lines + lines);
        *self = Self { records, already_published_lines: already, ..before };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_apart_adds_up() {
        let of = |column: &str, late: u64| Counters {
            records: late + 3,
            late_lines: late,
            scored_lines: 2,
            open_lines: 1,
            odd_dates: BTreeMap::from([(column.to_owned(), late), ("both".to_owned(), 1)]),
            reasons: BTreeMap::from([(Reason::LateLine, late)]),
            ..Counters::default()
        };
        let mut all = of("a", 5);
        all.add(of("b", 7));
        assert_eq!((all.records, all.late_lines, all.open_lines), (18, 12, 2));
        assert_eq!(all.accounted(), all.outcomes());
        assert_eq!(all.reasons[&Reason::LateLine], 12);
        let dates: Vec<(&str, u64)> = all.odd_dates.iter().map(|(column, count)| (column.as_str(), *count)).collect();
        assert_eq!(dates, [("a", 5), ("b", 7), ("both", 2)]);
    }
}
