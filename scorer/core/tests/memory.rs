//! What the state of a partition takes is what it says it takes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use scorer_core::{Core, Input, Record};
use shared::allocation::allocated;
use shared::pipeline::Pipeline;
use shared::time::format_timestamp;

/// What is allocated now, headers and all.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(allocated(layout.size()), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(allocated(layout.size()), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A power of two, for which vectors that double have no more room than they need.
const RECORDS: u64 = 1 << 15;

/// What a core takes after so many records, `(said, taken)`.
fn after(pipeline: &Arc<Pipeline>, record: impl Fn(u64) -> (i64, String)) -> (usize, usize) {
    let before = TAKEN.load(Ordering::Relaxed);
    let (mut core, mut out) = (Core::new(pipeline.clone()), Vec::new());
    for number in 0..RECORDS {
        let (timestamp, payload) = record(number);
        core.apply(Input::Record(Record::new(0, number as i64, timestamp, payload.as_bytes())), &mut out);
        out.clear();
    }
    let counters = core.counters();
    assert_eq!((counters.records, counters.erroneous()), (RECORDS, 0), "{counters:?}");
    drop(out);
    (core.state_bytes(), TAKEN.load(Ordering::Relaxed) - before)
}

/// Each test counts all that is allocated, so there is one.
#[test]
fn the_state_takes_what_it_says() {
    let invoices = Arc::new(Pipeline::load("invoices").unwrap());
    let transactions = Arc::new(Pipeline::load("transactions").unwrap());
    let line = |number: u64| format!("{number},22143,RED MUG,2,9/1/2010 9:22,1.5,12345,France");
    let payment = |number: u64, merchant: u64| {
        let at = format_timestamp(1_735_689_600_000 + number as i64);
        format!(
            r#"{{"transaction_id":"t{number:012}","user_id":"u{number:09}","merchant_id":"m{merchant:09}","amount":12.5,"currency":"EUR","latitude":40.4,"longitude":-3.7,"timestamp":"{at}"}}"#
        )
    };
    let found = [
        ("open invoices", after(&invoices, |number| (0, line(number)))),
        ("closed invoices", after(&invoices, |number| (18 * number as i64, line(number)))),
        ("cancelled invoices", after(&invoices, |number| (number as i64, format!("C{}", line(number))))),
        ("new users", after(&transactions, |number| (0, payment(number, number)))),
        ("new users of few merchants", after(&transactions, |number| (0, payment(number, number % 50)))),
    ];
    for (name, (said, taken)) in found {
        println!("{name}: {said} bytes are said, {taken} are taken");
    }
    for (name, (said, taken)) in found {
        assert!(said * 100 >= taken * 90 && said * 100 <= taken * 150, "{name}: {said} of {taken}");
    }
}
