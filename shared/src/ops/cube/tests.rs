use burn::tensor::{Device, Int, Tensor};

use super::super::{Assignment, assign_and_accumulate, reference};
use crate::device::{DeviceRequest, choose};
use crate::matrix::Matrix;

/// A GPU, or the software adapter, or nothing.
fn gpu() -> Option<Device> {
    match choose(DeviceRequest::Gpu(0)).or_else(|_| choose(DeviceRequest::Software)) {
        Ok(chosen) => Some(chosen.device),
        Err(error) => {
            assert!(std::env::var_os("ATALAYA_REQUIRE_SOFTWARE_GPU").is_none(), "{error}");
            eprintln!("skipped: no GPU and no software adapter ({error}); install mesa-vulkan-drivers");
            None
        }
    }
}

fn ints(tensor: &Tensor<1, Int>) -> Vec<i32> {
    tensor.to_data().iter::<i32>().collect()
}

fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

/// Whole numbers, so that every sum is exact whatever its order.
fn whole_numbers(rows: usize, n_features: usize, seed: usize) -> Matrix {
    let value = |i: usize| ((i * 7919 + seed * 104_729) % 101) as f32 - 50.0;
    Matrix::from_values(n_features, (0..rows * n_features).map(value).collect())
}

fn same(kernel: &Assignment, plain: &Assignment) {
    assert_eq!(ints(&kernel.labels), ints(&plain.labels));
    assert_eq!(floats(&kernel.squared_distances), floats(&plain.squared_distances));
    assert_eq!(kernel.counts, plain.counts);
    assert_eq!(kernel.sums, plain.sums);
    assert_eq!(kernel.inertia, plain.inertia);
}

#[test]
fn whole_numbers_are_assigned_exactly_as_by_the_reference() {
    let Some(device) = gpu() else { return };
    for (n, d, k) in [(1, 1, 1), (5, 3, 2), (257, 5, 20), (5000, 8, 20)] {
        let (x, c) = (whole_numbers(n, d, 1), whole_numbers(k, d, 2));
        let kernel = assign_and_accumulate(&x.to_tensor(&device), &c.to_tensor(&device));
        let cpu = Device::flex();
        let plain = reference::assign_and_accumulate(&x.to_tensor(&cpu), &c.to_tensor(&cpu));
        eprintln!("{n} {d} {k}");
        same(&kernel, &plain);
    }
}
