//! What the benchmarks share: simulated records, a scorer's own account of its run, medians.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Kafka, Run, Running, logged, scorer, start_scorer, text};

/// About a million simulated lines in a file of `folder`.
pub fn simulated_lines(folder: &Path) -> PathBuf {
    let file = folder.join("lines.csv");
    let amount = ["--days", "3200", "--invoices-per-day", "45"];
    let run = scorer(&[&["simulate", "invoices"][..], &amount, &["--output", text(&file)]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    file
}

/// So many simulated payments of so many users in a file of `folder`.
pub fn simulated_payments(folder: &Path, count: u32, users: u32) -> PathBuf {
    let file = folder.join("payments.jsonl");
    let (count, users) = (count.to_string(), users.to_string());
    let amount = ["--count", &count, "--users", &users, "--output", text(&file)];
    let run = scorer(&[&["simulate", "transactions"][..], &amount].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    file
}

/// Sends a file to a pipeline's new topic with so many partitions.
pub fn preload(kafka: &Kafka, pipeline: &str, file: &Path, partitions: u32) {
    let partitions = partitions.to_string();
    let options = ["--brokers", &kafka.brokers, "--pipeline", pipeline, "--partitions", &partitions];
    let run = scorer(&[&["replay", text(file)][..], &options].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    println!("{}", run.stderr.trim());
}

/// What a scorer that read a topic to its end says of that.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Records read.
    pub records: f64,
    /// From the first of them to the last commit.
    pub seconds: f64,
}

/// Lets scorers, with these options each beside the usual ones, read the topic to its end at the same time.
pub fn read_to_the_end(kafka: &Kafka, group: &str, options: &[Vec<&str>]) -> Vec<Ended> {
    let usual = ["run", "--brokers", &kafka.brokers, "--group", group, "--device", "cpu", "--clock", "event"];
    let start =
        |options: &Vec<&str>| start_scorer(&[&usual[..], &["--until-end", "--json-logs"], &options[..]].concat());
    let running: Vec<_> = options.iter().map(start).collect();
    running.into_iter().map(|running| ended(&running.wait())).collect()
}

fn ended(run: &Run) -> Ended {
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let logged = logged(&run.stderr, "ended");
    let number = |name: &str| logged.first().and_then(|fields: &Value| fields[name].as_f64()).unwrap();
    Ended { records: number("records"), seconds: number("seconds") }
}

/// What `/proc` says of a process's memory: `VmRSS` is what it has, `VmHWM` the most that it has had; in KiB.
pub fn memory(running: &Running, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    value.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// The middle of an odd number of values.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The smallest value that is not below a share of all.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_are_there() {
        let values = [3.0, 1.0, 2.0];
        assert_eq!((median(&values), quantile(&values, 0.99), quantile(&values, 0.0)), (2.0, 3.0, 1.0));
    }
}
