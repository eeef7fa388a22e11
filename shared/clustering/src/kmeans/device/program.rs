//! Lloyd's algorithm as one program on a GPU, for many runs over the same points.
//!
//! A round is one pass over the points for all runs that have not stopped. Whether a run stops is decided on the device,
//! which freezes it, and the host looks only every few rounds. A run with an empty cluster is frozen too: the host takes
//! that round for it, and lets it go on. What comes out of a run is the same, bit for bit, whatever runs beside it.

use burn::backend::DispatchDevice;
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::{Client, CubeElement};

use super::{DeviceRun, append};
use crate::kmeans::run::Limits;
use crate::kmeans::{KMeansError, Members, Points};
use crate::matrix::Matrix;
use crate::ops::cpu::{CHUNK, Evaluation};
use crate::ops::cube::batch::DeviceBlock;
use crate::ops::cube::evaluate::{ClusterPoints, Clustering, EvaluationBatch};
use crate::ops::cube::labels::Labeller;
use crate::ops::cube::runs::{Outcome, RunBatch, RunStart};
use crate::ops::cube::shape::TileShape;

/// Rounds between two looks at what became of the runs, where points stay on the device. A frozen run costs next to
/// nothing there, and a look a wait. Where every pass sends the points, a round for nothing costs more than a look.
const ROUNDS: usize = 8;

/// The leaf of a point that no run of a shared pass is about.
const NO_LEAF: i32 = -1;

/// The points of one [`Points`], and the device that passes over them.
pub(super) struct Program<'a> {
    points: &'a Points,
    client: Client,
}

impl<'a> Program<'a> {
    /// `None` when the points are not on a GPU, or are more than its 32 bits count.
    pub(super) fn new(points: &'a Points) -> Option<Self> {
        let DispatchDevice::Cube(device) = points.device().as_dispatch() else { return None };
        u32::try_from(points.n_samples()).ok()?;
        Some(Self { points, client: device.client() })
    }

