use proptest::prelude::*;

use super::lanes::{LANES, Lanes, Portable};
use super::*;
use crate::matrix::Matrix;

/// Values that repeat after a while and do not lie on a grid.
fn scattered(count: usize, step: usize, scale: f32) -> Vec<f32> {
    (0..count).map(|i| ((i * step) % 1013) as f32 / 17.0 * scale - 20.0).collect()
}

fn rows(values: &[f32], n_features: usize) -> Rows<'_> {
    Rows { values, n_features }
}

/// Label and distance by their definition, point by point.
fn by_definition(x: Rows<'_>, centroids: Rows<'_>) -> (Vec<i32>, Vec<f32>) {
    let nearest = |row: usize| {
        let to = |cluster: usize| squared_distance(x.row(row), centroids.row(cluster));
        let best = (0..centroids.len()).min_by(|&a, &b| to(a).total_cmp(&to(b))).unwrap();
        (best as i32, to(best))
    };
    (0..x.len()).map(nearest).unzip()
}

#[test]
fn labels_and_distances_are_those_of_the_definition_for_every_shape() {
    for d in [1, 2, 3, 4, 5, 7, 8, 9, 16, 30, 33, 64] {
        for k in [1, 2, 3, 4, 5, 20, 33, 256] {
            for n in [1, 15, 16, 17, 100] {
                let (x, c) = (scattered(n * d, 7919, 1.0), scattered(k * d, 7907, 1.1));
                let (x, c) = (rows(&x, d), rows(&c, d));
                assert_eq!(nearest(x, c), by_definition(x, c), "n = {n}, d = {d}, k = {k}");
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let values = scattered(1000 * 7, 7919, 1.0);
    let (x, c) = (rows(&values, 7), rows(&values[70..140], 7));
    let packed = Packed::new(c);
    let offsets: [usize; LANES] = std::array::from_fn(|lane| (lane * 31) * 7);
    let (mut tile, mut best) = (super::scan::Tile::new(7), nearest(x, c));
    let found = unsafe {
        tile.load::<Portable<true>>(x.values, &offsets);
        super::scan::nearest::<Portable<true>, true>(&tile, &packed, 1e-6)
    };
    if fused() {
        for lane in 0..LANES {
            assert_eq!((found.labels[lane], found.best[lane]), (best.0[lane * 31], best.1[lane * 31]));
        }
    }
    best.0.clear();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn slack_shrinks_alike_on_every_instruction_set() {
    use super::lanes::Avx512;
    // A processor without them has one way less, not a test that cannot run.
    if !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")) {
        return;
    }
    for n_clusters in [1usize, 7, 32, 33, 200] {
        let mut max_shifts = scattered(n_clusters, 13, 0.01).iter().map(|x| x.abs()).collect::<Vec<f32>>();
        max_shifts.resize(max_shifts.len().max(32), 0.0);
        let labels: Vec<u16> = (0..1003).map(|i| (i * 5 % n_clusters) as u16).collect();
        let slack = scattered(1003, 61, 1.0);
        let (mut a, mut b) = (slack.clone(), slack);
        let (mut expired_a, mut expired_b) = (Vec::new(), Vec::new());
        // SAFETY: the instructions are there.
        unsafe {
            Avx512::shrink_bounds(&labels, &mut a, &max_shifts, &mut expired_a);
            Portable::<true>::shrink_bounds(&labels, &mut b, &max_shifts, &mut expired_b);
        }
        assert_eq!((a, expired_a), (b, expired_b), "{n_clusters} clusters");
    }
}

#[test]
fn one_thread_and_many_give_the_same_result() {
    let values = scattered(20_000 * 3, 31, 1.0);
    let (x, c) = (rows(&values, 3), rows(&values[300..330], 3));
    let in_pool = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| assign(x, c))
    };
    assert_eq!(in_pool(1), in_pool(4));
}

#[test]
fn a_point_has_the_same_distance_alone_and_in_a_batch() {
    let values = scattered(50 * 5, 7919, 1.0);
    let (x, c) = (rows(&values, 5), rows(&values[..25], 5));
    let batch = assign(x, c);
    for index in 0..x.len() {
        let alone = nearest(rows(x.row(index), 5), c);
        assert_eq!((alone.0[0], alone.1[0]), (batch.labels[index], batch.squared_distances[index]));
    }
}

#[test]
fn sums_are_those_of_the_labels() {
    let values = scattered(9000 * 5, 7919, 1.0);
    let (x, c) = (rows(&values, 5), rows(&values[..35], 5));
    let output = assign(x, c);
    let mut sums = vec![0.0; 35];
    for (row, &label) in output.labels.iter().enumerate() {
        for (j, &value) in x.row(row).iter().enumerate() {
            sums[label as usize * 5 + j] += f64::from(value);
        }
    }
    assert!(output.sums.iter().zip(&sums).all(|(a, b)| (a - b).abs() < 1e-9 * b.abs().max(1.0)));
    assert_eq!(output.counts.iter().sum::<f64>(), 9000.0);
    let inertia: f64 = output.squared_distances.iter().map(|&distance| f64::from(distance)).sum();
    assert!((output.inertia - inertia).abs() < 1e-9 * inertia);
}

#[test]
fn a_draw_falls_where_the_running_sum_passes_the_target() {
    let weights = [0.0, 1.0, 0.0, 2.0, 0.0];
    assert_eq!([0.0, 0.5, 1.0, 2.9].map(|target| draw_in_chunk(&weights, target)), [1, 1, 3, 3]);
    assert_eq!(draw_in_chunk(&weights, 3.0), 3, "rounding may leave a target at the sum of all");
}

/// Centroids on their way: `steps` small moves of every one, some of them none.
fn walk(start: &[f32], step: usize) -> Vec<f32> {
    let moved = |(i, c): (usize, &f32)| if i % 3 == step % 3 { *c } else { c + ((i + step) % 7) as f32 * 0.3 - 0.9 };
    start.iter().enumerate().map(moved).collect()
}

fn points_and_centroids() -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>)> {
    (1usize..10, 1usize..400, 1usize..40).prop_flat_map(|(d, n, k)| {
        let value = prop_oneof![
            (-50i32..50).prop_map(|value| value as f32),
            -20f32..20.0,
            (-5i32..5).prop_map(|value| value as f32 * 1e6),
            (-5i32..5).prop_map(|value| value as f32 * 1e-22),
        ];
        let values = move |rows: usize| proptest::collection::vec(value.clone(), rows * d);
        (Just(d), values(n), values(k))
    })
}

