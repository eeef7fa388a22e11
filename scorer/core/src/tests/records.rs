//! Records that are scored one by one.

use shared::time::format_timestamp;

use super::*;

mod zscore;

/// A moment of 2020.
const START: i64 = 1_600_000_000_000;

const COLUMNS: &str = r#"["id", "user", "shop", "amount:float", "at:datetime"]"#;

fn text(features: &str, entity: &str, history: &str) -> String {
    format!(
        r#"
        name = "small"
        input = {{ topic = "in", columns = {COLUMNS}, datetime_formats = ["rfc3339"] }}
        entity = {{ key = "id", customer = "user", {entity} }}
        history = {{ {history} }}
        outputs.erroneous = "bad"
        detectors = [{{ name = "kmeans", algorithm = "kmeans", topic = "out" }}]
        [features]
        {features}
        "#
    )
}

fn read(features: &str, entity: &str, history: &str) -> Pipeline {
    Pipeline::parse(&text(features, entity, history), "small.toml").unwrap()
}

/// With more detectors than one of clusters, each followed by a comma.
fn with_windows(features: &str, entity: &str, history: &str, detectors: &str) -> Pipeline {
    let text = text(features, entity, history).replace("detectors = [", &format!("detectors = [{detectors} "));
    Pipeline::parse(&text, "small.toml").unwrap()
}

const FEATURES: &str = r#"
    amount = "amount"
    count = "count() by user over 1m"
    mean = "mean(amount) by user over 1h"
    deviation = "deviation(amount) by shop over 1h"
    since = "seconds_since_last() by user"
    new = "is_new(shop) by user"
"#;

fn small(entity: &str, history: &str) -> Arc<Pipeline> {
    Arc::new(read(FEATURES, entity, history))
}

/// The same with a label in the column of the shop, and in a header.
fn labelled(history: &str) -> Arc<Pipeline> {
    let features = r#"count = "count() by user over 1m""#;
    let text = format!("label = {{ column = \"shop\", header = \"label\" }}\n{}", text(features, "", history));
    Arc::new(Pipeline::parse(&text, "small.toml").unwrap())
}

/// A record: its key, when it was and what Kafka says of that, and the rest.
#[derive(Debug, Clone)]
struct Row {
    key: String,
    at: i64,
    kafkas: i64,
    payload: String,
}

fn row(key: impl ToString, (user, shop): (u8, u8), amount: f64, at: i64) -> Row {
    let key = key.to_string();
    let payload = format!("{key},user {user},shop {shop},{amount},{}", format_timestamp(at));
    Row { key, at, kafkas: at, payload }
}

/// Drives a core with one partition.
struct Driver {
    core: Core,
    out: Vec<Output>,
    offset: i64,
}

impl Driver {
    fn new(pipeline: &Arc<Pipeline>) -> Self {
        let core = Core::sharing(pipeline.clone(), Recovery::Changelog, origin_of(pipeline));
        Self { core, out: Vec::new(), offset: 0 }
    }

    /// A file has no second clock.
    fn of_file(pipeline: &Arc<Pipeline>) -> Self {
        Self { core: Core::new(pipeline.clone()), ..Self::new(pipeline) }
    }

    fn apply(&mut self, input: Input<'_>) {
        self.core.apply(input, &mut self.out);
        let counters = self.core.counters();
        assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
    }

    fn send(&mut self, row: &Row) {
        let record = Record::new(0, self.offset, row.kafkas, row.payload.as_bytes());
        self.offset += 1;
        self.apply(Input::Record(record));
    }

    fn judge(mut self, rows: &[Row]) -> Self {
        rows.iter().for_each(|row| self.send(row));
        self.apply(Input::End);
        self
    }

    fn closed(&self) -> Vec<&ClosedEntity> {
        self.out
            .iter()
            .filter_map(|output| if let Output::Closed(entity) = output { Some(entity) } else { None })
            .collect()
    }

    fn keys(&self) -> Vec<&str> {
        self.closed().iter().map(|entity| entity.summary.key.as_str()).collect()
    }

