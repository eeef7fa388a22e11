//! The examples do what they say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[allow(dead_code, reason = "`main` is for `cargo run --example false_alarms`")]
#[path = "../examples/false_alarms.rs"]
mod false_alarms;

use ndarray::Array2;

#[test]
fn what_is_odd_is_reported_and_false_alarms_are_rare() {
    let rows = |seed| false_alarms::normal_rows(2_000, seed);
    let trained = false_alarms::train(rows(1).view(), rows(2).view(), 0.01).unwrap();
    let judged = trained.judge(rows(3).view());
    let n_reported = judged.iter().filter(|(_, is_reported)| *is_reported).count();
    // 20 of 2,000 are expected; twice as many would be further off than luck goes.
    assert!(n_reported < 40, "{n_reported}");
    assert!(judged.iter().all(|&(p_value, is_reported)| !is_reported || p_value <= 0.01));
    let (_, is_reported) = trained.judge(Array2::from_elem((1, 3), 9.0).view())[0];
    assert!(is_reported);
}
