//! The command line.

use clustering::device::DeviceRequest;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Compare with a reference in float64.
    Accuracy,
    /// Tell the largest memory that a fit takes.
    Memory,
    /// Answer requests.
    Serve,
    /// Tell the devices of the machine.
    Devices,
}

/// What was typed.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What to do.
    pub command: Command,
    /// Rows that are generated.
    pub n_samples: usize,
    /// Values a row.
    pub n_features: usize,
    /// Clusters.
    pub n_clusters: usize,
    /// Iterations of the fit.
    pub max_iter: usize,
    /// Seed of the rows.
    pub seed: u64,
    /// What computes.
    pub device: DeviceRequest,
}

impl Options {
    /// Reads the arguments that come after the program's name; `None` when they make no sense.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self::of(arguments.next()?.as_str())?;
        while let Some(name) = arguments.next() {
            let value = arguments.next()?;
            match name.as_str() {
                "--rows" => options.n_samples = above_zero(&value)?,
                "--features" => options.n_features = above_zero(&value)?,
                "--clusters" => options.n_clusters = above_zero(&value)?,
                "--iterations" => options.max_iter = above_zero(&value)?,
                "--seed" => options.seed = value.parse().ok()?,
                "--device" => options.device = value.parse().ok()?,
                _ => return None,
            }
        }
        (options.n_clusters <= options.n_samples).then_some(options)
    }

    fn of(command: &str) -> Option<Self> {
        let (command, n_samples, n_features, n_clusters) = match command {
            "accuracy" => (Command::Accuracy, 50_000_000, 4, 8),
            "memory" => (Command::Memory, 10_000_000, 8, 20),
            "serve" => (Command::Serve, 1, 1, 1),
            "devices" => (Command::Devices, 1, 1, 1),
            _ => return None,
        };
        let device = DeviceRequest::Cpu;
        Some(Self { command, n_samples, n_features, n_clusters, max_iter: 5, seed: 42, device })
    }
}

fn above_zero(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&number| number > 0)
}
