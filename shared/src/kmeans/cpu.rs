//! Passes of the CPU's kernels over the points.
//!
//! A pass goes over chunks of rows and, within a chunk, which stays in the cache, over the runs. Where there are too
//! few chunks to keep the threads busy, runs go side by side instead, each with passes of its own. Either way a run adds
//! up the same numbers in the same order.

use rayon::prelude::*;

use super::lloyd::{Farthest, Limits, Run, Start, Totals, squared_shift};
use super::{KMeansError, Members, Points};
use crate::matrix::Matrix;
use crate::ops::cpu::{self, CHUNK, Evaluation, LloydChunk, Moved, Packed, Rows, drift_table, squared_distance};

/// Bytes to remember of a point between rounds.
pub(super) const STATE_BYTES: usize = 6;

/// Chunks whose changes are held at a time before they are merged.
const WAVE: usize = 1024;

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
        let alone = |start| Batch::new(points, vec![start], limits, false).finish(on_run);
        let runs: Result<Vec<Vec<Run>>, KMeansError> = starts.into_par_iter().map(alone).collect();
        return Ok(runs?.into_iter().flatten().collect());
    }
    let mut runs = Vec::with_capacity(n_starts);
    let mut waiting = starts.into_iter().peekable();
    while waiting.peek().is_some() {
        let batch = within_budget(points, &mut waiting, limits);
        runs.extend(Batch::new(points, batch, limits, true).finish(on_run)?);
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

/// As [`super::lloyd::evaluate`].
pub(super) fn evaluate(
    points: &Points,
    centroids: &[(&Matrix, Option<&Members>)],
) -> Result<Vec<Evaluation>, KMeansError> {
    let one = |&(centroids, members): &(&Matrix, Option<&Members>)| Ok(evaluate_one(points, centroids, members)?.0);
    if shares_runs(points) { centroids.par_iter().map(one).collect() } else { centroids.iter().map(one).collect() }
}

/// What the clusters are like, and the label of each member, chunk by chunk.
pub(super) fn evaluate_one(
    points: &Points,
    centroids: &Matrix,
    members: Option<&Members>,
) -> Result<(Evaluation, Vec<Vec<u16>>), KMeansError> {
    let packed = Packed::new(rows_of(centroids));
    let mut total = Evaluation::empty(centroids.n_samples());
    let mut labels = Vec::with_capacity(points.n_chunks());
    points.rows().for_each_block(|first_row, values| {
        let block = Rows { values, n_features: points.n_features() };
        let first_chunk = first_row / CHUNK;
        let chunk = |index: usize| {
            let members = members.map(|members| members.chunk(first_chunk + index));
            cpu::evaluate(block.chunk(index), members, &packed)
        };
        let parts: Vec<_> = (0..block.n_chunks()).into_par_iter().map(chunk).collect();
        for (index, (part, part_labels)) in parts.into_iter().enumerate() {
            total.merge(&part, first_row + index * CHUNK);
            labels.push(part_labels);
        }
        Ok::<(), KMeansError>(())
    })?;
    Ok((total, labels))
}

fn shares_runs(points: &Points) -> bool {
    points.n_chunks() < CHUNKS_A_THREAD * rayon::current_num_threads() && !points.rows().is_spilled()
}

fn rows_of(matrix: &Matrix) -> Rows<'_> {
    Rows { values: matrix.values(), n_features: matrix.n_features() }
}

/// A run in progress.
struct Running<'a> {
    centroids: Matrix,
    packed: Packed,
    /// How the centroids moved in the last round.
    drift: Vec<f32>,
    /// Of the points by their present labels.
    totals: Totals,
    members: Option<&'a Members>,
    tolerance: f64,
    n_iter: usize,
    done: bool,
}

impl<'a> Running<'a> {
    fn new(start: Start<'a>, limits: Limits) -> Self {
        Self {
            packed: Packed::new(rows_of(&start.centroids)),
            drift: Vec::new(),
            totals: Totals::zeros(&start.centroids),
            centroids: start.centroids,
            members: start.members,
            tolerance: start.tolerance,
            n_iter: 0,
            done: limits.max_iter == 0,
        }
    }

    fn members(&self, chunk: usize) -> Option<&'a [u16]> {
        self.members.map(|members| members.chunk(chunk))
    }

    /// One round over a chunk, in the first of which there is no state yet.
    fn pass(&self, x: Rows<'_>, chunk: usize, state: &mut Option<LloydChunk>, spent: &mut Vec<u16>) -> Option<Moved> {
        let members = self.members(chunk);
        match state {
            Some(state) => state.step(x, members, &self.packed, &self.drift, spent),
            None => {
                let (first, moved) = LloydChunk::start(x, members, &self.packed);
                *state = Some(first);
                Some(moved)
            }
        }
    }

    /// Moves the centroids after a pass; `totals` are those to take the means of.
    fn advance(&mut self, totals: &Totals, max_iter: usize) {
        let next = totals.means(&self.centroids);
        self.n_iter += 1;
        self.done = squared_shift(&self.centroids, &next) <= self.tolerance || self.n_iter == max_iter;
        self.drift = drift_table(rows_of(&self.centroids), rows_of(&next));
        self.packed = Packed::new(rows_of(&next));
        self.centroids = next;
    }
}

