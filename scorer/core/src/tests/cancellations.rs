//! Cancellations and the windows over all partitions.

use super::*;

#[test]
fn cancellations_of_the_last_eight_minutes_are_counted_every_minute() {
    let mut driver = Driver::new();
    driver.line(30, "C1");
    driver.line(31, "C1");
    driver.line(90, "C2");
    // Nothing comes for a while: the counts go on, and a zero is said once.
    driver.line(60 * 30, "1");
    let expected: Vec<(i64, u64)> = (1..=10)
        .map(|end| {
            (
                end,
                if end == 1 || end == 9 {
                    1
                } else if end == 10 {
                    0
                } else {
                    2
                },
            )
        })
        .collect();
    assert_eq!(driver.counts(), expected);
    assert_eq!(driver.core.counters().cancellations, 2);
}

#[test]
fn the_count_is_one_number_for_all_partitions_and_an_idle_one_does_not_hold_it_back() {
    let mut driver = Driver::new();
    driver.apply(Input::Assigned { partition: 0, start: Start::Fresh });
    driver.apply(Input::Assigned { partition: 1, start: Start::Fresh });
    driver.send(0, 10_000, &line("C1"));
    driver.send(0, 70_000, &line("1"));
    assert_eq!(driver.counts(), [], "partition 1 may still hold something of the first minute");
    driver.send(1, 20_000, &line("C2"));
    driver.send(1, 61_000, &line("2"));
    assert_eq!(driver.counts(), [(1, 2)]);
    driver.apply(Input::CaughtUp { partition: 1, now: 0 });
    driver.apply(Input::Time { now: 1_000 });
    driver.send(0, 124_999, &line("3"));
    assert_eq!(driver.counts(), [(1, 2)], "it is not known to be idle");
    driver.read_through(1, 1_000 + GRACE);
    driver.send(0, 125_000, &line("3"));
    assert_eq!(driver.counts(), [(1, 2), (2, 2)]);
}

/// Nobody knows how far a partition is whose state is on its way, whatever its earlier owner said, before or after.
#[test]
fn a_partition_that_is_being_restored_holds_the_windows_back() {
    let report = |partition, watermark, idle_for, panes| {
        let report = Report { partition, watermark, idle_since: None, idle_for, panes };
        Input::Report { report, offset: 0 }
    };
    let idle = || report(1, None, Some(60 * MINUTE), Vec::new());
    let busy = || report(0, Some(125_000), None, vec![(0, 1)]);
    let restoring = || Input::Restoring { partition: 1 };
    let counts = |inputs: Vec<Input<'_>>| {
        let (mut core, mut out) = (sharing(2), Vec::new());
        for input in [Input::Time { now: 1_000 }, Input::Assigned { partition: 0, start: Start::Fresh }] {
            core.apply(input, &mut out);
        }
        inputs.into_iter().for_each(|input| core.apply(input, &mut out));
        out.iter().filter(|output| matches!(output, Output::Cancellations(_))).count()
    };
    assert_eq!(counts(vec![idle(), busy()]), 2, "nobody waits for a partition that is idle");
    assert_eq!(counts(vec![idle(), restoring(), busy()]), 0);
    assert_eq!(counts(vec![restoring(), idle(), busy()]), 0);
    let live = Input::Assigned { partition: 1, start: Start::Fresh };
    assert_eq!(counts(vec![idle(), restoring(), busy(), live, report(1, Some(70_000), None, Vec::new())]), 1);
    assert_eq!(counts(vec![restoring(), Input::Revoked { partition: 1 }, idle(), busy()]), 2, "it is another's again");
}

proptest! {
    /// Cancellations are one number: that of one instance with everything, however partitions are spread and in
    /// whatever steps they are read.
    #[test]
    fn the_windows_are_the_same_however_partitions_are_spread(
        lines in world(), steps in proptest::collection::vec((0i32..3, 1usize..20), 1..40)
    ) {
        const PARTITIONS: i32 = 3;
        let of = |partition: i32| -> Vec<(i64, String)> {
            lines.iter().filter(|(_, payload)| payload.bytes().map(i32::from).sum::<i32>() % PARTITIONS == partition).cloned().collect()
        };
        let parts: Vec<_> = (0..PARTITIONS).map(of).collect();
        // Three instances with a partition each, read in any order and in any steps.
        let mut store = Store::default();
        let mut cores: Vec<Core> = (0..PARTITIONS).map(|_| sharing(PARTITIONS)).collect();
        for (partition, core) in cores.iter_mut().enumerate() {
            start(&store, core, partition as i32, PARTITIONS);
        }
        let mut read = [0usize; PARTITIONS as usize];
        let everything = (0..PARTITIONS).map(|partition| (partition, usize::MAX));
        for (partition, count) in steps.into_iter().chain(everything) {
            let index = partition as usize;
            let to = read[index].max(read[index].saturating_add(count).min(parts[index].len()));
            let mut out = Vec::new();
            feed(&mut cores[index], partition, &parts[index][..to], read[index] as i64, &mut out);
            read[index] = to;
            store.commit(&mut cores[index], out);
            store.deliver(&mut cores[0]);
        }
        cores[0].finish_windows(&mut store.out);
        // One instance that reads by time.
        let mut alone = Driver::new();
        for partition in 0..PARTITIONS {
            alone.apply(Input::Assigned { partition, start: Start::Fresh });
        }
        let mut offsets = [0; PARTITIONS as usize];
        for (timestamp, payload) in &lines {
            let partition = payload.bytes().map(i32::from).sum::<i32>() % PARTITIONS;
            let offset = &mut offsets[partition as usize];
            let record = Record::new(partition, *offset, *timestamp, payload.as_bytes());
            alone.core.apply(Input::Record(record), &mut alone.out);
            *offset += 1;
        }
        alone.apply(Input::End);
        let counts = |out: &[Output]| -> Vec<Output> {
            out.iter().filter(|output| matches!(output, Output::Cancellations(_))).cloned().collect()
        };
        prop_assert_eq!(counts(&store.out), counts(&alone.out));
    }
}
