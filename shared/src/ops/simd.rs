//! The fused CPU kernels: points are read once, a block of 16 at a time, and no distance matrix is written.
//!
//! A block is transposed, so that the same feature of 16 points lies in one vector register, and each centroid
//! is compared with all 16 at once. The compiler vectorises the loops; each kernel is compiled for AVX-512,
//! AVX2 and the baseline, and the best that the processor has is taken at run time. Multiplications and additions
//! are kept apart (no fused multiply-add), so all of them give the same bits. Work is cut into chunks of a fixed
//! size whose sums are merged in order, in float64: one thread or sixteen give the same result.

use rayon::prelude::*;

/// Points a block: the float32 lanes of the widest register.
const LANES: usize = 16;

/// Points a chunk: small enough for the second-level cache, large enough to be worth a task.
const CHUNK: usize = 4096;

type Block = [f32; LANES];

/// Result of [`assign`] over all points; shapes as in [`super::Assignment`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AssignOutput {
    pub labels: Vec<i32>,
    pub squared_distances: Vec<f32>,
    pub sums: Vec<f64>,
    pub counts: Vec<f64>,
    pub inertia: f64,
}

/// A point set: `values` holds rows of `n_features`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub values: &'a [f32],
    pub n_features: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn len(self) -> usize {
        self.values.len() / self.n_features
    }

    pub(crate) fn row(self, index: usize) -> &'a [f32] {
        &self.values[index * self.n_features..(index + 1) * self.n_features]
    }
}

pub(crate) fn assign(x: Rows<'_>, centroids: Rows<'_>) -> AssignOutput {
    let n_samples = x.len();
    let mut labels = vec![0i32; n_samples];
    let mut squared_distances = vec![0f32; n_samples];
    let chunks = labels.par_chunks_mut(CHUNK).zip(squared_distances.par_chunks_mut(CHUNK)).enumerate();
    let parts: Vec<Sums> = chunks
        .map(|(index, (labels, distances))| {
            let start = index * CHUNK * x.n_features;
            let values = &x.values[start..start + labels.len() * x.n_features];
            assign_chunk(Rows { values, ..x }, centroids, labels, distances)
        })
        .collect();
    let total = parts.into_iter().reduce(Sums::merge).unwrap_or_else(|| Sums::zeros(centroids));
    let Sums { sums, counts, inertia } = total;
    AssignOutput { labels, squared_distances, sums, counts, inertia }
}

/// For each candidate: each point's distance to the closest centroid if the candidate were one, and their sum.
pub(crate) fn candidates(x: Rows<'_>, closest: &[f32], candidates: Rows<'_>) -> (Vec<f32>, Vec<f64>) {
    let n_samples = x.len();
    let mut output = vec![0f32; candidates.len() * n_samples];
    let potentials = output
        .par_chunks_mut(n_samples.max(1))
        .enumerate()
        .map(|(index, output)| closest_with(x, closest, candidates.row(index), output))
        .collect();
    (output, potentials)
}

/// The leaf each point comes to, and its squared distance to the leaf's centre.
pub(crate) fn descend(x: Rows<'_>, centers: Rows<'_>, left: &[i32], right: &[i32]) -> (Vec<i32>, Vec<f32>) {
    let leaf = |index: usize| {
        let point = x.row(index);
        let mut node = 0usize;
        let mut distance = squared_distance(point, centers.row(0));
        while left[node] as usize != node {
            let (l, r) = (left[node] as usize, right[node] as usize);
            let (to_left, to_right) =
                (squared_distance(point, centers.row(l)), squared_distance(point, centers.row(r)));
            (node, distance) = if to_right < to_left { (r, to_right) } else { (l, to_left) };
        }
        (node as i32, distance)
    };
    (0..x.len()).into_par_iter().with_min_len(CHUNK).map(leaf).unzip()
}

/// Squared Euclidean distance, summed from the first feature to the last.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + (a - b) * (a - b))
}

struct Sums {
    sums: Vec<f64>,
    counts: Vec<f64>,
    inertia: f64,
}

impl Sums {
    fn zeros(centroids: Rows<'_>) -> Self {
        Self { sums: vec![0.0; centroids.values.len()], counts: vec![0.0; centroids.len()], inertia: 0.0 }
    }

    fn merge(mut self, other: Self) -> Self {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.inertia += other.inertia;
        self
    }
}