/// Runs that share their passes.
struct Batch<'a> {
    points: &'a Points,
    runs: Vec<Running<'a>>,
    /// What is remembered of each chunk's points, for each run.
    states: Vec<Vec<Option<LloydChunk>>>,
    max_iter: usize,
    /// Whether threads share a pass.
    parallel: bool,
}

impl<'a> Batch<'a> {
    fn new(points: &'a Points, starts: Vec<Start<'a>>, limits: Limits, parallel: bool) -> Self {
        let runs: Vec<Running<'a>> = starts.into_iter().map(|start| Running::new(start, limits)).collect();
        let states = (0..points.n_chunks()).map(|_| runs.iter().map(|_| None).collect()).collect();
        Self { points, runs, states, max_iter: limits.max_iter, parallel }
    }

    /// Runs all to their end.
    fn finish(mut self, on_run: &(dyn Fn() + Sync)) -> Result<Vec<Run>, KMeansError> {
        loop {
            let active: Vec<usize> = (0..self.runs.len()).filter(|&run| !self.runs[run].done).collect();
            if active.is_empty() {
                let run = |run: Running<'_>| Run { centroids: run.centroids, n_iter: run.n_iter };
                return Ok(self.runs.into_iter().map(run).collect());
            }
            self.pass(&active)?;
            for run in active {
                let totals = self.filled(run)?;
                self.runs[run].advance(&totals, self.max_iter);
                if self.runs[run].done {
                    // A run that has stopped needs no memory.
                    self.states.iter_mut().for_each(|states| states[run] = None);
                    on_run();
                }
            }
        }
    }

    /// One pass over the points for all active runs.
    fn pass(&mut self, active: &[usize]) -> Result<(), KMeansError> {
        let n_features = self.points.n_features();
        let (runs, states, parallel) = (&mut self.runs, &mut self.states, self.parallel);
        self.points.rows().for_each_block(|first_row, values| {
            let block = Rows { values, n_features };
            for wave in (0..block.n_chunks()).step_by(WAVE) {
                let first_chunk = first_row / CHUNK + wave;
                let n_chunks = WAVE.min(block.n_chunks() - wave);
                let of_chunk = |spent: &mut Vec<u16>, (index, states): (usize, &mut Vec<Option<LloydChunk>>)| {
                    let x = block.chunk(wave + index);
                    let pass = |&run: &usize| runs[run].pass(x, first_chunk + index, &mut states[run], spent);
                    active.iter().map(pass).collect::<Vec<Option<Moved>>>()
                };
                let states = &mut states[first_chunk..first_chunk + n_chunks];
                let moved: Vec<Vec<Option<Moved>>> = if parallel {
                    states.par_iter_mut().enumerate().map_init(Vec::new, of_chunk).collect()
                } else {
                    let mut spent = Vec::new();
                    states.iter_mut().enumerate().map(|chunk| of_chunk(&mut spent, chunk)).collect()
                };
                merge(runs, active, moved);
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
        let centroids = rows_of(&running.centroids);
        self.points.rows().for_each_block(|first_row, values| {
            let block = Rows { values, n_features: self.points.n_features() };
            for index in 0..block.n_chunks() {
                let chunk = first_row / CHUNK + index;
                let (x, members) = (block.chunk(index), running.members(chunk));
                let labels = self.states[chunk][run].as_ref().map_or(&[][..], LloydChunk::labels);
                for (position, &label) in labels.iter().enumerate() {
                    let row = x.row(members.map_or(position, |members| usize::from(members[position])));
                    let distance = squared_distance(row, centroids.row(usize::from(label)));
                    farthest.offer(usize::from(label), distance, row);
                }
            }
            Ok::<(), KMeansError>(())
        })?;
        totals.fill_empty(&farthest);
        Ok(totals)
    }
}

/// Adds what changed in each chunk to the runs, in the order of the chunks.
fn merge(runs: &mut [Running<'_>], active: &[usize], chunks: Vec<Vec<Option<Moved>>>) {
    for moved in chunks {
        for (&run, moved) in active.iter().zip(moved) {
            if let Some(moved) = moved {
                let totals = &mut runs[run].totals;
                moved.apply(&mut totals.sums, &mut totals.counts);
            }
        }
    }
}
