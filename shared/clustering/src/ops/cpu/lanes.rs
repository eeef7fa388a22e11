//! Sixteen float32 lanes: in one AVX-512 register, or in an array that the compiler lays over the registers there are.
//!
//! Both give the same bits wherever the processor has fused multiply-add, which is everywhere but on x86-64 without
//! AVX2: the additions and multiplications are the same, in the same order.

/// Lanes: points of a tile.
pub(super) const LANES: usize = 16;

/// One feature of a tile: a value for each of 16 points.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Column(pub [f32; LANES]);

/// The arithmetic of the kernels.
///
/// # Safety
/// Every function may be called only where the processor has the instructions of the implementation: inside the
/// versions that [`multiversion`](super::multiversion) makes, which ask for them first.
pub(super) trait Lanes: Copy {
    /// 16 float32.
    type Floats: Copy;
    /// 16 int32.
    type Ints: Copy;
    /// Whether the registers suffice for the sums of two tiles side by side.
    const HAS_ROOM_FOR_TWO: bool;

    unsafe fn splat(value: f32) -> Self::Floats;
    unsafe fn splat_int(value: i32) -> Self::Ints;
    unsafe fn load(column: &Column) -> Self::Floats;
    unsafe fn floats(values: Self::Floats) -> [f32; LANES];
    unsafe fn ints(values: Self::Ints) -> [i32; LANES];
    /// `sum + (a - b)²`
    unsafe fn add_squared_difference(sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `sum + a b`
    unsafe fn add_product(sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The smaller one, of any two numbers.
    unsafe fn smaller(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The larger one, of any two numbers.
    unsafe fn larger(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// A bit for each lane, from the lowest, in which `a > b`; where one is NaN, it is not.
    unsafe fn more_than(a: Self::Floats, b: Self::Floats) -> u16;
    /// The smaller one, of values that are not negative.
    unsafe fn min(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The larger one, of values that are not negative.
    unsafe fn max(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The value nearest to `value` from `low` to `high`.
    unsafe fn clamp(value: Self::Floats, low: Self::Floats, high: Self::Floats) -> Self::Floats;
    /// A bit for each lane, from the lowest, in which `a <= b`.
    unsafe fn at_most(a: Self::Floats, b: Self::Floats) -> u16;
    /// `a * factor - b * other`, after the square roots of `a` and `b` were taken.
    unsafe fn gap(a: Self::Floats, factor: f32, b: Self::Floats, other: f32) -> [f32; LANES];
    /// `id` where `a < b`, else `label`.
    unsafe fn label_if_less(a: Self::Floats, b: Self::Floats, id: Self::Ints, label: Self::Ints) -> Self::Ints;

    /// Four features from `feature` on of the 16 rows that begin at `offsets` of `values`, feature by feature.
    ///
    /// Each `offset + feature + 4` lies within `values`.
    unsafe fn transpose4(values: &[f32], offsets: &[usize; LANES], feature: usize, columns: &mut [Column; 4]);

    /// Adds the row at `row`, of `n_features`, times `sign`, to the sum at `sum`, which has room for `n_features` rounded
    /// up to a multiple of 8.
    unsafe fn add_row(sum: *mut f64, row: *const f32, n_features: usize, sign: f64);

    /// Asks for the row of `n_features` at `row`, which is read soon, where the processor can be asked.
    unsafe fn prefetch(row: *const f32, n_features: usize);

    /// Takes `max_shifts[label]` from each point's slack and appends the positions where nothing is left to `expired`.
    ///
    /// `max_shifts` is 32 values or more, and each label is one of its indices.
    unsafe fn shrink_bounds(labels: &[u16], slack: &mut [f32], max_shifts: &[f32], expired: &mut Vec<u16>);
}

/// A factor below 1 that covers the rounding of `slack - max_shift`.
pub(super) const SLACK_SAFETY: f32 = 1.0 - 2.0 * f32::EPSILON;

/// Arrays of 16; `FUSED` when the processor has fused multiply-add.
#[derive(Clone, Copy)]
pub(super) struct Portable<const FUSED: bool>;

impl<const FUSED: bool> Lanes for Portable<FUSED> {
    type Floats = [f32; LANES];
    type Ints = [i32; LANES];
    // 16 lanes take two registers of AVX2 and four of NEON.
    const HAS_ROOM_FOR_TWO: bool = false;

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; LANES] {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn splat_int(value: i32) -> [i32; LANES] {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load(column: &Column) -> [f32; LANES] {
        column.0
    }

    #[inline(always)]
    unsafe fn floats(values: [f32; LANES]) -> [f32; LANES] {
        values
    }

    #[inline(always)]
    unsafe fn ints(values: [i32; LANES]) -> [i32; LANES] {
        values
    }

    #[inline(always)]
    unsafe fn add_squared_difference(mut sum: [f32; LANES], a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        for lane in 0..LANES {
            let difference = a[lane] - b[lane];
            sum[lane] =
                if FUSED { difference.mul_add(difference, sum[lane]) } else { sum[lane] + difference * difference };
        }
        sum
    }

    #[inline(always)]
    unsafe fn add_product(mut sum: [f32; LANES], a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        for lane in 0..LANES {
            sum[lane] = if FUSED { a[lane].mul_add(b[lane], sum[lane]) } else { sum[lane] + a[lane] * b[lane] };
        }
        sum
    }

    #[inline(always)]
    unsafe fn smaller(a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        unsafe { Self::min(a, b) }
    }

    #[inline(always)]
    unsafe fn larger(a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        unsafe { Self::max(a, b) }
    }

    #[inline(always)]
    unsafe fn more_than(a: [f32; LANES], b: [f32; LANES]) -> u16 {
        // As in `at_most`.
        let mut bits = [0u32; LANES];
        for lane in 0..LANES {
            bits[lane] = if a[lane] > b[lane] { 1 << lane } else { 0 };
        }
        bits.iter().fold(0, |mask, bit| mask | bit) as u16
    }

    #[inline(always)]
    unsafe fn min(mut a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        for lane in 0..LANES {
            a[lane] = if a[lane] < b[lane] { a[lane] } else { b[lane] };
        }
        a
    }

    #[inline(always)]
    unsafe fn max(mut a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        for lane in 0..LANES {
            a[lane] = if a[lane] > b[lane] { a[lane] } else { b[lane] };
        }
        a
    }

    #[inline(always)]
    unsafe fn clamp(mut value: [f32; LANES], low: [f32; LANES], high: [f32; LANES]) -> [f32; LANES] {
        for lane in 0..LANES {
            value[lane] = if value[lane] > low[lane] { value[lane] } else { low[lane] };
            value[lane] = if value[lane] < high[lane] { value[lane] } else { high[lane] };
        }
        value
    }

    #[inline(always)]
    unsafe fn at_most(a: [f32; LANES], b: [f32; LANES]) -> u16 {
        // Each lane's own bit, so that lanes are compared as whole registers.
        let mut bits = [0u32; LANES];
        for lane in 0..LANES {
            bits[lane] = if a[lane] <= b[lane] { 1 << lane } else { 0 };
        }
        bits.iter().fold(0, |mask, bit| mask | bit) as u16
    }

    #[inline(always)]
    unsafe fn gap(mut a: [f32; LANES], factor: f32, b: [f32; LANES], other: f32) -> [f32; LANES] {
        for lane in 0..LANES {
            let (root, other) = (a[lane].sqrt(), b[lane].sqrt() * other);
            a[lane] = if FUSED { root.mul_add(factor, -other) } else { root * factor - other };
        }
        a
    }

    #[inline(always)]
    unsafe fn label_if_less(
        a: [f32; LANES],
        b: [f32; LANES],
        id: [i32; LANES],
        mut label: [i32; LANES],
    ) -> [i32; LANES] {
        for lane in 0..LANES {
            label[lane] = if a[lane] < b[lane] { id[lane] } else { label[lane] };
        }
        label
    }

    #[inline(always)]
    unsafe fn transpose4(values: &[f32], offsets: &[usize; LANES], feature: usize, columns: &mut [Column; 4]) {
        for (lane, offset) in offsets.iter().enumerate() {
            let row = &values[offset + feature..offset + feature + 4];
            for (column, value) in columns.iter_mut().zip(row) {
                column.0[lane] = *value;
            }
        }
    }

    #[inline(always)]
    unsafe fn add_row(sum: *mut f64, row: *const f32, n_features: usize, sign: f64) {
        for feature in 0..n_features {
            unsafe { *sum.add(feature) += f64::from(*row.add(feature)) * sign };
        }
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32, _: usize) {}

    #[inline(always)]
    unsafe fn shrink_bounds(labels: &[u16], slack: &mut [f32], max_shifts: &[f32], expired: &mut Vec<u16>) {
        for (position, (label, slack)) in labels.iter().zip(slack).enumerate() {
            *slack = (*slack - max_shifts[usize::from(*label)]) * SLACK_SAFETY;
            if *slack <= 0.0 {
                expired.push(position as u16);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Column, LANES, Lanes, SLACK_SAFETY};

    /// AVX-512 F, VL, DQ and BW.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512;

    impl Lanes for Avx512 {
        type Floats = __m512;
        type Ints = __m512i;
        const HAS_ROOM_FOR_TWO: bool = true;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn splat_int(value: i32) -> __m512i {
            unsafe { _mm512_set1_epi32(value) }
        }

        #[inline(always)]
        unsafe fn load(column: &Column) -> __m512 {
            unsafe { _mm512_load_ps(column.0.as_ptr()) }
        }

        #[inline(always)]
        unsafe fn floats(values: __m512) -> [f32; LANES] {
            let mut column = Column([0.0; LANES]);
            unsafe { _mm512_store_ps(column.0.as_mut_ptr(), values) };
            column.0
        }

        #[inline(always)]
        unsafe fn ints(values: __m512i) -> [i32; LANES] {
            let mut output = [0; LANES];
            unsafe { _mm512_storeu_epi32(output.as_mut_ptr(), values) };
            output
        }

        #[inline(always)]
        unsafe fn add_squared_difference(sum: __m512, a: __m512, b: __m512) -> __m512 {
            unsafe {
                let difference = _mm512_sub_ps(a, b);
                _mm512_fmadd_ps(difference, difference, sum)
            }
        }

        #[inline(always)]
        unsafe fn add_product(sum: __m512, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, sum) }
        }

        #[inline(always)]
        unsafe fn smaller(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn larger(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn more_than(a: __m512, b: __m512) -> u16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
        }

        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            // As integers, which have the order of floats that are not negative: the units that multiply are busy.
            unsafe { _mm512_castsi512_ps(_mm512_min_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b))) }
        }

        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b))) }
        }

        #[inline(always)]
        unsafe fn clamp(value: __m512, low: __m512, high: __m512) -> __m512 {
            unsafe { _mm512_min_ps(_mm512_max_ps(value, low), high) }
        }

        #[inline(always)]
        unsafe fn at_most(a: __m512, b: __m512) -> u16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b) }
        }

        #[inline(always)]
        unsafe fn gap(a: __m512, factor: f32, b: __m512, other: f32) -> [f32; LANES] {
            unsafe {
                let b = _mm512_mul_ps(_mm512_sqrt_ps(b), _mm512_set1_ps(other));
                Self::floats(_mm512_fmsub_ps(_mm512_sqrt_ps(a), _mm512_set1_ps(factor), b))
            }
        }

        #[inline(always)]
        unsafe fn label_if_less(a: __m512, b: __m512, id: __m512i, label: __m512i) -> __m512i {
            unsafe { _mm512_mask_mov_epi32(label, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), id) }
        }

        #[inline(always)]
        unsafe fn transpose4(values: &[f32], offsets: &[usize; LANES], feature: usize, columns: &mut [Column; 4]) {
            debug_assert!(offsets.iter().all(|offset| offset + feature + 4 <= values.len()));
            unsafe {
                // Four rows, four apart, side by side: after the transposition within each quarter of the register
                // the lanes stand in the order of the rows.
                let quarter = |row: usize| _mm_loadu_ps(values.as_ptr().add(offsets[row] + feature));
                let rows = |first: usize| {
                    let two = _mm512_insertf32x4::<1>(_mm512_castps128_ps512(quarter(first)), quarter(first + 4));
                    _mm512_insertf32x4::<3>(_mm512_insertf32x4::<2>(two, quarter(first + 8)), quarter(first + 12))
                };
                let (a, b, c, d) = (rows(0), rows(1), rows(2), rows(3));
                let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                let pairs = |x: __m512, y: __m512| {
                    let (x, y) = (_mm512_castps_pd(x), _mm512_castps_pd(y));
                    (_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)))
                };
                let ((first, second), (third, fourth)) = (pairs(ab_low, cd_low), pairs(ab_high, cd_high));
                for (column, lanes) in columns.iter_mut().zip([first, second, third, fourth]) {
                    _mm512_store_ps(column.0.as_mut_ptr(), lanes);
                }
            }
        }

        #[inline(always)]
        unsafe fn add_row(sum: *mut f64, row: *const f32, n_features: usize, sign: f64) {
            unsafe {
                let add = |feature: usize, row: __m256| {
                    let sum = sum.add(feature);
                    let total = _mm512_fmadd_pd(_mm512_cvtps_pd(row), _mm512_set1_pd(sign), _mm512_loadu_pd(sum));
                    _mm512_storeu_pd(sum, total);
                };
                let whole = n_features / 8 * 8;
                for feature in (0..whole).step_by(8) {
                    add(feature, _mm256_loadu_ps(row.add(feature)));
                }
                if whole < n_features {
                    let mask = (1u8 << (n_features - whole)) - 1;
                    add(whole, _mm256_maskz_loadu_ps(mask, row.add(whole)));
                }
            }
        }

        #[inline(always)]
        unsafe fn prefetch(row: *const f32, n_features: usize) {
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(row.cast());
                // Longer rows are followed by the processor itself.
                _mm_prefetch::<_MM_HINT_T0>(row.add(n_features - 1).cast());
            }
        }

        #[inline(always)]
        unsafe fn shrink_bounds(labels: &[u16], slack: &mut [f32], max_shifts: &[f32], expired: &mut Vec<u16>) {
            debug_assert!(max_shifts.len() >= 32 && labels.iter().all(|&label| usize::from(label) < max_shifts.len()));
            let whole = labels.len() / LANES * LANES;
            expired.reserve(labels.len() + LANES);
            let mut n_expired = expired.len();
            unsafe {
                let (low, high) =
                    (_mm512_loadu_ps(max_shifts.as_ptr()), _mm512_loadu_ps(max_shifts.as_ptr().add(LANES)));
                let safety = _mm512_set1_ps(SLACK_SAFETY);
                let mut positions = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                for start in (0..whole).step_by(LANES) {
                    let label = _mm512_cvtepu16_epi32(_mm256_loadu_si256(labels.as_ptr().add(start).cast()));
                    // Two registers hold the table for up to 32 clusters; a gather costs several times as much.
                    let lost = if max_shifts.len() == 32 {
                        _mm512_permutex2var_ps(low, label, high)
                    } else {
                        _mm512_i32gather_ps::<4>(label, max_shifts.as_ptr())
                    };
                    let at = slack.as_mut_ptr().add(start);
                    let left = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(at), lost), safety);
                    _mm512_storeu_ps(at, left);
                    let mask = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(left, _mm512_setzero_ps());
                    let found = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(mask, positions));
                    _mm256_storeu_si256(expired.as_mut_ptr().add(n_expired).cast(), found);
                    n_expired += mask.count_ones() as usize;
                    positions = _mm512_add_epi32(positions, _mm512_set1_epi32(LANES as i32));
                }
                expired.set_len(n_expired);
            }
            for (position, (label, slack)) in labels.iter().zip(slack).enumerate().skip(whole) {
                *slack = (*slack - max_shifts[usize::from(*label)]) * SLACK_SAFETY;
                if *slack <= 0.0 {
                    expired.push(position as u16);
                }
            }
        }
    }
}
