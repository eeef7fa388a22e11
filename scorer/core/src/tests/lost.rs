//! Records that are gone before they are read, and offsets that are of no record.

use super::*;

fn lost(outputs: &[Output]) -> Vec<(i32, i64, i64)> {
    let lost = |output: &Output| match output {
        Output::Erroneous(Erroneous::Lost { partition, first, last }) => Some((*partition, *first, *last)),
        _ => None,
    };
    outputs.iter().filter_map(lost).collect()
}

/// Hands over lines of one invoice, from the offset `from` on.
fn send(driver: &mut Driver, from: i64, count: i64) {
    for offset in from..from + count {
        let payload = line("1");
        driver.apply(Input::Record(Record::new(0, offset, offset * 1000, payload.as_bytes())));
    }
}

#[test]
fn lost_records_are_an_outcome_and_the_next_one_is_read() {
    let mut driver = Driver::new();
    send(&mut driver, 0, 3);
    driver.apply(Input::Lost { partition: 0, first: 3, last: 9 });
    send(&mut driver, 8, 4);
    driver.apply(Input::End);
    let counters = driver.core.counters();
    assert_eq!((counters.records, counters.lost_to_retention), (5, 7), "what is lost is not read as well");
    assert_eq!(lost(&driver.out), [(0, 3, 9)]);
    assert_eq!(driver.closed(), [("1".to_owned(), 5)]);
}

#[test]
fn what_was_read_before_it_was_deleted_is_not_lost() {
    let mut driver = Driver::new();
    send(&mut driver, 0, 5);
    for last in [2, 4] {
        driver.apply(Input::Lost { partition: 0, first: 0, last });
    }
    driver.apply(Input::Lost { partition: 7, first: 0, last: 4 });
    assert_eq!((driver.core.counters().lost_to_retention, lost(&driver.out)), (0, vec![]));
    driver.apply(Input::Lost { partition: 0, first: 3, last: 6 });
    assert_eq!((driver.core.counters().lost_to_retention, lost(&driver.out)), (2, vec![(0, 5, 6)]));
}

/// Both are committed: the offset behind what is lost, and the one behind a transaction's marker.
#[test]
fn offsets_that_bring_no_record_are_committed() {
    let next = |input| {
        let (mut core, mut out) = (sharing(1), Vec::new());
        core.apply(Input::Assigned { partition: 0, start: Start::At(4) }, &mut out);
        core.apply(input, &mut out);
        let changes = core.take_changes();
        (changes.first().map(|changes| changes.head.next_offset), core.resume_points()[0].1.offset)
    };
    assert_eq!(next(Input::Lost { partition: 0, first: 4, last: 9 }), (Some(10), 10));
    assert_eq!(next(Input::Passed { partition: 0, next: 6 }), (Some(6), 6));
    for next_offset in [4, 3] {
        assert_eq!(next(Input::Passed { partition: 0, next: next_offset }), (None, 4), "nothing goes back");
    }
}

proptest! {
    /// Whatever is lost, in whatever order it is said: each offset is read or lost, once.
    #[test]
    fn every_offset_is_read_or_lost(steps in proptest::collection::vec((0i64..40, 0i64..8, any::<bool>()), 0..40)) {
        let mut driver = Driver::new();
        let (mut next, mut read) = (0i64, 0u64);
        for (back, ahead, is_lost) in steps {
            let (first, last) = ((next - back).max(0), next + ahead);
            if is_lost {
                driver.apply(Input::Lost { partition: 0, first, last });
            } else {
                send(&mut driver, first, last + 1 - first);
                read += (last + 1 - next) as u64;
            }
            if driver.core.owns(0) { next = last + 1; }
        }
        let counters = driver.core.counters();
        prop_assert_eq!(counters.records, read);
        let ranges: u64 = lost(&driver.out).iter().map(|(_, first, last)| (last + 1 - first) as u64).sum();
        prop_assert_eq!(counters.lost_to_retention, ranges);
        prop_assert_eq!(counters.records + ranges, next as u64);
    }
}
