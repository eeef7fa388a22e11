//! The nearest centroid of every point of a tile: points in registers, centroids in shared memory.

use cubecl::prelude::*;

use super::shape::TileShape;

/// A unit's points and what was found for them so far.
#[derive(CubeType)]
pub(super) struct Search<N: Size> {
    /// Rows of the points: `(points, vectors)`.
    pub rows: Array<Vector<f32, N>>,
    /// `(points)`
    pub squared_distances: Array<f32>,
    /// `(points)`
    pub labels: Array<u32>,
}

#[cube]
impl<N: Size> Search<N> {
    pub fn new(#[comptime] shape: TileShape) -> Self {
        Search::<N> {
            rows: Array::new(comptime!(shape.points * shape.vectors)),
            squared_distances: Array::new(shape.points),
            labels: Array::new(shape.points),
        }
    }

    /// Loads the points of a tile. Neighbouring units take neighbouring points, so that the cube reads whole lines.
    pub fn load(&mut self, x: &[Vector<f32, N>], tile: usize, n_samples: usize, #[comptime] shape: TileShape) {
        #[unroll]
        for i in 0..shape.points {
            // A unit without a point computes on the last one, and nobody asks for the result.
            let last = n_samples - 1;
            let wanted = tile + UNIT_POS as usize + i * shape.units;
            let point = select(wanted < last, wanted, last);
            #[unroll(shape.unrolled)]
            for v in 0..shape.vectors {
                self.rows[i * shape.vectors + v] = x[point * shape.vectors + v];
            }
            self.squared_distances[i] = 0.0f32;
            self.labels[i] = 0u32;
        }
    }

    /// Squared distance of the unit's point `point` to row `center` of `centers`, from the first feature to the last.
    pub fn squared_distance(
        &self,
        centers: &[Vector<f32, N>],
        #[comptime] point: usize,
        center: usize,
        #[comptime] shape: TileShape,
    ) -> f32 {
        let mut distance = 0.0f32;
        #[unroll(shape.unrolled)]
        for v in 0..shape.vectors {
            let difference = self.rows[point * shape.vectors + v] - centers[center * shape.vectors + v];
            #[unroll]
            for lane in 0..shape.vector_size {
                let part = difference.extract(lane);
                distance = fma(part, part, distance);
            }
        }
        distance
    }

    /// Squared length of the unit's point `point`.
    pub fn squared_length(&self, #[comptime] point: usize, #[comptime] shape: TileShape) -> f32 {
        let mut length = 0.0f32;
        #[unroll(shape.unrolled)]
        for v in 0..shape.vectors {
            let row = self.rows[point * shape.vectors + v];
            #[unroll]
            for lane in 0..shape.vector_size {
                let part = row.extract(lane);
                length = fma(part, part, length);
            }
        }
        length
    }

    /// Labels the unit's point `point` with the nearest of `n_clusters` centroids, from index `first` on: by the sums and in
    /// the order of [`compare`](Self::compare), so that both find the same.
    pub fn compare_one(
        &mut self,
        centroids: &[Vector<f32, N>],
        first: usize,
        n_clusters: usize,
        #[comptime] point: usize,
        #[comptime] shape: TileShape,
    ) {
        let mut nearest = self.squared_distance(centroids, point, first, shape);
        let mut label = 0u32;
        for cluster in 1..n_clusters {
            let distance = self.squared_distance(centroids, point, first + cluster, shape);
            if distance < nearest {
                nearest = distance;
                label = cluster as u32;
            }
        }
        self.labels[point] = label;
    }

    /// Compares with the `count` centroids of `block`, of which the first has the index `first`.
    ///
    /// Distances are summed from the first feature to the last, and a tie leaves the lowest index.
    pub fn compare(
        &mut self,
        block: &Shared<[Vector<f32, N>]>,
        first: usize,
        count: usize,
        #[comptime] shape: TileShape,
    ) {
        let mut distances = Array::<f32>::new(comptime!(shape.points * shape.centroids));
        for start in range_stepped(0, count, shape.centroids) {
            #[unroll]
            for slot in 0..comptime!(shape.points * shape.centroids) {
                distances[slot] = 0.0f32;
            }
            #[unroll(shape.unrolled)]
            for v in 0..shape.vectors {
                #[unroll]
                for c in 0..shape.centroids {
                    // Past the end the last one is taken again: it cannot be nearer than itself.
                    let center = block[select(start + c < count, start + c, count - 1) * shape.vectors + v];
                    #[unroll]
                    for i in 0..shape.points {
                        let difference = self.rows[i * shape.vectors + v] - center;
                        #[unroll]
                        for lane in 0..shape.vector_size {
                            let part = difference.extract(lane);
                            distances[i * shape.centroids + c] = fma(part, part, distances[i * shape.centroids + c]);
                        }
                    }
                }
            }
            #[unroll]
            for c in 0..shape.centroids {
                #[unroll]
                for i in 0..shape.points {
                    let distance = distances[i * shape.centroids + c];
                    let index = first + select(start + c < count, start + c, count - 1);
                    if distance < self.squared_distances[i] || index == 0 {
                        self.squared_distances[i] = distance;
                        self.labels[i] = index as u32;
                    }
                }
            }
        }
    }
}

/// Centroids of one run in shared memory: all of them, or block after block.
#[derive(CubeType)]
pub(super) struct SharedCentroids<N: Size> {
    pub shared: Shared<[Vector<f32, N>]>,
    pub first: usize,
    pub n_clusters: usize,
}

#[cube]
impl<N: Size> SharedCentroids<N> {
    /// The `n_clusters` centroids from index `first` on.
    pub fn new(first: usize, n_clusters: usize, #[comptime] shape: TileShape) -> Self {
        SharedCentroids::<N> { shared: Shared::new_slice(comptime!(shape.block * shape.vectors)), first, n_clusters }
    }

    /// Loads the centroids if one block holds them. All units must come here.
    pub fn start(&mut self, centroids: &[Vector<f32, N>], #[comptime] shape: TileShape) {
        if self.n_clusters <= shape.block {
            load_block::<N>(&mut self.shared, centroids, self.first, self.n_clusters, shape);
        }
        sync_cube();
    }

    /// Finds the nearest centroids of the points of `search`, where they are `wanted`. All units must come here.
    pub fn search(
        &mut self,
        search: &mut Search<N>,
        centroids: &[Vector<f32, N>],
        wanted: bool,
        #[comptime] shape: TileShape,
    ) {
        if self.n_clusters <= shape.block {
            if wanted {
                search.compare(&self.shared, 0, self.n_clusters, shape);
            }
        } else {
            for done in range_stepped(0, self.n_clusters, shape.block) {
                let left = self.n_clusters - done;
                let count = select(left < shape.block, left, shape.block);
                load_block::<N>(&mut self.shared, centroids, self.first + done, count, shape);
                sync_cube();
                if wanted {
                    search.compare(&self.shared, done, count, shape);
                }
                sync_cube();
            }
        }
    }
}

/// Copies `count` centroids, from index `first` on, into shared memory.
#[cube]
pub(super) fn load_block<N: Size>(
    block: &mut Shared<[Vector<f32, N>]>,
    centroids: &[Vector<f32, N>],
    first: usize,
    count: usize,
    #[comptime] shape: TileShape,
) {
    let mut at = UNIT_POS as usize;
    while at < count * shape.vectors {
        block[at] = centroids[first * shape.vectors + at];
        at += shape.units;
    }
}
