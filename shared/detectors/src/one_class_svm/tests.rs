use burn::tensor::Device;
use proptest::prelude::*;

use super::*;
use crate::Score;
use crate::conformance::{agree, conformance_tests, fitted, gpu, scores, slanted};

/// The exact machine and the approximate one.
fn models(x: &Matrix) -> Vec<SupportVectorMachine> {
    let fourier = OneClassSvm { max_exact: 0, n_components: 100, ..OneClassSvm::default() };
    vec![fitted(&OneClassSvm::default(), x), fitted(&fourier, x)]
}

conformance_tests!(OneClassSvm, models);

#[test]
fn a_device_scores_as_the_cpu_does() {
    let x = slanted(3000, 5, 20, 4);
    let device = gpu();
    for model in models(&x) {
        let here = model.on_cpu().score(&x).values;
        agree(&here, &model.on_gpu(&Device::flex()).score(&x).values, 1e-5);
        let Some(device) = &device else { continue };
        let there = model.on_gpu(device).score(&x).values;
        agree(&here, &there, 1e-4);
        assert_eq!(model.on_gpu(device).score(&x.first_rows(3)).values, there[..3]);
    }
}

/// Rows far from each other and from their mean: the squares of their values are far larger than the distances between them.
fn two_far_clouds(n: usize, shift: f32, seed: u64) -> Matrix {
    let cloud = slanted(n, 4, 20, seed);
    let sign = |index: usize| if index.is_multiple_of(2) { 1.0 } else { -1.0 };
    let rows = cloud.rows().enumerate();
    Matrix::from_values(4, rows.flat_map(|(index, row)| row.iter().map(move |x| x + sign(index) * shift)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_device_scores_clouds_that_are_far_apart_as_the_cpu_does(shift in 50f32..5000.0, seed: u64) {
        let x = two_far_clouds(300, shift, seed);
        let model = fitted(&OneClassSvm::default(), &x);
        agree(&model.on_cpu().score(&x).values, &model.on_gpu(&Device::flex()).score(&x).values, 1e-5);
    }

    /// No size is far slower than one that is a little smaller.
    #[test]
    fn as_many_kernel_rows_are_remembered_as_there_is_room_for(n in 2usize..80, bytes in 0usize..40_000) {
        let x = slanted(n, 3, 9, 1);
        let rows = kernel::CachedRows::new(&x, 0.3, bytes);
        prop_assert_eq!(rows.n_cached(), (bytes / (4 * n)).max(2).min(n));
    }
}

#[test]
fn the_largest_exact_problem_by_default_fits_in_the_memory_that_it_may_take() {
    let n = OneClassSvm::default().max_exact;
    assert!(STATE_BYTES >= n * n * size_of::<f32>(), "a kernel matrix of {n} rows");
}

fn kernel(a: &[f32], b: &[f32], gamma: f64) -> f64 {
    let distance: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    (-gamma * distance).exp()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The conditions of Karush, Kuhn and Tucker: what is inside has no part, what is outside has all it may have.
    #[test]
    fn the_solution_is_optimal(n in 3usize..60, nu in 0.05f64..1.0, seed: u64, bytes in 0usize..4000) {
        let x = slanted(n, 3, 9, seed);
        let solution = smo::solve(kernel::CachedRows::new(&x, 0.3, bytes), nu, 1e-4);
        prop_assert!((solution.alpha.iter().sum::<f64>() - nu * n as f64).abs() < 1e-6);
        for row in 0..n {
            let term = |other: usize| solution.alpha[other] * kernel(x.row(other), x.row(row), f64::from(0.3_f32));
            let f: f64 = (0..n).map(term).sum();
            let (alpha, excess) = (solution.alpha[row], f - solution.rho);
            prop_assert!((0.0..=1.0).contains(&alpha));
            prop_assert!(alpha > 0.0 || excess > -1e-3, "{} {}", alpha, excess);
            prop_assert!(alpha < 1.0 || excess < 1e-3, "{} {}", alpha, excess);
        }
    }

    #[test]
    fn the_exponential_is_exact_enough(distance in 0.0f32..200.0) {
        let mut value = [distance];
        kernel::exp_minus(0.5, &mut value);
        let exact = (-0.5 * f64::from(distance)).exp();
        prop_assert!((f64::from(value[0]) - exact).abs() <= 1e-5 * exact + 3e-38, "{} {}", value[0], exact);
    }

    #[test]
    fn the_cosine_is_exact_enough(turns in -1000.0f32..1000.0) {
        let mut value = [turns];
        fourier::cos_turns(&mut value);
        let exact = (2.0 * std::f64::consts::PI * f64::from(turns)).cos();
        prop_assert!((f64::from(value[0]) - exact).abs() <= 1e-6, "{} {}", value[0], exact);
    }
}

#[test]
fn the_exact_score_is_that_of_a_plain_sum() {
    let x = slanted(400, 5, 20, 1);
    let model = models(&x).remove(0);
    let SupportVectorMachine::Kernel(machine) = &model else { panic!("not exact") };
    let score = |row: &[f32]| {
        let terms = machine.coefficients.values().iter().enumerate();
        let sum = |(index, &c): (usize, &f32)| {
            f64::from(c) * kernel(machine.support_vectors.row(index), row, f64::from(machine.gamma))
        };
        (f64::from(machine.rho) - terms.map(sum).sum::<f64>()) as f32
    };
    agree(&x.rows().map(score).collect::<Vec<f32>>(), &scores(&model, &x), 1e-5);
}

/// Schölkopf et al. 2001, proposition 3.
#[test]
fn nu_bounds_what_is_outside_and_what_supports() {
    let x = slanted(1000, 4, 20, 3);
    for nu in [0.1, 0.5, 0.9] {
        let exact = fitted(&OneClassSvm { nu, ..OneClassSvm::default() }, &x);
        let approximate = fitted(&OneClassSvm { nu, max_exact: 0, n_components: 256, ..OneClassSvm::default() }, &x);
        for model in [&exact, &approximate] {
            let outside = scores(model, &x).iter().filter(|&&score| score > 2e-3).count() as f64 / 1000.0;
            assert!(outside <= nu + 0.03 && outside >= nu - 0.12, "{nu} {outside}");
        }
        let SupportVectorMachine::Kernel(machine) = &exact else { panic!("not exact") };
        assert!(machine.coefficients.values().len() as f64 >= nu * 1000.0);
    }
}

#[test]
fn with_many_frequencies_the_approximate_scores_are_the_exact_ones() {
    let x = slanted(800, 3, 20, 5);
    let exact = scores(&fitted(&OneClassSvm::default(), &x), &x);
    let params = OneClassSvm { max_exact: 0, n_components: 8192, ..OneClassSvm::default() };
    let approximate = scores(&fitted(&params, &x), &x);
    let difference = exact.iter().zip(&approximate).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 0.03, "{difference}");
}

#[test]
fn the_rows_beside_the_line_are_found() {
    let x = slanted(1000, 4, 50, 5);
    for model in models(&x) {
        let scores = scores(&model, &x);
        let mut sorted = scores.clone();
        sorted.sort_by(f32::total_cmp);
        assert!(scores.iter().step_by(50).filter(|&&score| score >= sorted[950]).count() >= 18);
    }
}

#[test]
fn bad_parameters_are_named() {
    let refused = |params: OneClassSvm| params.check().unwrap_err();
    let good = OneClassSvm::default();
    assert_eq!(refused(OneClassSvm { nu: 0.0, ..good.clone() }), "nu must be above 0 and at most 1");
    assert_eq!(refused(OneClassSvm { gamma: Some(0.0), ..good.clone() }), "gamma must be between 1e-12 and 1e12");
    assert_eq!(refused(OneClassSvm { n_components: 0, ..good.clone() }), "n_components must be between 1 and 16384");
    assert_eq!(refused(OneClassSvm { max_exact: 60_000, ..good.clone() }), "max_exact must be at most 50000");
    assert_eq!(refused(OneClassSvm { tol: 1.0, ..good }), "tol must be between 0.000001 and 0.1");
}

#[test]
fn damaged_models_are_refused() {
    for good in models(&slanted(300, 5, 20, 1)) {
        assert_eq!(good.check(5), Ok(()));
        assert!(good.check(4).is_err());
        let damage: [fn(&mut SupportVectorMachine); 3] = [
            |m| match m {
                SupportVectorMachine::Kernel(m) => m.coefficients = Array::new([1], vec![1.0]),
                SupportVectorMachine::Fourier(m) => m.phases = Array::new([1], vec![1.0]),
            },
            |m| match m {
                SupportVectorMachine::Kernel(m) => m.gamma = 0.0,
                SupportVectorMachine::Fourier(m) => m.rho = f32::NAN,
            },
            |m| match m {
                SupportVectorMachine::Kernel(m) => {
                    m.support_vectors.take();
                }
                SupportVectorMachine::Fourier(m) => {
                    m.frequencies.take();
                }
            },
        ];
        for spoil in damage {
            let mut model = good.clone();
            spoil(&mut model);
            assert!(model.check(5).is_err());
        }
    }
}
