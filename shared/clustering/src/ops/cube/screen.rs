//! The labels of a tile by dot products: half the arithmetic of differences, and the same labels.
//!
//! A centroid's score is `x.c - |c|²/2`, which is highest where `|x - c|²` is lowest. Scores lose small distances of large
//! values, so they only decide where they are sure to: where the best leads the second by more than all roundings, of the
//! scores and of the sums of differences that the labels must agree with, can have cost. Other points are compared again, by
//! differences. Data that lies far from 0 for its spread is so decided by differences throughout.
//!
//! How much that is, with `u = 2^-24`, `d` features, `X = |x|²`, and `M` the largest `|c|²`: the terms of a score add up to at
//! most `X/2 + M` in size, and are added in `d` steps to half a square that took `d` steps, so that a score is off by at most
//! `d u (X/2 + 3M/2)` to the first order, and the lead of one over another by `d u (X + 3M)`. A sum of squared differences
//! is off by at most `(d + 2) u` of itself, which is at most `2X + 2M`: two of them, halved as scores are, by
//! `(d + 2) u (2X + 2M)`. A lead of more than `(d + 2) u (3X + 5M)` is therefore one of the sums of differences, too. What is
//! asked for is `6 (d + 4) u (X + M)`, which leaves room for the roundings of `X`, of `M` and of the lead, and for terms of
//! higher order, up to a thousand features and far beyond.

use cubecl::prelude::*;

use super::nearest::{Search, SharedCentroids, load_block};
use super::shape::TileShape;

/// What was found for a unit's points so far.
#[derive(CubeType)]
pub(super) struct Screen {
    /// The best score and the second: `(points)` each.
    best: Array<f32>,
    second: Array<f32>,
    /// Minus half the squared length of each centroid in shared memory.
    minus_halves: Shared<[f32]>,
    /// The lowest of these.
    lowest: f32,
}

#[cube]
impl Screen {
    /// Room for a tile's points, where dot products `are_used`.
    pub fn new(#[comptime] are_used: bool, #[comptime] shape: TileShape) -> Self {
        Screen {
            best: Array::new(shape.points),
            second: Array::new(shape.points),
            minus_halves: Shared::new_slice(comptime!(if are_used { shape.block } else { 1 })),
            lowest: 0.0f32.runtime(),
        }
    }

    /// Measures the centroids if one block holds them. All units must come here, and have loaded them.
    pub fn start<N: Size>(&mut self, shared: &mut SharedCentroids<N>, #[comptime] shape: TileShape) {
        let n_clusters = shared.n_clusters;
        if n_clusters <= shape.block {
            self.measure::<N>(shared, n_clusters, shape);
        }
        sync_cube();
    }

    /// Labels the points of `search`, where they are `wanted`. All units must come here.
    pub fn label<N: Size>(
        &mut self,
        search: &mut Search<N>,
        shared: &mut SharedCentroids<N>,
        centroids: &[Vector<f32, N>],
        wanted: bool,
        #[comptime] shape: TileShape,
    ) {
        #[unroll]
        for i in 0..shape.points {
            // Below every score of a point that scores are trusted with.
            self.best[i] = -1.0e31f32;
            self.second[i] = -1.0e31f32;
        }
        self.lowest = 0.0f32;
        let first = shared.first;
        let n_clusters = shared.n_clusters;
        if n_clusters <= shape.block {
            if wanted {
                self.compare::<N>(search, shared, 0, n_clusters, shape);
            }
        } else {
            for done in range_stepped(0, n_clusters, shape.block) {
                let left = n_clusters - done;
                let count = select(left < shape.block, left, shape.block);
                load_block::<N>(&mut shared.shared, centroids, first + done, count, shape);
                sync_cube();
                self.measure::<N>(shared, count, shape);
                sync_cube();
                if wanted {
                    self.compare::<N>(search, shared, done, count, shape);
                }
                sync_cube();
            }
        }
        if wanted {
            self.settle::<N>(search, centroids, first, n_clusters, shape);
        }
    }

    /// Takes the lengths of the `count` centroids in shared memory.
    fn measure<N: Size>(&mut self, shared: &mut SharedCentroids<N>, count: usize, #[comptime] shape: TileShape) {
        let mut center = UNIT_POS as usize;
        while center < count {
            let mut length = 0.0f32;
            for v in 0..shape.vectors {
                let values = shared.shared[center * shape.vectors + v];
                #[unroll]
                for lane in 0..shape.vector_size {
                    let part = values.extract(lane);
                    length = fma(part, part, length);
                }
            }
            self.minus_halves[center] = length * -0.5f32;
            center += shape.units;
        }
    }

    /// Scores the `count` centroids in shared memory, of which the first has the index `first`.
    fn compare<N: Size>(
        &mut self,
        search: &mut Search<N>,
        shared: &mut SharedCentroids<N>,
        first: usize,
        count: usize,
        #[comptime] shape: TileShape,
    ) {
        let mut scores = Array::<f32>::new(comptime!(shape.points * shape.centroids));
        for start in range_stepped(0, count, shape.centroids) {
            #[unroll]
            for c in 0..shape.centroids {
                // Past the end the last one is taken again, and not looked at below.
                let half = self.minus_halves[select(start + c < count, start + c, count - 1)];
                self.lowest = min(self.lowest, half);
                #[unroll]
                for i in 0..shape.points {
                    scores[i * shape.centroids + c] = half;
                }
            }
            #[unroll(shape.unrolled)]
            for v in 0..shape.vectors {
                #[unroll]
                for c in 0..shape.centroids {
                    let at = select(start + c < count, start + c, count - 1) * shape.vectors + v;
                    let center = shared.shared[at];
                    #[unroll]
                    for i in 0..shape.points {
                        let row = search.rows[i * shape.vectors + v];
                        #[unroll]
                        for lane in 0..shape.vector_size {
                            let (part, other) = (row.extract(lane), center.extract(lane));
                            scores[i * shape.centroids + c] = fma(part, other, scores[i * shape.centroids + c]);
                        }
                    }
                }
            }
            #[unroll]
            for c in 0..shape.centroids {
                if start + c < count {
                    #[unroll]
                    for i in 0..shape.points {
                        let score = scores[i * shape.centroids + c];
                        let index = (first + start + c) as u32;
                        search.labels[i] = select(score > self.best[i], index, search.labels[i]);
                        self.second[i] = max(self.second[i], min(self.best[i], score));
                        self.best[i] = max(self.best[i], score);
                    }
                }
            }
        }
    }

    /// Compares the points again whose scores are too close, or too large to be trusted.
    fn settle<N: Size>(
        &mut self,
        search: &mut Search<N>,
        centroids: &[Vector<f32, N>],
        first: usize,
        n_clusters: usize,
        #[comptime] shape: TileShape,
    ) {
        // 6 (d + 4) 2^-24.
        let doubt = comptime!(6 * (shape.n_features() + 4)).runtime() as f32 * 5.9604645e-8f32;
        #[unroll]
        for i in 0..shape.points {
            let reach = search.squared_length(i, shape) - 2.0f32 * self.lowest;
            // Far below where float32 ends, so that no score has gone beyond.
            let is_sure = reach < 1.0e30f32 && self.best[i] - self.second[i] > reach * doubt;
            if !is_sure {
                search.compare_one(centroids, first, n_clusters, i, shape);
            }
        }
    }
}
