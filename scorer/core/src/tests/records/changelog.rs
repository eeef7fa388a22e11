//! What is remembered, in another instance.

use super::*;

proptest! {
    /// Whatever is committed when an instance dies, and whatever it had read beyond that, another one goes on to the
    /// outputs of an undisturbed run.
    #[test]
    fn what_is_remembered_goes_on_in_another_instance(
        pipeline in settings(), rows in world(),
        commits in proptest::collection::vec((0usize..30, 0usize..10, any::<bool>()), 1..6)
    ) {
        let whole = Driver::new(&pipeline).judge(&rows);
        let (mut changelog, mut out, mut upto, mut bytes) = (Changelog::new(), Vec::new(), 0usize, 0);
        for (ahead, lost, has_more) in commits.into_iter().chain([(usize::MAX, 0, false)]) {
            let mut driver = Driver::new(&pipeline);
            if let Some(restored) = restored(&pipeline, &changelog) {
                prop_assert_eq!(restored.head().unwrap().next_offset, upto as i64);
                driver.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) });
                prop_assert_eq!(driver.core.state_bytes(), bytes, "who takes over reaches a limit as soon");
            }
            driver.offset = upto as i64;
            // One or two commits, so that what was written is deleted by the one who wrote it, too.
            for _ in 0..=usize::from(has_more) {
                let to = upto.saturating_add(ahead).min(rows.len());
                rows[upto..to].iter().for_each(|row| driver.send(row));
                upto = to;
                commit(&mut driver.core, &mut changelog);
                bytes = driver.core.state_bytes();
                let mut snapshot = Vec::new();
                driver.core.snapshot(0, |record| snapshot.push(record));
                if upto > 0 {
                    // Of what was written, lists may hold keys that are forgotten.
                    let snapshot = as_changelog(snapshot);
                    let of = |changelog| as_changelog(restored(&pipeline, changelog).unwrap().snapshot(&pipeline));
                    prop_assert_eq!(&of(&changelog), &snapshot, "what was written is what is in memory");
                    prop_assert_eq!(&of(&snapshot), &snapshot, "and so is a snapshot");
                    prop_assert!(changelog.keys().eq(snapshot.keys()), "and nothing else was left");
                }
            }
            if ahead == usize::MAX {
                driver.apply(Input::End);
            }
            out.append(&mut driver.out);
            rows[upto..(upto + lost).min(rows.len())].iter().for_each(|row| driver.send(row));
        }
        prop_assert_eq!(sorted(&out), sorted(&whole.out));
    }

    /// After a commit that came to nothing, state and counters are those of the one before.
    #[test]
    fn a_commit_that_failed_leaves_no_trace(
        pipeline in settings(), rows in world(), (first, second) in (0usize..60, 1usize..40)
    ) {
        let whole = Driver::new(&pipeline).judge(&rows);
        let first = first.min(rows.len());
        let second = (first + second).min(rows.len());
        let (mut driver, mut changelog) = (Driver::new(&pipeline), Changelog::new());
        driver.apply(Input::Assigned { partition: 0, start: Start::At(0) });
        rows[..first].iter().for_each(|row| driver.send(row));
        commit(&mut driver.core, &mut changelog);
        let (committed, counters) = (driver.out.len(), driver.core.counters());
        rows[first..second].iter().for_each(|row| driver.send(row));
        commit(&mut driver.core, &mut Changelog::new());
        driver.out.truncate(committed);
        driver.core.roll_back(counters);
        let start = match restored(&pipeline, &changelog) {
            Some(restored) => Start::RolledBack(Box::new(restored)),
            None => Start::At(0),
        };
        driver.apply(Input::Assigned { partition: 0, start });
        driver.offset = first as i64;
        let driver = driver.judge(&rows[first..]);
        prop_assert_eq!(sorted(&driver.out), sorted(&whole.out));
        let (counters, expected) = (driver.core.counters(), whole.core.counters());
        prop_assert_eq!(counters, expected);
    }

    /// Without a changelog the records that waited are read again: each is judged once.
    #[test]
    fn what_waits_is_read_again_where_nothing_is_written_down(rows in rows(), stop in 0usize..80) {
        let pipeline = small("", r#"lateness = "10s""#);
        let stop = stop.min(rows.len());
        let alone = || Driver { core: Core::new(pipeline.clone()), ..Driver::new(&pipeline) };
        let mut first = alone();
        rows[..stop].iter().for_each(|row| first.send(row));
        let Some((_, resume)) = first.core.resume_points().first().copied() else { return Ok(()) };
        prop_assert!(resume.published_to == stop as i64 && resume.offset <= stop as i64);
        let mut second = alone();
        second.apply(Input::Assigned { partition: 0, start: Start::Reread(resume) });
        second.offset = resume.offset;
        let second = second.judge(&rows[resume.offset as usize..]);
        let mut keys: Vec<&str> = first.keys();
        keys.extend(second.keys());
        keys.sort_unstable();
        let mut expected: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        expected.sort_unstable();
        prop_assert_eq!(keys, expected);
    }

    #[test]
    fn no_state_makes_restoring_panic(
        pipeline in settings(),
        records in proptest::collection::vec(
            (proptest::sample::select(b"ecxwptrz".to_vec()), proptest::collection::vec(any::<u8>(), 0..14),
             proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))), 0..20)
    ) {
        let head = Driver::new(&pipeline).judge(&[row(0, (0, 0), 1.0, START)]).core.take_changes().remove(0);
        let mut reader = StateReader::new(&pipeline, origin_of(&pipeline));
        for (kind, rest, value) in records {
            // Kinds of which the first bytes say more.
            let rest = match kind {
                b'p' => [&[0, b"plc"[rest.len() % 3]], &rest[..]].concat(),
                b'z' => zscore::part_key(&rest),
                _ => rest,
            };
            let value = value.map(|value| if kind == b'z' { [&[1], &value[..]].concat() } else { value });
            let _ = reader.take(&pipeline, &[&[kind], &rest[..]].concat(), value.as_deref());
        }
        let head = head.records.last().unwrap();
        let _ = reader.take(&pipeline, &head.key, head.value.as_deref());
        if let Ok(restored) = reader.finish(&pipeline) {
            let mut driver = Driver::new(&pipeline);
            driver.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) });
            driver.core.apply(Input::End, &mut driver.out);
        }
    }
}