    /// Runs the `runs` to their end. `on_run` is called as they stop.
    pub(super) fn finish(
        &self,
        runs: &mut [DeviceRun<'_>],
        limits: Limits,
        on_run: &(dyn Fn() + Sync),
    ) -> Result<(), KMeansError> {
        for shared_pass in shared_passes(runs, self.points.n_samples()) {
            let passes = Passes::new(self, shared_pass.leaves)?;
            let mut left = shared_pass.runs;
            while !left.is_empty() {
                let mut on = Vec::new();
                for group in groups_of(&left, |run| runs[run].centroids.n_samples(), |k| self.round_kernel(k)) {
                    on.extend(self.advance(&passes, runs, group, limits, on_run)?);
                }
                left = on;
            }
        }
        Ok(())
    }

    /// The kernel of a round with `n_clusters` clusters.
    fn round_kernel(&self, n_clusters: usize) -> Option<Kernel> {
        let (shape, n_rows) = self.shape(n_clusters)?;
        Some(Kernel { shape, n_rows, room: RunBatch::most_clusters(&self.client, shape, n_rows) })
    }

    /// The kernel that evaluates `n_clusters` clusters.
    fn evaluation_kernel(&self, n_clusters: usize) -> Option<Kernel> {
        let (shape, n_rows) = self.shape(n_clusters)?;
        let room = EvaluationBatch::most_clusters(&self.client, n_rows);
        (n_clusters <= shape.entries()).then_some(Kernel { shape, n_rows, room })
    }

    /// What kernels for `n_clusters` clusters are compiled for, and how many cubes go along the points.
    fn shape(&self, n_clusters: usize) -> Option<(TileShape, usize)> {
        let n_samples = self.points.n_samples().min(self.points.most_rows());
        let shape = TileShape::new(&self.client, n_samples, self.points.n_features(), n_clusters)?;
        Some((shape, shape.rows(n_samples, n_clusters)))
    }

    /// Rounds of a batch, until one of its runs stops; returns those that have not.
    fn advance(
        &self,
        passes: &Passes<'_>,
        runs: &mut [DeviceRun<'_>],
        group: KernelGroup,
        limits: Limits,
        on_run: &(dyn Fn() + Sync),
    ) -> Result<Vec<(usize, i32)>, KMeansError> {
        let Some(kernel) = group.kernel else {
            for (run, _) in group.runs {
                runs[run].finish(self.points, limits)?;
                on_run();
            }
            return Ok(Vec::new());
        };
        let start = |&(run, leaf): &(usize, i32)| runs[run].start(leaf);
        let starts: Vec<RunStart<'_>> = group.runs.iter().map(start).collect();
        let batch = RunBatch::new(&self.client, kernel.shape, kernel.n_rows, &starts);
        let states = loop {
            for _ in 0..if passes.held.is_some() { ROUNDS } else { 1 } {
                let mut is_first = true;
                passes.each_block(|block| {
                    batch.pass(block, is_first);
                    is_first = false;
                })?;
                batch.end_round(limits.max_iter);
            }
            let states = batch.read().unwrap_or_else(lost);
            if states.iter().any(|state| state.outcome != Outcome::Running) {
                break states;
            }
        };
        let mut left = Vec::new();
        for ((run, leaf), state) in group.runs.into_iter().zip(states) {
            let running = &mut runs[run];
            running.centroids = Matrix::from_values(self.points.n_features(), state.centroids);
            running.n_iter = state.n_iter;
            let stopped = match state.outcome {
                Outcome::Running => false,
                Outcome::Done => true,
                Outcome::HasEmptyCluster => running.round(self.points, limits)?,
            };
            if stopped {
                on_run();
            } else {
                left.push((run, leaf));
            }
        }
        Ok(left)
    }
}

impl Program<'_> {
    /// What the clusters of each of `runs` are like; `None` for one that the device has no kernel for.
    pub(super) fn evaluate(&self, runs: &[DeviceRun<'_>]) -> Result<Vec<Option<Evaluation>>, KMeansError> {
        let mut evaluations: Vec<Option<Evaluation>> = vec![None; runs.len()];
        for shared_pass in shared_passes(runs, self.points.n_samples()) {
            let passes = Passes::new(self, shared_pass.leaves)?;
            for group in
                groups_of(&shared_pass.runs, |run| runs[run].centroids.n_samples(), |k| self.evaluation_kernel(k))
            {
                let Some(kernel) = group.kernel else { continue };
                let clustering =
                    |&(run, leaf): &(usize, i32)| Clustering { centroids: runs[run].centroids.values(), leaf };
                let batch: Vec<Clustering<'_>> = group.runs.iter().map(clustering).collect();
                let batch = EvaluationBatch::new(&self.client, kernel.shape, kernel.n_rows, &batch);
                let mut is_first = true;
                passes.each_block(|block| {
                    batch.pass(block, is_first);
                    is_first = false;
                })?;
                for ((run, _), clusters) in group.runs.into_iter().zip(batch.read().unwrap_or_else(lost)) {
                    evaluations[run] = Some(evaluation(&clusters));
                }
            }
        }
        Ok(evaluations)
    }
}

impl Program<'_> {
    /// The label of each member, or of each point without members, chunk by chunk; `None` where the device has no kernel for
    /// as many clusters.
    pub(super) fn labels(
        &self,
        centroids: &Matrix,
        members: Option<&Members>,
    ) -> Result<Option<Vec<Vec<u16>>>, KMeansError> {
        let Some((shape, _)) = self.shape(centroids.n_samples()) else { return Ok(None) };
        let labeller = Labeller::new(&self.client, shape, centroids.values());
        let mut chunks = vec![Vec::new(); self.points.n_chunks()];
        if members.is_none() {
            let on_block = |block: &DeviceBlock| {
                labeller.label(block, |labels| append(&mut chunks, block.first, labels)).unwrap_or_else(lost);
            };
            Passes::new(self, None)?.each_block(on_block)?;
            return Ok(Some(chunks));
        }
        let sent = Passes { program: self, leaves: None, held: None };
        self.points.each_tensor(members, |indices, x| {
            let on_labels = |labels: &[u16]| {
                indices.zip(labels).for_each(|(index, label)| chunks[index / CHUNK].push(*label));
            };
            labeller.label(&sent.block(x, 0), on_labels).unwrap_or_else(lost);
            Ok(())
        })?;
        Ok(Some(chunks))
    }
}

fn evaluation(clusters: &[ClusterPoints]) -> Evaluation {
    let mut evaluation = Evaluation::empty(clusters.len());
    for (index, cluster) in clusters.iter().enumerate().filter(|(_, cluster)| cluster.count > 0) {
        evaluation.counts[index] = u64::from(cluster.count);
        evaluation.inertia[index] = cluster.inertia;
        evaluation.farthest[index] = cluster.farthest;
    }
    evaluation
}

/// Gives up, as burn's operations do when their device is lost: [`crate::device::guarded`] makes an error of it.
fn lost<T>(error: impl std::fmt::Debug) -> T {
    panic!("{error:?}")
}

/// What serves runs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kernel {
    shape: TileShape,
    /// Cubes along the points.
    n_rows: usize,
    /// Clusters of all runs together that there is room for.
    room: usize,
}

