//! How long each step took.

use std::time::Instant;

/// Steps in the order they ran, with their seconds.
#[derive(Debug, Clone, Default)]
pub struct Timings {
    steps: Vec<(String, f64)>,
}

impl Timings {
    /// Runs a step and notes its seconds.
    pub fn measure<T>(&mut self, step: impl Into<String>, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(step, start.elapsed().as_secs_f64());
        result
    }

    /// Notes a step that took so many seconds.
    pub fn add(&mut self, step: impl Into<String>, seconds: f64) {
        self.steps.push((step.into(), seconds));
    }

    /// Name and seconds of each step.
    pub fn steps(&self) -> &[(String, f64)] {
        &self.steps
    }

    /// Seconds of all steps.
    pub fn total(&self) -> f64 {
        self.steps.iter().map(|(_, seconds)| seconds).sum()
    }
}