    fn reasons(&self) -> Vec<String> {
        let reasons = |output: &Output| match output {
            Output::Erroneous(Erroneous::Line { reasons, .. } | Erroneous::Entity { reasons, .. }) => {
                Some(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
            _ => None,
        };
        self.out.iter().filter_map(reasons).collect()
    }
}

fn origin_of(pipeline: &Pipeline) -> Origin {
    Origin { topic: pipeline.topic.clone(), partitions: 1, layout: pipeline.state_layout() }
}

/// What a changelog holds after compaction.
type Changelog = BTreeMap<Vec<u8>, Vec<u8>>;

fn commit(core: &mut Core, changelog: &mut Changelog) {
    for record in core.take_changes().into_iter().flat_map(|changes| changes.records) {
        match record.value {
            Some(value) => changelog.insert(record.key, value),
            None => changelog.remove(&record.key),
        };
    }
}

fn restored(pipeline: &Pipeline, changelog: &Changelog) -> Option<Restored> {
    let mut reader = StateReader::new(pipeline, origin_of(pipeline));
    for (key, value) in changelog {
        reader.take(pipeline, key, Some(value)).unwrap();
    }
    reader.head()?;
    Some(reader.finish(pipeline).unwrap())
}

fn as_changelog(records: impl IntoIterator<Item = StateRecord>) -> Changelog {
    let mut changelog = Changelog::new();
    for StateRecord { key, value } in records {
        assert!(changelog.insert(key, value.unwrap()).is_none(), "each key once");
    }
    changelog
}

/// What was found of each record, to the bit.
fn found(driver: &Driver) -> Vec<(String, Vec<u64>)> {
    let bits = |entity: &&ClosedEntity| entity.features.iter().map(|value| value.to_bits()).collect();
    let mut found: Vec<_> =
        driver.closed().iter().map(|entity| (format!("{:?}", entity.summary), bits(entity))).collect();
    found.sort();
    found
}

/// Rows in the order of their times, some at the same; some months, often seconds apart.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let step = prop_oneof![4 => 0i64..3, 4 => 0i64..5_000, 2 => 0i64..100_000, 1 => Just(10 * 86_400_000)];
    let amount = prop_oneof![(0u8..4).prop_map(f64::from), 0.0f64..1e4];
    proptest::collection::vec((0u8..5, 0u8..3, amount, step), 1..80).prop_map(|steps| {
        let mut at = START;
        let row = |(index, (user, shop, amount, step)): (usize, (u8, u8, f64, i64))| {
            at += step;
            row(format!("k{}", (index * 7) % 100), (user, shop), amount, at)
        };
        steps.into_iter().enumerate().map(row).collect()
    })
}

/// The record as if it were of two months before.
fn old(of: &Row) -> Row {
    let at = of.at - 60 * 86_400_000;
    Row { at, payload: of.payload.replace(&format_timestamp(of.at), &format_timestamp(at)), ..of.clone() }
}

/// Rows as they come from the world: out of order, twice, broken, from the future, from long ago.
fn world() -> impl Strategy<Value = Vec<Row>> {
    (rows(), proptest::collection::vec((0u8..20, 0i64..25_000, 0usize..80), 80)).prop_map(|(rows, fates)| {
        let mut arrivals: Vec<Row> = Vec::new();
        for (row, &(fate, delay, other)) in rows.iter().zip(&fates) {
            let mut row = Row { kafkas: row.at + if fate < 10 { delay } else { 0 }, ..row.clone() };
            match fate {
                0 => arrivals.push(rows[other % rows.len()].clone()),
                1 => row.payload = "broken".to_owned(),
                2 => row.kafkas = row.at - 400_000,
                3 => row = Row { kafkas: row.kafkas, ..old(&row) },
                _ => {}
            }
            arrivals.push(row);
        }
        arrivals.sort_by_key(|row| row.kafkas);
        arrivals
    })
}

/// Pipelines that remember in different ways: by either clock, with records that wait or not, and with little room.
fn settings() -> impl Strategy<Value = Arc<Pipeline>> {
    let clock = prop_oneof![Just(""), Just(r#"clock = "at","#)];
    let room =
        proptest::sample::select(vec!["", "max_state_bytes = 300", "max_state_bytes = 1500", "max_state_bytes = 3000"]);
    let history = prop_oneof![Just(r#"memory = "30d""#), Just(r#"memory = "1h", lateness = "10s""#)];
    let windows = prop_oneof![Just(String::new()), Just(zscore::detectors())];
    (clock, room, history, windows).prop_map(|(clock, room, history, windows)| {
        Arc::new(with_windows(FEATURES, &format!("{clock} {room}"), history, &windows))
    })
}

proptest! {
    /// Whatever the network does to the order of records, short of the lateness, each has the same features to the bit.
    #[test]
    fn any_order_within_the_lateness_gives_the_same(rows in rows(), delays in proptest::collection::vec(0i64..=10_000, 80),
                                                    by_column in any::<bool>()) {
        let clock = if by_column { r#"clock = "at""# } else { "" };
        let pipeline = small(clock, r#"lateness = "10s""#);
        let mut arrivals: Vec<Row> = rows.clone();
        for (row, delay) in arrivals.iter_mut().zip(delays) {
            row.kafkas += delay;
        }
        arrivals.sort_by_key(|row| row.kafkas);
        let ordered = Driver::new(&pipeline).judge(&rows);
        let shuffled = Driver::new(&pipeline).judge(&arrivals);
        prop_assert_eq!(ordered.keys().len(), rows.len());
        prop_assert_eq!(found(&shuffled), found(&ordered));
        prop_assert_eq!(shuffled.core.counters().out_of_order, 0);
        let times: Vec<(i64, &str)> =
            shuffled.closed().iter().map(|it| (it.summary.first_timestamp, it.summary.key.as_str())).collect();
        prop_assert!(times.is_sorted(), "{times:?}");
    }

    #[test]
    fn every_record_has_one_outcome(pipeline in settings(), rows in world()) {
        let driver = Driver::new(&pipeline).judge(&rows);
        let counters = driver.core.counters();
        prop_assert_eq!(counters.open_lines, 0);
        prop_assert_eq!(counters.records, rows.len() as u64);
        prop_assert_eq!(driver.closed().len() as u64, counters.scored_lines);
        prop_assert_eq!(driver.reasons().len() as u64, counters.erroneous());
        prop_assert_eq!(counters.erroneous() + counters.scored_lines, counters.records);
    }

    /// Whatever is committed when an instance dies, and whatever it had read beyond that, another one goes on to the
    /// outputs of an undisturbed run.
    #[test]
    fn what_is_remembered_goes_on_in_another_instance(
        pipeline in settings(), rows in world(),
        commits in proptest::collection::vec((0usize..30, 0usize..10, any::<bool>()), 1..6)
    ) {
        let whole = Driver::new(&pipeline).judge(&rows);
        let (mut changelog, mut out, mut upto) = (Changelog::new(), Vec::new(), 0usize);
        for (ahead, lost, has_more) in commits.into_iter().chain([(usize::MAX, 0, false)]) {
            let mut driver = Driver::new(&pipeline);
            if let Some(restored) = restored(&pipeline, &changelog) {
                prop_assert_eq!(restored.head().unwrap().next_offset, upto as i64);
                driver.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) });
            }
            driver.offset = upto as i64;
            // One or two commits, so that what was written is deleted by the one who wrote it, too.
            for _ in 0..=usize::from(has_more) {
                let to = upto.saturating_add(ahead).min(rows.len());
                rows[upto..to].iter().for_each(|row| driver.send(row));
                upto = to;
                commit(&mut driver.core, &mut changelog);
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

    #[test]
    fn any_bytes_are_survived(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..30)) {
        let mut driver = Driver::new(&small("", ""));
        for (offset, payload) in payloads.iter().enumerate() {
            driver.apply(Input::Record(Record::new(0, offset as i64, 0, payload)));
        }
        driver.apply(Input::End);
        prop_assert_eq!(driver.core.counters().outcomes(), payloads.len() as u64);
    }
}

#[test]
fn a_record_is_judged_at_once_by_what_came_before_it() {
    let mut driver = Driver::new(&small("", ""));
    driver.send(&row("a", (1, 1), 10.0, START));
    driver.send(&row("b", (1, 2), 20.0, START + 30_000));
    driver.send(&row("c", (2, 2), 70.0, START + 45_000));
    let [a, b, c] = driver.closed()[..] else { panic!("{:?}", driver.out) };
    // amount, count, mean, deviation, since, new
    assert_eq!(a.features, [10.0, 0.0, 10.0, 0.0, 2_592_000.0, 1.0]);
    assert_eq!(b.features, [20.0, 1.0, 10.0, 0.0, 30.0, 1.0]);
    assert_eq!(c.features, [70.0, 0.0, 70.0, 0.0, 2_592_000.0, 1.0]);
    let summary = &b.summary;
    assert_eq!((summary.lines, summary.customer.as_deref()), (1, Some("user 1")));
    assert_eq!((summary.first_timestamp, summary.last_timestamp), (START + 30_000, START + 30_000));
    assert_eq!(driver.core.next_deadline(), None, "nothing waits");
}

#[test]
fn a_key_is_judged_once_in_ten_minutes() {
    let mut driver = Driver::new(&small("", ""));
    driver.send(&row("a", (1, 1), 10.0, START));
    driver.send(&row("a", (1, 1), 10.0, START + 599_999));
    driver.send(&row("b", (1, 1), 10.0, START + 599_999));
    driver.send(&row("a", (1, 1), 10.0, START + 600_000));
    assert_eq!(driver.reasons(), ["duplicate_key"]);
    assert_eq!(driver.keys(), ["a", "b", "a"]);
    let counters = driver.core.counters();
    assert_eq!((counters.duplicate_lines, counters.scored_lines, counters.malformed_lines), (1, 3, 0));
    assert_eq!(counters.reasons[&Reason::DuplicateKey], 1);
    assert_eq!(driver.closed()[1].features[1], 0.0, "the copy is not remembered");
}

#[test]
fn a_record_that_waits_is_known_however_long_it_does() {
    let mut driver = Driver::new(&small(r#"remember = "1s""#, r#"lateness = "1m""#));
    driver.send(&row("a", (1, 1), 10.0, START));
    driver.send(&Row { kafkas: START + 30_000, ..row("a", (1, 1), 10.0, START) });
    assert_eq!(driver.reasons(), ["duplicate_key"]);
    driver.apply(Input::End);
    assert_eq!(driver.keys(), ["a"]);
}

#[test]
fn a_record_from_the_future_is_refused_and_sets_no_clock() {
    for clock in ["", r#"clock = "at""#] {
        let ahead = |by: i64| Row { kafkas: START, ..row("a", (1, 1), 1.0, START + by) };
        let mut driver = Driver::new(&small(clock, r#"ahead = "1m""#));
        driver.send(&ahead(60_001));
        assert_eq!(driver.reasons(), ["from_the_future:at"]);
        assert_eq!(driver.core.counters().future_lines, 1);
        driver.send(&row("b", (1, 1), 1.0, START));
        driver.send(&ahead(60_000));
        assert_eq!(driver.keys(), ["b", "a"], "its key was not taken");
        assert_eq!(driver.core.counters().out_of_order, 0);
        // Where no timestamp is kept there is nothing to compare with.
        driver.send(&Row { kafkas: 0, ..row("c", (1, 1), 1.0, START + 90_000) });
        assert_eq!(driver.keys().len(), 3);
    }
    let mut file = Driver::of_file(&small(r#"clock = "at""#, r#"ahead = "1m""#));
    file.send(&Row { kafkas: 1, ..row("a", (1, 1), 1.0, START) });
    assert_eq!(file.keys(), ["a"], "a file has no second clock");
}

#[test]
fn a_record_that_is_older_than_all_that_is_remembered_is_refused() {
    let mut driver = Driver::new(&small("", r#"memory = "2h""#));
    let hour = 3_600_000;
    driver.send(&row("a", (1, 1), 1.0, START));
    driver.send(&Row { kafkas: START, ..row("b", (1, 1), 1.0, START - 2 * hour) });
    driver.send(&Row { kafkas: START, ..row("c", (1, 1), 1.0, START - 2 * hour - 1) });
    assert_eq!(driver.reasons(), ["too_old:at"]);
    assert_eq!(driver.keys(), ["a", "b"]);
    let counters = driver.core.counters();
    assert_eq!((counters.old_lines, counters.out_of_order), (1, 1));
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

#[test]
fn a_record_waits_for_the_clock_and_for_time_where_nothing_comes() {
    let mut driver = Driver::new(&small("", r#"lateness = "10s""#));
    driver.send(&row("b", (1, 1), 1.0, START + 5_000));
    driver.send(&Row { kafkas: START + 5_000, ..row("a", (1, 1), 1.0, START) });
    assert_eq!(driver.core.counters().open_lines, 2);
    driver.send(&row("c", (1, 1), 1.0, START + 10_000));
    assert_eq!(driver.keys(), [""; 0], "one more could come of that very time");
    driver.send(&row("d", (1, 1), 1.0, START + 10_001));
    assert_eq!(driver.keys(), ["a"]);
    driver.apply(Input::CaughtUp { partition: 0, now: 1_000_000 });
    // The clock shows START + 10,001 and goes on.
    assert_eq!(driver.core.next_deadline(), Some(1_000_000 + 5_000 + GRACE));
    driver.apply(Input::Time { now: 1_004_999 + GRACE });
    assert_eq!(driver.keys(), ["a"]);
    driver.apply(Input::Time { now: 1_005_000 + GRACE });
    assert_eq!(driver.keys(), ["a", "b"]);
    driver.apply(Input::Time { now: 1_100_000 });
    assert_eq!(driver.keys(), ["a", "b", "c", "d"]);
}

#[test]
fn a_record_that_comes_too_late_is_judged_as_of_its_time_and_counted() {
    for (history, expected) in [("", 2), (r#"lateness = "10s""#, 1)] {
        let mut driver = Driver::new(&small(r#"clock = "at""#, history));
        driver.send(&row("a", (1, 1), 10.0, START));
        driver.send(&row("c", (1, 1), 90.0, START + 40_000));
        // Within the lateness, where there is one.
        driver.send(&row("b", (1, 1), 20.0, START + 35_000));
        driver.send(&row("d", (1, 1), 50.0, START + 60_000));
        driver.send(&row("late", (1, 1), 30.0, START + 1_000));
        driver.apply(Input::End);
        assert_eq!(driver.core.counters().out_of_order, expected);
        let late = driver.closed().into_iter().find(|entity| entity.summary.key == "late").unwrap();
        assert_eq!(late.features[1..3], [1.0, 10.0], "it finds what was before it and nothing else");
    }
}

#[test]
fn at_the_limit_those_who_were_met_the_longest_ago_are_forgotten() {
    let mut driver = Driver::new(&small("max_state_bytes = 20_000", r#"memory = "1d""#));
    for index in 0..200i64 {
        let user = (index % 100) as u8;
        driver.send(&row(index, (user, user), 1.0, START + index * 1_000));
        assert!(driver.core.state_records(0) < 20_000 / 64);
    }
    let counters = driver.core.counters();
    assert!(counters.forgotten_keys > 200, "{counters:?}");
    assert_eq!(driver.closed()[150].features[1], 0.0, "nobody of a hundred is remembered for so long");
}

#[test]
fn at_the_limit_those_that_wait_are_judged_early() {
    let mut driver = Driver::new(&small("max_state_bytes = 2000", r#"lateness = "10s""#));
    for index in 0..50 {
        driver.send(&row(index, (1, 1), 1.0, START + index));
    }
    let counters = driver.core.counters();
    assert!(counters.closed_early > 30 && counters.open_lines < 20, "{counters:?}");
    driver.apply(Input::End);
    assert_eq!(driver.closed().len(), 50);
}

#[test]
fn a_record_has_to_be_keyed_by_the_column_whose_past_is_looked_at() {
    let features = r#"count = "count() by user over 1m""#;
    let count = |features: &str, partitions: i32| {
        let pipeline = Arc::new(read(features, "", ""));
        let origin = Origin { partitions, ..origin_of(&pipeline) };
        let mut core = Core::sharing(pipeline, Recovery::Changelog, origin);
        let row = row("a", (1, 1), 1.0, START);
        for (offset, key) in [None, Some(&b"a"[..]), Some(b"user 1")].into_iter().enumerate() {
            let record = Record { key, ..Record::new(0, offset as i64, START, row.payload.as_bytes()) };
            core.apply(Input::Record(record), &mut Vec::new());
        }
        core.misplaced_lines()
    };
    assert_eq!(count(features, 3), 2);
    assert_eq!(count(features, 1), 0);
    assert_eq!(count(r#"amount = "amount""#, 3), 0, "nothing of the past is looked at");
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