#[test]
fn a_record_whose_features_are_no_numbers_says_so_and_its_past_can_be_written_down() {
    let pipeline = small("", "");
    let (mut driver, mut changelog) = (Driver::new(&pipeline), Changelog::new());
    for index in 0..4 {
        driver.send(&row(index, (1, 1), if index % 2 == 0 { f64::MAX } else { -f64::MAX }, START + index));
    }
    assert!(driver.reasons().iter().all(|reasons| reasons.contains("not_finite:")), "{:?}", driver.reasons());
    let counters = driver.core.counters();
    assert!(counters.erroneous_entities > 0 && counters.erroneous_entities == counters.erroneous_entity_lines);
    let bad = driver.out.iter().find_map(|output| match output {
        Output::Erroneous(Erroneous::Entity { offsets, summary, .. }) => Some((offsets.clone(), summary.key.clone())),
        _ => None,
    });
    let (offsets, key) = bad.unwrap();
    assert_eq!(offsets, [(key.parse().unwrap(), key.parse().unwrap())]);
    commit(&mut driver.core, &mut changelog);
    assert!(restored(&pipeline, &changelog).is_some());
}

/// What a header and a column say a record is stays with it, also while it waits and where somebody else goes on.
#[test]
fn what_a_record_is_known_to_be_stays_with_it() {
    let truths = |driver: &Driver| -> Vec<Option<String>> {
        driver.closed().iter().map(|entity| entity.truth.as_deref().map(str::to_owned)).collect()
    };
    for history in ["", r#"lateness = "10s""#] {
        let pipeline = labelled(history);
        let (mut driver, mut changelog) = (Driver::new(&pipeline), Changelog::new());
        let row = row("a", (1, 1), 1.0, START);
        for (offset, (key, label)) in [("a", None), ("b", Some("stolen")), ("c", Some("normal"))].iter().enumerate() {
            let payload = row.payload.replacen('a', key, 1);
            let record = Record { label: *label, ..Record::new(0, offset as i64, START, payload.as_bytes()) };
            driver.apply(Input::Record(record));
        }
        commit(&mut driver.core, &mut changelog);
        let mut next = Driver::new(&pipeline);
        let restored = restored(&pipeline, &changelog).unwrap();
        next.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) });
        next.apply(Input::End);
        let found = if history.is_empty() { truths(&driver) } else { truths(&next) };
        assert_eq!(
            found,
            [Some("shop 1".to_owned()), Some("stolen".to_owned()), None],
            "the header has the first word"
        );
    }
}

/// The deletions are read as well, until compaction takes them.
#[test]
fn a_reset_leaves_nothing_behind() {
    let detectors = zscore::detectors();
    let pipeline = Arc::new(with_windows(FEATURES, "", r#"lateness = "10s""#, &detectors));
    let rows: Vec<Row> = (0..40).map(|at| row(at, (at as u8 % 3, 0), at as f64, START + at * 9_000)).collect();
    let (mut driver, mut written) = (Driver::new(&pipeline), Vec::new());
    for row in &rows {
        driver.send(row);
        written.extend(driver.core.take_changes().into_iter().flat_map(|changes| changes.records));
    }
    let mut keys = LiveKeys::default();
    written.iter().for_each(|record| keys.take(&record.key, record.value.as_deref()));
    let (deletions, head) = keys.reset(&pipeline, origin_of(&pipeline), 99, 0, None);
    let mut reader = StateReader::new(&pipeline, origin_of(&pipeline));
    for StateRecord { key, value } in written.iter().chain(&deletions) {
        reader.take(&pipeline, key, value.as_deref()).unwrap();
    }
    let restored = reader.finish(&pipeline).unwrap();
    assert_eq!(restored.snapshot(&pipeline), [head.record()], "a head and nothing else");

    let mut again = Driver::new(&pipeline);
    again.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) });
    assert_eq!(sorted(&again.judge(&rows).out), sorted(&Driver::new(&pipeline).judge(&rows).out));
}