proptest! {
    #[test]
    fn what_slack_leaves_out_is_what_a_full_scan_would_not_change((d, x, c) in points_and_centroids()) {
        let x = rows(&x, d);
        let mut centroids = Matrix::from_values(d, c);
        let screen = |matrix: &Matrix| Screen::for_gaps(rows(matrix.values(), d));
        let (mut chunk, delta) = LloydChunk::start(x, None, &screen(&centroids));
        let (mut sums, mut counts) = (vec![0.0; centroids.values().len()], vec![0i64; centroids.n_samples()]);
        delta.apply(&mut sums, &mut counts);
        let mut scratch = Scratch::default();
        for step in 0..6 {
            let next = Matrix::from_values(d, walk(centroids.values(), step));
            let max_shifts = shift_table(rows(centroids.values(), d), rows(next.values(), d));
            centroids = next;
            if let Some(delta) = chunk.step(x, None, &screen(&centroids), &max_shifts, &mut scratch) {
                delta.apply(&mut sums, &mut counts);
            }
            let full = assign(x, rows(centroids.values(), d));
            let labels: Vec<i32> = chunk.labels().iter().map(|&label| i32::from(label)).collect();
            prop_assert_eq!(&labels, &full.labels);
            prop_assert_eq!(counts.iter().map(|&count| count as f64).collect::<Vec<f64>>(), full.counts);
            let largest = x.values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            let tolerance = f64::from(largest) * x.len() as f64 * 1e-12;
            prop_assert!(sums.iter().zip(&full.sums).all(|(a, b)| (a - b).abs() <= tolerance));
        }
    }

    #[test]
    fn members_are_treated_as_if_they_were_all_points((d, x, c) in points_and_centroids(), every in 1usize..4) {
        let (x, c) = (rows(&x, d), rows(&c, d));
        let members: Vec<u16> = (0..x.len()).step_by(every).map(|row| row as u16).collect();
        let gathered: Vec<f32> = members.iter().flat_map(|&row| x.row(usize::from(row)).iter().copied()).collect();
        let screen = Screen::for_gaps(c);
        let (part, part_moved) = LloydChunk::start(x, Some(&members), &screen);
        let (alone, alone_moved) = LloydChunk::start(rows(&gathered, d), None, &screen);
        prop_assert_eq!(part.labels(), alone.labels());
        prop_assert_eq!(part_moved, alone_moved);
        prop_assert_eq!(labels(x, &members, &Packed::new(c)), part.labels());
        let (part, alone) = (
            evaluate_labels(x, Some(&members), c, part.labels()),
            evaluate_labels(rows(&gathered, d), None, c, alone.labels()),
        );
        let output = assign(rows(&gathered, d), c);
        let whole: f64 = alone.inertia.iter().sum();
        prop_assert!((whole - output.inertia).abs() <= 1e-9 * whole);
        prop_assert_eq!((part.counts, part.inertia), (alone.counts, alone.inertia));
        for (part, alone) in part.farthest.iter().zip(&alone.farthest) {
            let row = |index: usize| if index == usize::MAX { index } else { usize::from(members[index]) };
            prop_assert_eq!(part.0, row(alone.0));
        }
    }

    #[test]
    fn a_step_of_seeding_weighs_what_each_candidate_leaves((d, x, c) in points_and_centroids()) {
        let (x, c) = (rows(&x, d), rows(&c, d));
        let mut closest = vec![f32::MAX; x.len()];
        let mut potentials = vec![0.0; c.len() - 1];
        let total = seed_step(x, &mut closest, &Packed::new(c), &mut potentials);
        let to = |row: usize, center: usize| squared_distance(x.row(row), c.row(center));
        let expected: Vec<f32> = (0..x.len()).map(|row| to(row, 0)).collect();
        prop_assert_eq!(&closest, &expected);
        let sum = |values: &mut dyn Iterator<Item = f32>| values.map(f64::from).sum::<f64>();
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
        prop_assert!(near(total, sum(&mut expected.iter().copied())));
        for (candidate, potential) in potentials.iter().enumerate() {
            let left = &mut (0..x.len()).map(|row| to(row, candidate + 1).min(expected[row]));
            prop_assert!(near(*potential, sum(left)));
        }
    }
}