/// Runs that one kernel serves together.
struct KernelGroup {
    /// `None` when the device has none for so many clusters.
    kernel: Option<Kernel>,
    /// Indices of the runs, and the leaf of each.
    runs: Vec<(usize, i32)>,
    n_clusters: usize,
}

/// Groups of runs that the same kernel serves, so that what a run gets depends on itself alone.
fn groups_of(
    runs: &[(usize, i32)],
    n_clusters: impl Fn(usize) -> usize,
    kernel: impl Fn(usize) -> Option<Kernel>,
) -> Vec<KernelGroup> {
    let mut groups = Vec::<KernelGroup>::new();
    for &(run, leaf) in runs {
        let k = n_clusters(run);
        let kernel = kernel(k);
        let room = kernel.map_or(usize::MAX, |kernel| kernel.room);
        let fits = |group: &&mut KernelGroup| group.kernel == kernel && group.n_clusters + k <= room;
        if let Some(group) = groups.iter_mut().find(fits) {
            group.runs.push((run, leaf));
            group.n_clusters += k;
        } else {
            groups.push(KernelGroup { kernel, runs: vec![(run, leaf)], n_clusters: k });
        }
    }
    groups
}

/// Runs that can share their passes: no point is a member of two different parts.
struct SharedPass {
    /// The leaf of each point, where runs are about parts of the points.
    leaves: Option<Vec<i32>>,
    /// Indices of the runs, and the leaf of each.
    runs: Vec<(usize, i32)>,
}

/// Sorts runs into passes: those over all points, and those over parts of them, which do not overlap in a tree.
fn shared_passes(runs: &[DeviceRun<'_>], n_samples: usize) -> Vec<SharedPass> {
    let whole: Vec<(usize, i32)> =
        (0..runs.len()).filter(|&run| runs[run].members.is_none()).map(|run| (run, 0)).collect();
    let mut shared_passes = Vec::new();
    if !whole.is_empty() {
        shared_passes.push(SharedPass { leaves: None, runs: whole });
    }
    let mut left: Vec<(usize, &Members)> =
        runs.iter().enumerate().filter_map(|(run, part)| Some((run, part.members?))).collect();
    while !left.is_empty() {
        let mut leaves = vec![NO_LEAF; n_samples];
        let mut parts = Vec::<&Members>::new();
        let mut shared_pass = Vec::new();
        left.retain(|&(run, members)| {
            let known = parts.iter().position(|part| std::ptr::eq(*part, members));
            let leaf = known.unwrap_or(parts.len());
            if known.is_none() {
                if members.indices().any(|index| leaves[index] != NO_LEAF) {
                    return true;
                }
                members.indices().for_each(|index| leaves[index] = leaf as i32);
                parts.push(members);
            }
            shared_pass.push((run, leaf as i32));
            false
        });
        shared_passes.push(SharedPass { leaves: Some(leaves), runs: shared_pass });
    }
    shared_passes
}

/// The points of a shared pass, block by block.
struct Passes<'a> {
    program: &'a Program<'a>,
    leaves: Option<Vec<i32>>,
    /// Where they stay on the device.
    held: Option<Vec<DeviceBlock>>,
}

impl<'a> Passes<'a> {
    fn new(program: &'a Program<'a>, leaves: Option<Vec<i32>>) -> Result<Self, KMeansError> {
        let passes = Self { program, leaves, held: None };
        let mut first = 0;
        let block = |x: &Tensor<2>| {
            first += x.dims()[0];
            passes.block(x, first - x.dims()[0])
        };
        let held = program.points.held()?.map(|blocks| blocks.iter().map(block).collect());
        Ok(Self { held, ..passes })
    }

    fn each_block(&self, mut visit: impl FnMut(&DeviceBlock)) -> Result<(), KMeansError> {
        if let Some(held) = &self.held {
            held.iter().for_each(visit);
            return Ok(());
        }
        let mut first = 0;
        self.program.points.each_tensor(None, |_, x| {
            visit(&self.block(x, first));
            first += x.dims()[0];
            Ok(())
        })
    }

    /// The rows `x`, which follow `first` others, as the kernels take them.
    fn block(&self, x: &Tensor<2>, first: usize) -> DeviceBlock {
        let n_samples = x.dims()[0];
        let to_device = |leaves: &Vec<i32>| {
            self.program.client.create_from_slice(i32::as_bytes(&leaves[first..first + n_samples])) // (rows)
        };
        let x = into_contiguous(x.clone().try_into_primitive::<CubeBackend>().unwrap_or_else(lost));
        let leaves = self.leaves.as_ref().map(to_device);
        DeviceBlock { first, piece: self.program.points.most_rows(), x: x.handle, leaves, n_samples }
    }
}
