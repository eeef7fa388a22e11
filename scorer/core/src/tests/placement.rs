//! Records that lie where they should not.

use super::*;

/// Lines without a key, with their invoice's, with that of a customer, and one that cannot be parsed.
fn misplaced_lines(mut core: Core) -> u64 {
    let keys: [Option<&[u8]>; 4] = [None, Some(b"1"), Some(b" 1 "), Some(b"12345")];
    core.apply(Input::Assigned { partition: 0, start: Start::At(0) }, &mut Vec::new());
    for (offset, key) in keys.into_iter().enumerate() {
        let payload = line("1");
        let record = Record { key, ..Record::new(0, offset as i64, 0, payload.as_bytes()) };
        core.apply(Input::Record(record), &mut Vec::new());
    }
    core.apply(Input::Record(Record::new(0, keys.len() as i64, 0, b"1,2")), &mut Vec::new());
    let counters = core.counters();
    assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
    counters.misplaced_lines
}

#[test]
fn lines_whose_key_is_not_their_invoices_are_counted_where_that_may_part_them() {
    assert_eq!(misplaced_lines(sharing(3)), 2);
    assert_eq!(misplaced_lines(sharing(1)), 0);
    assert_eq!(misplaced_lines(Core::new(pipeline())), 0);
    let routed = Origin { topic: "atalaya-invoices-repartition".into(), ..origin(3) };
    assert_eq!(misplaced_lines(Core::sharing(pipeline(), Recovery::Changelog, routed)), 0);
}

#[test]
fn an_erroneous_line_names_where_it_was_first() {
    let (mut core, mut out) = (sharing(3), Vec::new());
    core.apply(Input::Assigned { partition: 0, start: Start::At(5) }, &mut out);
    core.apply(Input::Record(Record { source: (2, 17), ..Record::new(0, 5, 0, b"1,2") }), &mut out);
    assert!(matches!(&out[..], [Output::Erroneous(Erroneous::Line { source: (2, 17), .. })]), "{out:?}");
}

/// The state of a partition comes with its assignment: without it, a record would begin a state of its own.
#[test]
fn a_record_of_a_partition_that_others_own_leaves_no_trace() {
    let (mut core, mut out) = (sharing(3), Vec::new());
    core.apply(Input::Assigned { partition: 0, start: Start::At(0) }, &mut out);
    let payload = line("1");
    core.apply(Input::Record(Record::new(1, 0, 0, payload.as_bytes())), &mut out);
    assert!(core.owns(0) && !core.owns(1));
    assert_eq!((core.counters(), out), (Counters::default(), Vec::new()));
    assert!(core.take_changes().is_empty());
}
