//! Where a partition holds more than it may, what is least missed goes first, and whoever takes over goes on as if nothing
//! had happened.

use shared::pipeline::Scored;

use super::store::{restored_for, started_for};
use super::*;

/// Invoices with so much room in a partition.
fn limited(bytes: usize) -> Arc<Pipeline> {
    let mut pipeline = Pipeline::load("invoices").unwrap();
    pipeline.entity.max_state_bytes = bytes;
    Arc::new(pipeline)
}

fn limits() -> impl Strategy<Value = Arc<Pipeline>> {
    let bytes = proptest::sample::select(vec![60, 150, 400, 700, 1_500]);
    (bytes, any::<bool>()).prop_map(|(bytes, keeps)| {
        let mut pipeline = if keeps { keeping() } else { Pipeline::load("invoices").unwrap() };
        pipeline.entity.max_state_bytes = bytes;
        Arc::new(pipeline)
    })
}

/// Closes everything, and publishes the windows that are left.
fn end(core: &mut Core, mut out: Vec<Output>, store: &mut Store) {
    core.apply(Input::End, &mut out);
    store.commit(core, out);
    store.deliver(core);
    core.finish_windows(&mut store.out);
}

/// An invoice of one line that closes when the next one comes.
fn closed_one_by_one(driver: &mut Driver, invoices: std::ops::Range<i64>) {
    for invoice in invoices {
        driver.send(0, invoice * 41_000, &line(&invoice.to_string()));
    }
}

#[test]
fn keys_that_are_done_with_go_before_any_invoice_closes_early() {
    let mut pipeline = Pipeline::load("invoices").unwrap();
    (pipeline.entity.max_state_bytes, pipeline.entity.remember) = (1_000, 86_400_000);
    let mut driver = Driver { core: Core::new(Arc::new(pipeline)), ..Driver::new() };
    closed_one_by_one(&mut driver, 0..200);
    let counters = driver.core.counters();
    assert_eq!((counters.closed_early, driver.closed().len()), (0, 199));
    let known = 199 - counters.forgotten_seen_keys as i64;
    assert!((10..40).contains(&known), "{counters:?}");
    // The newest are known, and of the others a line is a new invoice's.
    let late = |driver: &mut Driver, invoice: i64| {
        let before = driver.core.counters().late_lines;
        driver.send(0, 200 * 41_000, &line(&invoice.to_string()));
        driver.core.counters().late_lines > before
    };
    assert!(late(&mut driver, 198) && late(&mut driver, 199 - known / 2));
    assert!(!late(&mut driver, 0));
}

#[test]
fn a_flood_of_open_invoices_leaves_the_keys_their_share() {
    let mut driver = Driver { core: Core::new(limited(10_000)), ..Driver::new() };
    closed_one_by_one(&mut driver, 0..10);
    for invoice in 1_000..2_000i64 {
        driver.send(0, 10 * 41_000, &line(&invoice.to_string()));
    }
    let counters = driver.core.counters();
    assert!(counters.closed_early > 900, "{counters:?}");
    // Those that closed early are the newest of the keys: lines of the last ones are late.
    for (invoice, _) in driver.closed().iter().rev().take(30).cloned().collect::<Vec<_>>() {
        driver.send(0, 10 * 41_000, &line(&invoice));
    }
    assert_eq!(driver.reasons(), ["late_line"; 30]);
}

#[test]
fn a_cancelled_key_that_is_forgotten_stays_counted() {
    let count = |bytes: usize| {
        let (mut core, _) = started_for(&Store::default(), &limited(bytes));
        let (mut store, mut out) = (Store::default(), Vec::new());
        let lines: Vec<(i64, String)> = (0..500).map(|number| (number * 100, line(&format!("C{number}")))).collect();
        feed(&mut core, 0, &lines, 0, &mut out);
        store.commit(&mut core, out);
        let forgotten = core.counters().forgotten_cancelled_keys;
        // Somebody else goes on with what is remembered.
        let (mut core, from) = started_for(&store, &limited(bytes));
        let mut out = Vec::new();
        feed(&mut core, 0, &[lines, vec![(70_000, line("1"))]].concat(), from, &mut out);
        end(&mut core, out, &mut store);
        let counts = store.out.into_iter().filter(|output| matches!(output, Output::Cancellations(_)));
        (forgotten, counts.collect::<Vec<_>>())
    };
    let (none, all) = count(1 << 20);
    let (most, same) = count(1_000);
    assert!(none == 0 && most > 450, "{none}, {most}");
    assert_eq!(same, all);
    assert!(all.contains(&Output::Cancellations(CancellationCount {
        window_start: -7 * MINUTE,
        window_end: MINUTE,
        cancellations: 500
    })));
}

