//! How often memory is asked for on the way of a record to its verdict: what is asked for a million times a second is what makes
//! a scorer slow.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use scorer::core::{Core, Input, Origin, Output, Record, Recovery, Start};
use scorer::file::{FileLines, InputFile};
use scorer::messages::{Encoder, Message};
use scorer::scoring::Detectors;
use shared::device::{DeviceRequest, choose};
use shared::model_source::ModelSource;
use shared::pipeline::Pipeline;

/// How often memory was asked for, or for more of it.
static ASKED: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often memory is asked for while something is done, for each of so many things; and what came of it.
fn asked_for_each<T>(things: usize, act: impl FnOnce() -> T) -> (f64, T) {
    let before = ASKED.load(Ordering::Relaxed);
    let result = act();
    ((ASKED.load(Ordering::Relaxed) - before) as f64 / things as f64, result)
}

/// The records of a sample file.
fn records(pipeline: &Arc<Pipeline>, file: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../resources").join(file);
    let mut lines = FileLines::new(InputFile::open(&path).unwrap(), pipeline).unwrap();
    let mut records = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        records.push(line.record.to_vec());
    }
    records
}

/// A core as it runs exactly once, with the partition 0 of one.
fn core(pipeline: &Arc<Pipeline>) -> Core {
    let (topic, layout) = (pipeline.topic.clone(), pipeline.state_layout());
    let origin = Origin { topic, partitions: 1, layout, topic_id: None };
    let mut core = Core::sharing(pipeline.clone(), Recovery::Changelog, origin);
    core.apply(Input::Assigned { partition: 0, start: Start::Fresh }, &mut Vec::new());
    core
}

/// What the second half of a sample takes of a core that has seen the first, for each record; with its outputs.
fn through_core(pipeline: &Arc<Pipeline>, file: &str) -> (f64, Vec<Output>) {
    let records = records(pipeline, file);
    let (mut core, mut out) = (core(pipeline), Vec::with_capacity(4 * records.len()));
    let (first, second) = records.split_at(records.len() / 2);
    let take = |core: &mut Core, out: &mut Vec<Output>, records: &[Vec<u8>], from: usize| {
        for (offset, record) in (from as i64..).zip(records) {
            core.apply(Input::Record(Record::new(0, offset, 0, record)), out);
        }
    };
    take(&mut core, &mut out, first, 0);
    core.take_changes();
    out.clear();
    let (asked, ()) = asked_for_each(second.len(), || take(&mut core, &mut out, second, first.len()));
    assert!(out.iter().filter_map(Output::closed).count() > 100);
    (asked, out)
}

fn encoder(pipeline: &Arc<Pipeline>, all_verdicts: bool) -> Encoder {
    Encoder::new(pipeline.clone(), &pipeline.topic, all_verdicts, usize::MAX)
}

/// Everything that is allocated counts, so there is one test.
#[test]
fn memory_is_seldom_asked_for() {
    let invoices = Arc::new(Pipeline::load("invoices").unwrap().with_event_clock().unwrap());
    let transactions = Arc::new(Pipeline::load("transactions").unwrap());
    let (of_line, _) = through_core(&invoices, "production.csv");
    let (of_payment, payments) = through_core(&transactions, "transactions/production.jsonl.gz");

    let detectors =
        Detectors::load(&ModelSource::BuiltIn, &transactions, &choose(DeviceRequest::Cpu).unwrap()).unwrap();
    // Of all detectors of an anomaly there is a message; those without one are normal to all.
    let found = encoder(&transactions, false).encode(payments.clone(), &detectors).unwrap().messages;
    let anomalous = |output: &Output| {
        let key = output.closed().map(|entity| &*entity.summary.key);
        key.is_none() || found.iter().any(|message| message.key.as_deref() == key)
    };
    let normal: Vec<Output> = payments.iter().filter(|output| !anomalous(output)).cloned().collect();
    let n_normal = normal.len();
    assert!(n_normal > 1_000, "{n_normal}");
    let quiet = encoder(&transactions, false);
    let (of_normal, encoded) = asked_for_each(n_normal, || quiet.encode(normal.clone(), &detectors).unwrap());
    let (of_copy, _) = asked_for_each(n_normal, || normal.clone());
    assert!(encoded.messages.is_empty());

    let loud = encoder(&transactions, true);
    let copies = normal.clone();
    let (of_all, encoded) = asked_for_each(1, || loud.encode(copies, &detectors).unwrap());
    let messages: Vec<Message> = encoded.messages;
    let of_verdict = of_all / messages.len() as f64;
    assert_eq!(messages.len(), 2 * n_normal, "one of each trained detector");
    let mut buffer = Vec::with_capacity(1 << 20);
    let (of_bytes, payloads) =
        asked_for_each(messages.len(), || messages.iter().map(|it| it.payload_by(&mut buffer)).collect::<Vec<_>>());
    assert!(payloads.iter().zip(&messages).all(|(bytes, message)| *bytes == message.payload()));

    let of_quiet = of_normal - of_copy;
    println!("a line of an invoice: {of_line:.2}");
    println!("a payment: {of_payment:.2}; scored without a verdict: {of_quiet:.2}");
    println!("a verdict: {of_verdict:.1}; its bytes: {of_bytes:.2}");
    assert!(of_line <= 2.8, "a line of an invoice: {of_line:.2}");
    assert!(of_payment <= 17.0, "a payment: {of_payment:.2}");
    assert!(of_quiet <= 1.0, "a payment without a verdict: {of_quiet:.2}");
    assert!(of_verdict <= 120.0, "a verdict: {of_verdict:.1}");
    assert!(of_bytes <= 1.01, "the bytes of a verdict: {of_bytes:.2}");
}
