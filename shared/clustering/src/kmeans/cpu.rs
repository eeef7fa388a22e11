//! Passes of the CPU's kernels over the points.
//!
//! A pass goes over chunks of rows and, within a chunk, which stays in the cache, over the runs. Where there are too
//! few chunks to keep the threads busy, runs go side by side instead, each with passes of its own. Either way a run adds
//! up the same numbers in the same order.

use rayon::prelude::*;

use super::run::{Limits, Run, Start};
use super::totals::{Farthest, Totals, squared_shift};
use super::{KMeansError, Members, Points};
use crate::matrix::Matrix;
use crate::ops::cpu::{
    self, CHUNK, Evaluation, LloydChunk, Packed, Rows, Scratch, Screen, SumDelta, evaluate_labels, shift_table,
    squared_distance, sum_labels,
};

/// Bytes to remember of a point between rounds.
pub(super) const STATE_BYTES: usize = 6;

/// Chunks whose changes are held at a time before they are merged.
const CHUNKS_A_MERGE: usize = 1024;

/// Chunks a thread from which on threads share a pass; below, they share the runs.
const CHUNKS_A_THREAD: usize = 4;

/// As [`super::lloyd::lloyd`].
pub(super) fn lloyd(
    points: &Points,
    starts: Vec<Start<'_>>,
    limits: Limits,
    on_run: &(dyn Fn() + Sync),
) -> Result<Vec<Run>, KMeansError> {
    let n_starts = starts.len();
    if shares_runs(points) {
        let alone = |start| SharedPasses::new(points, vec![start], limits, false).finish(on_run);
        let runs: Result<Vec<Vec<Run>>, KMeansError> = starts.into_par_iter().map(alone).collect();
        return Ok(runs?.into_iter().flatten().collect());
    }
    let mut runs = Vec::with_capacity(n_starts);
    let mut waiting = starts.into_iter().peekable();
    while waiting.peek().is_some() {
        let batch = within_budget(points, &mut waiting, limits);
        runs.extend(SharedPasses::new(points, batch, limits, true).finish(on_run)?);
    }
    Ok(runs)
}

/// As many of the next starts as may be remembered at a time, and one in any case.
fn within_budget<'a>(
    points: &Points,
    waiting: &mut std::iter::Peekable<impl Iterator<Item = Start<'a>>>,
    limits: Limits,
) -> Vec<Start<'a>> {
    let budget = limits.max_state_bytes.unwrap_or(usize::MAX);
    let mut taken = Vec::new();
    let mut bytes = 0;
    while let Some(start) = waiting.peek() {
        bytes += state_bytes(points, start);
        if !taken.is_empty() && bytes > budget {
            break;
        }
        taken.extend(waiting.next());
    }
    taken
}

fn state_bytes(points: &Points, start: &Start<'_>) -> usize {
    STATE_BYTES * start.members.map_or(points.n_samples(), Members::len)
}

/// As [`super::lloyd::labels`].
pub(super) fn labels(points: &Points, centroids: &Matrix, members: &Members) -> Result<Vec<Vec<u16>>, KMeansError> {
    let packed = Packed::new(centroids.into());
    let mut labels = Vec::with_capacity(points.n_chunks());
    points.rows().for_each_block(|first_row, values| {
        let block = Rows { values, n_features: points.n_features() };
        let first_chunk = first_row / CHUNK;
        let of_chunk = |index| cpu::labels(block.chunk(index), members.chunk(first_chunk + index), &packed);
        labels.par_extend((0..block.n_chunks()).into_par_iter().map(of_chunk));
        Ok::<(), KMeansError>(())
    })?;
    Ok(labels)
}

fn shares_runs(points: &Points) -> bool {
    points.n_chunks() < CHUNKS_A_THREAD * rayon::current_num_threads() && !points.rows().is_spilled()
}

/// A run in progress.
struct ActiveRun<'a> {
    centroids: Matrix,
    screen: Screen,
    /// How the centroids moved in the last round.
    max_shifts: Vec<f32>,
    /// Of the points by their present labels.
    totals: Totals,
    /// The same, taken anew by the last pass.
    fresh: Totals,
    members: Option<&'a Members>,
    tolerance: f64,
    n_iter: usize,
    phase: Phase,
    /// What the clusters are like in the end.
    clusters: Evaluation,
    keep_labels: bool,
    /// The labels in the end, chunk by chunk, when they are wanted.
    labels: Vec<Vec<u16>>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The centroids move.
    Moving,
    /// They have stopped; one more pass looks at what they have become.
    Stopped,
    /// That is over, too.
    Done,
}

