//! The examples do what they say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[allow(dead_code, reason = "`main` is for `cargo run --example kmeans`")]
#[path = "../examples/kmeans.rs"]
mod kmeans;

use clustering::device::Device;
use clustering::matrix::Matrix;

#[test]
fn three_groups_are_three_clusters() {
    let rows = kmeans::three_groups();
    let fits = kmeans::cluster(rows.view(), 5).unwrap();
    assert_eq!(fits[2].counts, [100, 100, 100]);
    assert!(fits[2].inertia < 0.05 * fits[1].inertia && fits[3].inertia > 0.5 * fits[2].inertia);
    let (labels, _) = fits[2].predict(&Matrix::from(rows.view()), &Device::flex());
    assert!((0..300).all(|row| labels[row] == labels[row % 3]));
    assert!(labels[0] != labels[1] && labels[1] != labels[2] && labels[2] != labels[0]);
}
