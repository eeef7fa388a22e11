//! Answers the requests of another program, so that it can time this one in turn with others.
//!
//! | request | answer |
//! | --- | --- |
//! | `make FILE N_SAMPLES N_FEATURES` | `seconds`; the file has rows of clusters that overlap, always the same |
//! | `load FILE N_FEATURES` | `n_samples`, `device`, `threads` |
//! | `fit FILE N_CLUSTERS MAX_ITER` | `seconds` of a whole call, from the array in memory; `n_iter`, `inertia` |
//! | `refit FILE N_CLUSTERS MAX_ITER` | the same without the first step: the points are checked already |
//! | `pass FILE N_CLUSTERS` | `seconds` of one pass over points that are on the device; `inertia` |
//!
//! Requests are lines with tabs between the words, answers JSON objects. A file holds float32, row by row, as they lie
//! in memory: the points, then each request's centroids.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use burn::tensor::Tensor;
use clustering::device::ChosenDevice;
use clustering::kmeans::{KMeansFit, KMeansParams, Points, fit_from};
use clustering::matrix::Matrix;
use clustering::ops;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::Failure;
use crate::data::overlapping;

/// Seed of the rows that are made.
const SEED: u64 = 42;

/// Values that are written at a time.
const VALUES_A_BLOCK: usize = 1 << 24;

/// Answers until standard input ends.
pub fn run(device: &ChosenDevice) -> Result<bool, Failure> {
    let mut session = Session { device, file: String::new(), n_features: 0, points: None, x: None };
    for line in std::io::stdin().lines() {
        let line = line?;
        let answer = session.answer(&line.split('\t').collect::<Vec<_>>())?;
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(true)
}

struct Session<'a> {
    device: &'a ChosenDevice,
    /// Where the points are read from, anew for each whole call, which uses them up.
    file: String,
    n_features: usize,
    /// Points that were checked, once a request needed them.
    points: Option<Points>,
    /// Points on the device, `(n_samples, n_features)`, once a request needed them there.
    x: Option<Tensor<2>>,
}

impl Session<'_> {
    fn answer(&mut self, request: &[&str]) -> Result<Value, Failure> {
        match *request {
            ["make", file, n_samples, n_features] => make(file, n_samples.parse()?, n_features.parse()?),
            ["load", file, n_features] => self.load(file, n_features.parse()?),
            ["fit", file, n_clusters, max_iter] => self.fit(&self.centroids(file, n_clusters)?, max_iter.parse()?),
            ["refit", file, n_clusters, max_iter] => {
                let start = self.centroids(file, n_clusters)?;
                self.refit(start, max_iter.parse()?)
            }
            ["pass", file, n_clusters] => {
                let centroids = self.centroids(file, n_clusters)?;
                self.pass(&centroids)
            }
            _ => Err(format!("not a request: {}", request.join(" ")).into()),
        }
    }

    fn load(&mut self, file: &str, n_features: usize) -> Result<Value, Failure> {
        (self.file, self.n_features) = (file.to_owned(), n_features);
        (self.points, self.x) = (None, None);
        let bytes = std::fs::metadata(file)?.len() as usize;
        let n_samples = bytes / size_of::<f32>() / n_features;
        Ok(json!({ "n_samples": n_samples, "device": self.device.name, "threads": rayon::current_num_threads() }))
    }

    fn fit(&self, start: &Matrix, max_iter: usize) -> Result<Value, Failure> {
        let (matrix, start) = (self.matrix()?, start.clone());
        let clock = Instant::now();
        let points = Points::new(matrix, start.n_samples(), &self.device.device)?;
        let (fit, _labels) = fit_from(&points, start, &params(max_iter))?;
        Ok(fitted(clock, &fit))
    }

    fn refit(&mut self, start: Matrix, max_iter: usize) -> Result<Value, Failure> {
        let points = match self.points.take() {
            Some(points) => points,
            None => Points::new(self.matrix()?, start.n_samples(), &self.device.device)?,
        };
        let points = self.points.insert(points);
        let clock = Instant::now();
        let (fit, _labels) = fit_from(points, start, &params(max_iter))?;
        Ok(fitted(clock, &fit))
    }

    fn pass(&mut self, centroids: &Matrix) -> Result<Value, Failure> {
        let x = match self.x.take() {
            Some(x) => x,
            None => self.matrix()?.to_tensor(&self.device.device),
        };
        let x = self.x.insert(x); // (n_samples, n_features)
        let centroids = centroids.to_tensor(&self.device.device); // (n_clusters, n_features)
        let clock = Instant::now();
        let assignment = ops::assign_and_accumulate(x, &centroids);
        let seconds = clock.elapsed().as_secs_f64();
        Ok(json!({ "seconds": seconds, "inertia": assignment.inertia }))
    }

    fn matrix(&self) -> Result<Matrix, Failure> {
        read(&self.file, self.n_features)
    }

    fn centroids(&self, file: &str, n_clusters: &str) -> Result<Matrix, Failure> {
        let centroids = read(file, self.n_features)?;
        if centroids.n_samples() != n_clusters.parse::<usize>()? {
            return Err(format!("{file} holds {} centroids, not {n_clusters}", centroids.n_samples()).into());
        }
        Ok(centroids)
    }
}

/// Every run has the same number of iterations: none ends before its labels no longer change.
fn params(max_iter: usize) -> KMeansParams {
    KMeansParams { n_init: 1, max_iter, tol: 0.0, seed: 0, max_state_bytes: None }
}

fn fitted(clock: Instant, fit: &KMeansFit) -> Value {
    let seconds = clock.elapsed().as_secs_f64();
    json!({ "seconds": seconds, "n_iter": fit.n_iter, "inertia": fit.inertia })
}

/// Rows for programs that have no generator that is as fast.
fn make(file: &str, n_samples: usize, n_features: usize) -> Result<Value, Failure> {
    if n_samples == 0 || n_features == 0 {
        return Err("rows to make are at least one, of at least one feature".into());
    }
    let clock = Instant::now();
    let rows = overlapping(n_samples, n_features, SEED);
    let mut file = File::create(file)?;
    for values in rows.values().chunks(VALUES_A_BLOCK) {
        let mut bytes = vec![0_u8; size_of_val(values)];
        let (parts, _) = bytes.as_chunks_mut::<{ size_of::<f32>() }>();
        parts.par_iter_mut().zip(values).for_each(|(part, value)| *part = value.to_ne_bytes());
        file.write_all(&bytes)?;
    }
    Ok(json!({ "seconds": clock.elapsed().as_secs_f64() }))
}

fn read(path: &str, n_features: usize) -> Result<Matrix, Failure> {
    let bytes = std::fs::read(path)?;
    let (values, rest) = bytes.as_chunks();
    if !rest.is_empty() || !values.len().is_multiple_of(n_features) {
        return Err(format!("{path} does not hold whole rows of {n_features} features").into());
    }
    Ok(Matrix::from_values(n_features, values.iter().map(|value| f32::from_ne_bytes(*value)).collect()))
}
