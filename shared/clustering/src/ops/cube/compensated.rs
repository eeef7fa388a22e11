//! Sums that keep their rounding errors, on devices without float64.

use cubecl::prelude::*;

/// The width of a single number.
pub(super) type One = Const<1>;

/// A sum in two floats: `hi` is the sum rounded, `lo` what the roundings lost.
#[derive(CubeType)]
pub(super) struct Total<N: Size> {
    pub hi: Vector<f32, N>,
    pub lo: Vector<f32, N>,
}

#[cube]
impl<N: Size> Total<N> {
    pub fn new() -> Self {
        Total::<N> { hi: Vector::new(0.0f32), lo: Vector::new(0.0f32) }
    }

    /// Adds `value` (TwoSum, Knuth 1969; as a running sum: Neumaier 1974). `no_fold` is 0.
    pub fn add(&mut self, value: Vector<f32, N>, no_fold: u32) {
        let sum = opaque::<N>(self.hi + value, no_fold);
        let added = opaque::<N>(sum - self.hi, no_fold);
        let lost = (self.hi - (sum - added)) + (value - added);
        self.hi = sum;
        self.lo += lost;
    }

    /// Adds another total. `no_fold` is 0.
    pub fn merge(&mut self, hi: Vector<f32, N>, lo: Vector<f32, N>, no_fold: u32) {
        self.add(hi, no_fold);
        self.lo += lo;
    }
}

/// Adds up the totals of a cube's units, pairwise; the first unit's is the result.
#[cube]
pub(super) fn merge_units(
    total: &mut Total<One>,
    hi: &mut Shared<[Vector<f32, One>]>,
    lo: &mut Shared<[Vector<f32, One>]>,
    no_fold: u32,
    #[comptime] units: usize,
) {
    let unit = UNIT_POS as usize;
    hi[unit] = total.hi;
    lo[unit] = total.lo;
    sync_cube();
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        if unit < half {
            total.merge(hi[unit + half], lo[unit + half], no_fold);
            hi[unit] = total.hi;
            lo[unit] = total.lo;
        }
        half /= 2;
        sync_cube();
    }
}

/// `value` itself, which the compiler cannot know: `no_fold` is 0, but only at run time. Shader compilers take the right to
/// fold `(a + b) - a` into `b`, which would make every rounding error 0. Every kernel that adds up with care has `no_fold`
/// among its arguments for this.
#[cube]
fn opaque<N: Size>(value: Vector<f32, N>, no_fold: u32) -> Vector<f32, N> {
    let bits = Vector::<u32, N>::reinterpret(value) ^ Vector::new(no_fold);
    Vector::<f32, N>::reinterpret(bits)
}