/// What a pass finds in a chunk.
enum Found {
    /// How the sums change, if they do.
    Sums(Option<SumDelta>),
    /// What the clusters are like, how their sums change, and the sums anew.
    Clusters(Evaluation, Option<SumDelta>, SumDelta),
}

impl<'a> ActiveRun<'a> {
    fn new(start: Start<'a>, limits: Limits) -> Self {
        Self {
            screen: Screen::for_gaps((&start.centroids).into()),
            max_shifts: Vec::new(),
            totals: Totals::zeros(&start.centroids),
            fresh: Totals::zeros(&start.centroids),
            clusters: Evaluation::empty(start.centroids.n_samples()),
            keep_labels: start.keep_labels,
            labels: Vec::new(),
            centroids: start.centroids,
            members: start.members,
            tolerance: start.tolerance,
            n_iter: 0,
            phase: if limits.max_iter == 0 { Phase::Stopped } else { Phase::Moving },
        }
    }

    fn members(&self, chunk: usize) -> Option<&'a [u16]> {
        self.members.map(|members| members.chunk(chunk))
    }

    /// One round over a chunk, in the first of which there is no state yet.
    fn pass(&self, x: Rows<'_>, chunk: usize, state: &mut Option<LloydChunk>, scratch: &mut Scratch) -> Found {
        let members = self.members(chunk);
        let (state, delta) = match state {
            Some(state) => {
                let delta = state.step(x, members, &self.screen, &self.max_shifts, scratch);
                (&*state, delta)
            }
            None => {
                let (first, delta) = LloydChunk::start(x, members, &self.screen);
                (&*state.insert(first), Some(delta))
            }
        };
        match self.phase {
            Phase::Moving => Found::Sums(delta),
            _ => Found::Clusters(
                evaluate_labels(x, members, (&self.centroids).into(), state.labels()),
                delta,
                sum_labels(x, members, self.centroids.n_samples(), state.labels()),
            ),
        }
    }

    /// Adds what was found in a chunk.
    fn add(&mut self, chunk: usize, found: &Found) {
        if let Found::Sums(Some(delta)) | Found::Clusters(_, Some(delta), _) = found {
            delta.apply(&mut self.totals.sums, &mut self.totals.counts);
        }
        if let Found::Clusters(clusters, _, fresh) = found {
            self.clusters.merge(clusters, chunk * CHUNK);
            fresh.apply(&mut self.fresh.sums, &mut self.fresh.counts);
        }
    }

    /// Moves the centroids after a pass; `totals` are those to take the means of.
    fn advance(&mut self, totals: &Totals, max_iter: usize) {
        let next = totals.means(&self.centroids);
        self.n_iter += 1;
        let has_stopped = squared_shift(&self.centroids, &next) <= self.tolerance || self.n_iter >= max_iter;
        self.phase = if has_stopped { Phase::Stopped } else { Phase::Moving };
        self.max_shifts = shift_table((&self.centroids).into(), (&next).into());
        self.screen = Screen::for_gaps((&next).into());
        self.centroids = next;
    }

    /// Whether the run ends after its last pass. Otherwise it goes on from the sums that this pass took anew.
    fn ends(&mut self, max_iter: usize) -> bool {
        if self.n_iter > max_iter || !self.totals.have_decayed(&self.fresh, &self.clusters.inertia) {
            return true;
        }
        self.totals = std::mem::replace(&mut self.fresh, Totals::zeros(&self.centroids));
        self.clusters = Evaluation::empty(self.centroids.n_samples());
        self.advance(&self.totals.clone(), max_iter);
        false
    }
}

/// Runs that share their passes.
struct SharedPasses<'a> {
    points: &'a Points,
    runs: Vec<ActiveRun<'a>>,
    /// What is remembered of each chunk's points, for each run.
    states: Vec<Vec<Option<LloydChunk>>>,
    max_iter: usize,
    /// Whether threads share a pass.
    parallel: bool,
}

impl<'a> SharedPasses<'a> {
    fn new(points: &'a Points, starts: Vec<Start<'a>>, limits: Limits, parallel: bool) -> Self {
        let runs: Vec<ActiveRun<'a>> = starts.into_iter().map(|start| ActiveRun::new(start, limits)).collect();
        let states = (0..points.n_chunks()).map(|_| runs.iter().map(|_| None).collect()).collect();
        Self { points, runs, states, max_iter: limits.max_iter, parallel }
    }