/// What this test holds is of no use if nothing ever has to go.
#[test]
fn the_limits_of_these_tests_are_reached() {
    let lines: Vec<(i64, String)> = (0..60i64)
        .map(|step| (step * 7_000, line(&format!("{}{step}", if step % 3 == 0 { "C" } else { "" }))))
        .collect();
    let (mut core, _) = started_for(&Store::default(), &limited(700));
    feed(&mut core, 0, &lines, 0, &mut Vec::new());
    let counters = core.counters();
    let counts = [counters.closed_early, counters.forgotten_seen_keys, counters.forgotten_cancelled_keys];
    assert!(counts.iter().all(|count| *count > 0), "{counters:?}");
}

proptest! {
    /// A partition never holds more than it may, but for one invoice.
    #[test]
    fn no_more_is_held_than_is_allowed(pipeline in limits(), lines in world()) {
        let mut driver = Driver { core: Core::new(pipeline.clone()), ..Driver::new() };
        for (timestamp, payload) in &lines {
            driver.send(0, *timestamp, payload);
            let counters = driver.core.counters();
            prop_assert_eq!(counters.accounted(), counters.outcomes());
            let is_within = driver.core.state_bytes() <= pipeline.entity.max_state_bytes;
            prop_assert!(is_within || counters.open_entities <= 1, "{} bytes", driver.core.state_bytes());
        }
    }

    /// Exactly once, also where keys are forgotten before their time: memory, the changelog before and after compaction, and
    /// the snapshot are the same, and so is what comes out.
    #[test]
    fn state_at_its_limit_goes_on_in_another_instance_as_if_nothing_had_happened(
        pipeline in limits(), lines in world(), commits in proptest::collection::vec((0usize..20, any::<bool>()), 1..12)
    ) {
        let mut whole = Store::default();
        let (mut alone, _) = started_for(&whole, &pipeline);
        let mut out = Vec::new();
        feed(&mut alone, 0, &lines, 0, &mut out);
        end(&mut alone, out, &mut whole);

        let (mut store, mut upto) = (Store::default(), 0);
        let (mut core, mut from) = started_for(&store, &pipeline);
        for (ahead, is_moved) in commits {
            let mut out = Vec::new();
            upto = (upto + ahead).min(lines.len());
            feed(&mut core, 0, &lines[..upto], from, &mut out);
            from = upto as i64;
            store.commit(&mut core, out);
            store.deliver(&mut core);
            let mut snapshot = Vec::new();
            core.snapshot(0, |record| snapshot.push(record));
            let changelog = store.changelogs.get(&0).cloned().unwrap_or_default();
            let whole = restored_for(&pipeline, &changelog, 1).map(|restored| restored.snapshot(&pipeline));
            if let Some(fresh) = store.restore_for(&pipeline) {
                prop_assert_eq!(fresh.snapshot(&pipeline), snapshot.clone());
                prop_assert_eq!(whole.unwrap(), snapshot.clone());
                prop_assert_eq!(restored_for(&pipeline, &snapshot, 1).unwrap().snapshot(&pipeline), snapshot);
            }
            if is_moved {
                let bytes = core.state_bytes();
                (core, from) = started_for(&store, &pipeline);
                prop_assert!(upto == 0 || core.state_bytes() == bytes, "{} and {bytes}", core.state_bytes());
                prop_assert_eq!(from, upto as i64);
            }
        }
        let mut out = Vec::new();
        feed(&mut core, 0, &lines, from, &mut out);
        end(&mut core, out, &mut store);
        prop_assert_eq!(sorted(&store.out), sorted(&whole.out));
    }
}

#[test]
fn an_invoice_may_still_be_larger_than_all_the_room() {
    let pipeline = limited(1);
    assert!(matches!(pipeline.scored, Scored::Sessions(_)));
    let mut driver = Driver { core: Core::new(pipeline), ..Driver::new() };
    driver.line(0, "1");
    driver.line(1, "1");
    driver.line(2, "2");
    driver.apply(Input::End);
    assert_eq!(driver.closed(), [("1".into(), 2), ("2".into(), 1)]);
}
