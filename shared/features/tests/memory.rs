//! What the state of keys takes is what it says it takes; and how much that is for a user of `transactions`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use features::allocation::allocated;
use features::history::{History, RecordFeatures};
use records::schema::Column;
use records::value::Value;

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

/// A power of two: of a vector that has just doubled, nobody has touched the second half yet, so it takes no memory.
const USERS: usize = 1 << 14;
const DAY: i64 = 86_400_000;

/// The features of the users in the pipeline `transactions`.
const FEATURES: [&str; 3] = [
    "log(ratio(amount) by user_id over 30d)",
    "log1p(count() by user_id over 1h)",
    "log1p(speed(latitude, longitude) by user_id)",
];

fn of_users() -> RecordFeatures {
    let columns = ["user_id", "amount:float", "latitude:float?", "longitude:float?", "timestamp:datetime"];
    let mut columns: Vec<Column> = columns.iter().map(|column| column.parse().unwrap()).collect();
    columns[1].range.0 = 0.0;
    let declared: Vec<(String, String)> =
        FEATURES.iter().enumerate().map(|(index, text)| (format!("f{index}"), (*text).to_owned())).collect();
    let resolve = |_: &str, name: &str| columns.iter().position(|column| column.name == name).ok_or_else(String::new);
    RecordFeatures::read(&declared, &columns, (4, 30 * DAY, 0), &resolve, &|name, problem| format!("{name}: {problem}"))
        .unwrap()
}

/// Three payments a day of each user, at times of the user's own.
fn pay(features: &RecordFeatures, history: &mut History, days: std::ops::Range<i64>) {
    let mut values = Vec::new();
    for day in days {
        for time in 0..3i64 {
            for user in 0..USERS {
                let at = day * DAY + time * (DAY / 3) + user as i64 * 2_000;
                let key = format!("u{user:09}");
                let amount = 10.0 + (user % 7) as f64 + time as f64;
                let line = [
                    Value::Text(&key),
                    Value::Float(amount),
                    Value::Float(40.4),
                    Value::Float(-3.7),
                    Value::Datetime(at),
                ];
                values.clear();
                history.featurize(features, &line, at, &mut values);
            }
        }
    }
}

#[test]
fn the_state_of_a_user_takes_what_it_says_and_fits_a_million_times_into_a_gibibyte() {
    let features = of_users();
    let before = TAKEN.load(Ordering::Relaxed);
    let mut history = History::new(&features, false);
    pay(&features, &mut history, 0..40);
    let taken = TAKEN.load(Ordering::Relaxed) - before;
    let (said, of_user) = (history.bytes(), taken / USERS);
    println!("{of_user} bytes a user, of which {} are said", said / USERS);
    assert_eq!(history.len(), USERS);
    assert!(said * 100 >= taken * 98 && said * 100 <= taken * 105, "{said} of {taken}");
    assert!(of_user <= 1_073, "{of_user}");
}