fn assign_chunk(x: Rows<'_>, centroids: Rows<'_>, labels: &mut [i32], distances: &mut [f32]) -> Sums {
    nearest(x, centroids, labels, distances);
    let mut total = Sums::zeros(centroids);
    let d = x.n_features;
    for (row, &label) in x.values.chunks_exact(d).zip(labels.iter()) {
        let label = label as usize;
        total.counts[label] += 1.0;
        let sum = &mut total.sums[label * d..(label + 1) * d];
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    total.inertia = distances.iter().map(|&distance| f64::from(distance)).sum();
    total
}

/// Compiles a kernel once for each instruction set and calls the best that this processor has.
macro_rules! multiversion {
    (fn $name:ident($($argument:ident: $type:ty),*) $(-> $output:ty)? = $body:ident) => {
        fn $name($($argument: $type),*) $(-> $output)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
                fn avx512($($argument: $type),*) $(-> $output)? { $body($($argument),*) }
                #[target_feature(enable = "avx2")]
                fn avx2($($argument: $type),*) $(-> $output)? { $body($($argument),*) }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                {
                    // SAFETY: the processor has these instructions.
                    return unsafe { avx512($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has these instructions.
                    return unsafe { avx2($($argument),*) };
                }
            }
            $body($($argument),*)
        }
    };
}

multiversion!(fn nearest(x: Rows<'_>, centroids: Rows<'_>, labels: &mut [i32], distances: &mut [f32]) = nearest_body);
multiversion!(fn closest_with(x: Rows<'_>, closest: &[f32], candidate: &[f32], output: &mut [f32]) -> f64 = closest_with_body);

#[inline(always)]
fn nearest_body(x: Rows<'_>, centroids: Rows<'_>, labels: &mut [i32], distances: &mut [f32]) {
    let mut block = vec![[0f32; LANES]; x.n_features];
    let outputs = labels.chunks_mut(LANES).zip(distances.chunks_mut(LANES));
    for (points, (labels, distances)) in x.values.chunks(LANES * x.n_features).zip(outputs) {
        transpose(points, &mut block);
        let mut best = [f32::INFINITY; LANES];
        let mut best_label = [0i32; LANES];
        for (label, centroid) in centroids.values.chunks_exact(x.n_features).enumerate() {
            let distance = block_distances(&block, centroid);
            for lane in 0..LANES {
                let nearer = distance[lane] < best[lane];
                best[lane] = if nearer { distance[lane] } else { best[lane] };
                best_label[lane] = if nearer { label as i32 } else { best_label[lane] };
            }
        }
        labels.copy_from_slice(&best_label[..labels.len()]);
        distances.copy_from_slice(&best[..distances.len()]);
    }
}

#[inline(always)]
fn closest_with_body(x: Rows<'_>, closest: &[f32], candidate: &[f32], output: &mut [f32]) -> f64 {
    let mut block = vec![[0f32; LANES]; x.n_features];
    let mut potential = 0.0;
    let blocks = x.values.chunks(LANES * x.n_features).zip(closest.chunks(LANES).zip(output.chunks_mut(LANES)));
    for (points, (closest, output)) in blocks {
        transpose(points, &mut block);
        let distance = block_distances(&block, candidate);
        for ((output, closest), distance) in output.iter_mut().zip(closest).zip(distance) {
            *output = if distance < *closest { distance } else { *closest };
            potential += f64::from(*output);
        }
    }
    potential
}

/// Lays up to 16 rows out feature by feature; lanes beyond the rows keep old values, which nobody reads.
#[inline(always)]
fn transpose(points: &[f32], block: &mut [Block]) {
    let n_features = block.len();
    for (lane, row) in points.chunks_exact(n_features).enumerate() {
        for (feature, value) in block.iter_mut().zip(row) {
            feature[lane] = *value;
        }
    }
}

#[inline(always)]
fn block_distances(block: &[Block], centroid: &[f32]) -> Block {
    let mut sum = [0f32; LANES];
    for (values, center) in block.iter().zip(centroid) {
        for lane in 0..LANES {
            let difference = values[lane] - center;
            sum[lane] += difference * difference;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let values: Vec<f32> = (0..1000 * 7).map(|i| ((i * 7919) % 1013) as f32 / 17.0 - 20.0).collect();
        let x = Rows { values: &values, n_features: 7 };
        let centroids = Rows { values: &values[70..140], n_features: 7 };
        let (mut labels, mut distances) = (vec![0; 1000], vec![0.0; 1000]);
        let (mut base_labels, mut base_distances) = (labels.clone(), distances.clone());
        nearest(x, centroids, &mut labels, &mut distances);
        nearest_body(x, centroids, &mut base_labels, &mut base_distances);
        assert_eq!((labels, distances), (base_labels, base_distances));
    }

    #[test]
    fn one_thread_and_many_give_the_same_result() {
        let values: Vec<f32> = (0..20_000 * 3).map(|i| ((i * 31) % 997) as f32).collect();
        let x = Rows { values: &values, n_features: 3 };
        let centroids = Rows { values: &values[300..330], n_features: 3 };
        let in_pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| assign(x, centroids))
        };
        assert_eq!(in_pool(1), in_pool(4));
    }

    #[test]
    fn a_point_has_the_same_distance_alone_and_in_a_batch() {
        let values: Vec<f32> = (0..50 * 5).map(|i| ((i * 7919) % 1013) as f32 / 3.0).collect();
        let x = Rows { values: &values, n_features: 5 };
        let centroids = Rows { values: &values[..25], n_features: 5 };
        let batch = assign(x, centroids);
        for index in 0..x.len() {
            let alone = assign(Rows { values: x.row(index), n_features: 5 }, centroids);
            assert_eq!(
                (alone.labels[0], alone.squared_distances[0]),
                (batch.labels[index], batch.squared_distances[index])
            );
        }
    }
}
