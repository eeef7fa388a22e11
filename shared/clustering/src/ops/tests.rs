use burn::tensor::{Device, Tensor};
use proptest::prelude::*;

use super::*;
use crate::matrix::Matrix;

fn tensor(n_features: usize, values: &[f32]) -> Tensor<2> {
    Matrix::from_values(n_features, values.to_vec()).to_tensor(&Device::flex())
}

fn ints(tensor: &Tensor<1, Int>) -> Vec<i32> {
    tensor.to_data().iter::<i32>().collect()
}

fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * a.abs().max(b.abs()).max(1e-6)
}

/// The kernel and the reference agree: distances to rounding, labels wherever the two nearest differ by more.
fn same_assignment(kernel: &Assignment, reference: &Assignment) {
    let (a, b) = (floats(&kernel.squared_distances), floats(&reference.squared_distances));
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(&b).all(|(a, b)| close(f64::from(*a), f64::from(*b))), "{a:?} {b:?}");
    assert_eq!(ints(&kernel.labels), ints(&reference.labels));
    assert_eq!(kernel.counts, reference.counts);
    let largest = kernel.sums.iter().fold(1e-3f64, |largest, sum| largest.max(sum.abs()));
    assert!(kernel.sums.iter().zip(&reference.sums).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
    assert!(close(kernel.inertia, reference.inertia));
}

fn tree_links() -> TreeLinks {
    // 0 -> (1, 2), 2 -> (3, 4): three leaves.
    TreeLinks { left: vec![1, 1, 3, 3, 4], right: vec![2, 1, 4, 3, 4], depth: 2 }
}

/// Whole numbers keep every sum exact in float32, so that even ties are equal on both sides.
fn points() -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>)> {
    (1usize..9, 1usize..70, 1usize..12).prop_flat_map(|(d, n, k)| {
        let values = |rows: usize| proptest::collection::vec((-50i32..50).prop_map(|value| value as f32), rows * d);
        (Just(d), values(n), values(k))
    })
}

proptest! {
    #[test]
    fn the_kernel_assigns_as_the_reference_does((d, x, c) in points()) {
        let (x, c) = (tensor(d, &x), tensor(d, &c));
        same_assignment(&assign_and_accumulate(&x, &c), &reference::assign_and_accumulate(&x, &c));
    }

    #[test]
    fn the_kernel_descends_as_the_reference_does((d, x, _) in points(), seed in 0u8..20) {
        let centers: Vec<f32> = (0..5 * d).map(|i| ((i * 37 + usize::from(seed) * 11) % 101) as f32 - 50.0).collect();
        let (x, centers) = (tensor(d, &x), tensor(d, &centers));
        let (kernel, plain) = (descend(&x, &centers, &tree_links()), reference::descend(&x, &centers, &tree_links()));
        prop_assert_eq!(ints(&kernel.nodes), ints(&plain.nodes));
        prop_assert_eq!(floats(&kernel.squared_distances), floats(&plain.squared_distances));
    }
}

#[test]
fn badly_scaled_points_keep_their_small_distances() {
    // Beside totals of 74,215 the expansion |x|² - 2xc + |c|² would lose a distance of 0.01 altogether.
    let x = tensor(2, &[74_215.0, 0.04, 74_215.0, 0.14]);
    let c = tensor(2, &[74_215.0, 0.04, 0.0, 0.0]);
    for assignment in [assign_and_accumulate(&x, &c), reference::assign_and_accumulate(&x, &c)] {
        let distances = floats(&assignment.squared_distances);
        assert_eq!(distances[0], 0.0);
        assert!((distances[1] - 0.01).abs() < 1e-6, "{distances:?}");
    }
}

#[test]
fn a_tie_goes_to_the_lowest_index() {
    let x = tensor(1, &[0.0]);
    let c = tensor(1, &[1.0, -1.0, 1.0]);
    assert_eq!(ints(&assign_and_accumulate(&x, &c).labels), [0]);
    assert_eq!(ints(&reference::assign_and_accumulate(&x, &c).labels), [0]);
}

/// The path that a GPU takes, run on a software adapter where there is one: `mesa-vulkan-drivers` on Debian.
#[test]
fn the_gpu_path_gives_what_the_reference_gives() {
    let Some(gpu) = super::cube::tests::gpu() else { return };
    let d = 5;
    let values: Vec<f32> = (0..5000 * d).map(|i| ((i * 7919) % 1013) as f32 - 500.0).collect();
    let matrix = Matrix::from_values(d, values.clone());
    let (on_gpu, on_cpu) = (matrix.to_tensor(&gpu), matrix.to_tensor(&Device::flex()));
    let centers = Matrix::from_values(d, values[..20 * d].to_vec());
    let (gpu_centers, cpu_centers) = (centers.to_tensor(&gpu), centers.to_tensor(&Device::flex()));
    same_assignment(&assign_and_accumulate(&on_gpu, &gpu_centers), &assign_and_accumulate(&on_cpu, &cpu_centers));

    let five = |tensor: &Tensor<2>| tensor.clone().narrow(0, 0, 5);
    let gpu_descent = descend(&on_gpu, &five(&gpu_centers), &tree_links());
    let cpu_descent = descend(&on_cpu, &five(&cpu_centers), &tree_links());
    assert_eq!(ints(&gpu_descent.nodes), ints(&cpu_descent.nodes));
    assert_eq!(floats(&gpu_descent.squared_distances), floats(&cpu_descent.squared_distances));
}

/// Tensor cores would round the values to eleven bits before they multiply them.
#[test]
fn values_far_from_zero_keep_their_digits_on_a_gpu() {
    let Some(gpu) = super::cube::tests::gpu() else { return };
    let d = 4;
    let value = |i: usize| {
        let far = if (i / d).is_multiple_of(2) { 74.0 } else { -74.0 };
        far + ((i * 7919) % 1013) as f32 / 500.0
    };
    let x = Matrix::from_values(d, (0..96 * d).map(value).collect());
    let centers = x.first_rows(8);
    let (on_gpu, gpu_centers) = (x.to_tensor(&gpu), centers.to_tensor(&gpu));
    let cpu = Device::flex();
    let expected = assign_and_accumulate(&x.to_tensor(&cpu), &centers.to_tensor(&cpu));
    same_assignment(&assign_and_accumulate(&on_gpu, &gpu_centers), &expected);
    same_assignment(&reference::assign_and_accumulate(&on_gpu, &gpu_centers), &expected);
}