    /// Runs all to their end.
    fn finish(mut self, on_run: &(dyn Fn() + Sync)) -> Result<Vec<Run>, KMeansError> {
        loop {
            let active: Vec<usize> = (0..self.runs.len()).filter(|&run| self.runs[run].phase != Phase::Done).collect();
            if active.is_empty() {
                let run =
                    |ActiveRun { centroids, n_iter, clusters, labels, .. }| Run { centroids, n_iter, clusters, labels };
                return Ok(self.runs.into_iter().map(run).collect());
            }
            self.pass(&active)?;
            for run in active {
                if self.runs[run].phase == Phase::Moving {
                    let totals = self.filled(run)?;
                    self.runs[run].advance(&totals, self.max_iter);
                } else if self.runs[run].ends(self.max_iter) {
                    self.runs[run].phase = Phase::Done;
                    self.forget(run);
                    on_run();
                }
            }
        }
    }

    /// Drops what was remembered for a run that is over, but for the labels when they are wanted.
    fn forget(&mut self, run: usize) {
        let running = &mut self.runs[run];
        for state in self.states.iter_mut().filter_map(|states| states[run].take()) {
            if running.keep_labels {
                running.labels.push(state.into_labels());
            }
        }
    }

    /// One pass over the points for all active runs.
    fn pass(&mut self, active: &[usize]) -> Result<(), KMeansError> {
        let n_features = self.points.n_features();
        let (runs, states, parallel) = (&mut self.runs, &mut self.states, self.parallel);
        self.points.rows().for_each_block(|first_row, values| {
            let block = Rows { values, n_features };
            for first in (0..block.n_chunks()).step_by(CHUNKS_A_MERGE) {
                let first_chunk = first_row / CHUNK + first;
                let n_chunks = CHUNKS_A_MERGE.min(block.n_chunks() - first);
                let of_chunk = |scratch: &mut Scratch, (index, states): (usize, &mut Vec<Option<LloydChunk>>)| {
                    let x = block.chunk(first + index);
                    let pass = |&run: &usize| runs[run].pass(x, first_chunk + index, &mut states[run], scratch);
                    active.iter().map(pass).collect::<Vec<Found>>()
                };
                let states = &mut states[first_chunk..first_chunk + n_chunks];
                let found: Vec<Vec<Found>> = if parallel {
                    states.par_iter_mut().enumerate().map_init(Scratch::default, of_chunk).collect()
                } else {
                    let mut scratch = Scratch::default();
                    states.iter_mut().enumerate().map(|chunk| of_chunk(&mut scratch, chunk)).collect()
                };
                // In the order of the chunks, so that sums are the same whoever was first.
                for (index, found) in found.iter().enumerate() {
                    active.iter().zip(found).for_each(|(&run, found)| runs[run].add(first_chunk + index, found));
                }
            }
            Ok(())
        })
    }

    /// The totals of a run, in which each empty cluster was given a point.
    fn filled(&self, run: usize) -> Result<Totals, KMeansError> {
        let running = &self.runs[run];
        let mut totals = running.totals.clone();
        if totals.n_empty() == 0 {
            return Ok(totals);
        }
        let mut farthest = Farthest::for_empty(&totals);
        let centroids: Rows<'_> = (&running.centroids).into();
        self.points.rows().for_each_block(|first_row, values| {
            let block = Rows { values, n_features: self.points.n_features() };
            let of_chunk = |index: usize| {
                let mut farthest = Farthest::for_empty(&totals);
                let chunk = first_row / CHUNK + index;
                let (x, members) = (block.chunk(index), running.members(chunk));
                let labels = self.states[chunk][run].as_ref().map_or(&[][..], LloydChunk::labels);
                for (position, &label) in labels.iter().enumerate() {
                    let row = x.row(members.map_or(position, |members| usize::from(members[position])));
                    let distance = squared_distance(row, centroids.row(usize::from(label)));
                    farthest.offer(usize::from(label), distance, row);
                }
                farthest
            };
            // In the order of the chunks: of points that are equally far, the first in order counts.
            let of_block = (0..block.n_chunks()).into_par_iter().map(of_chunk).reduce_with(Farthest::followed_by);
            farthest = match of_block {
                Some(of_block) => std::mem::replace(&mut farthest, Farthest::for_empty(&totals)).followed_by(of_block),
                None => return Ok(()),
            };
            Ok::<(), KMeansError>(())
        })?;
        totals.fill_empty(&farthest);
        Ok(totals)
    }
}
