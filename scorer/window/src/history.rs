//! The stream's numbers of the last minutes, second by second, and of the last day, minute by minute.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::snapshot::Snapshot;

/// Seconds that are kept one by one.
const SECONDS: usize = 15 * 60;

/// Minutes that are kept after that.
const MINUTES: usize = 24 * 60;

/// The stream during a second or a minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Its end, in milliseconds since 1970.
    pub at: i64,
    /// Records read a second.
    pub rate: f64,
    /// The lag at its end.
    pub lag: Option<u64>,
    pub lag_seconds: Option<f64>,
    /// Erroneous messages in it.
    pub erroneous: u64,
    /// Anomalies in it, by detector.
    pub anomalies: BTreeMap<String, u64>,
}

/// Samples in the order of time, and the counters at the last one.
#[derive(Debug, Default)]
pub(crate) struct History {
    seconds: VecDeque<Sample>,
    minutes: VecDeque<Sample>,
    last_second: Option<Counted>,
    last_minute: Option<Counted>,
}

/// The counters at a moment.
#[derive(Debug, Clone)]
struct Counted {
    at: i64,
    records: u64,
    erroneous: u64,
    anomalies: Vec<(String, u64)>,
}

impl History {
    /// Adds the stream as it is now, and gives what it was like since the last time.
    pub(crate) fn add(&mut self, at: i64, snapshot: &Snapshot) -> Sample {
        let now = Counted {
            at,
            records: snapshot.records,
            erroneous: snapshot.erroneous,
            anomalies: snapshot.anomalies.clone(),
        };
        let sample = sample(self.last_second.as_ref(), &now, snapshot);
        push(&mut self.seconds, sample.clone(), SECONDS);
        let is_minute_over = self.last_minute.as_ref().is_none_or(|last| at.saturating_sub(last.at) >= 60_000);
        if is_minute_over {
            push(&mut self.minutes, self::sample(self.last_minute.as_ref(), &now, snapshot), MINUTES);
            self.last_minute = Some(now.clone());
        }
        self.last_second = Some(now);
        sample
    }

    /// The last minutes, second by second.
    pub(crate) fn seconds(&self) -> &VecDeque<Sample> {
        &self.seconds
    }

    /// The last day, minute by minute.
    pub(crate) fn minutes(&self) -> &VecDeque<Sample> {
        &self.minutes
    }
}

fn push(samples: &mut VecDeque<Sample>, sample: Sample, most: usize) {
    if samples.len() == most {
        samples.pop_front();
    }
    samples.push_back(sample);
}

/// What happened between two moments. Counters may go back, where a transaction failed.
fn sample(before: Option<&Counted>, now: &Counted, snapshot: &Snapshot) -> Sample {
    let (lag, lag_seconds) = (snapshot.lag, snapshot.lag_seconds);
    let Some(before) = before else { return Sample { at: now.at, lag, lag_seconds, ..Sample::default() } };
    let seconds = (now.at.saturating_sub(before.at) as f64 / 1000.0).max(1e-3);
    let earlier: BTreeMap<&str, u64> = before.anomalies.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let since = |(name, count): &(String, u64)| {
        (name.clone(), count.saturating_sub(earlier.get(name.as_str()).copied().unwrap_or(0)))
    };
    Sample {
        at: now.at,
        rate: now.records.saturating_sub(before.records) as f64 / seconds,
        lag,
        lag_seconds,
        erroneous: now.erroneous.saturating_sub(before.erroneous),
        anomalies: now.anomalies.iter().map(since).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(records: u64, anomalies: u64) -> Snapshot {
        Snapshot { records, anomalies: vec![("kmeans".to_owned(), anomalies)], ..Snapshot::default() }
    }

    #[test]
    fn a_sample_is_what_happened_since_the_last_one() {
        let mut history = History::default();
        assert_eq!(history.add(1_000, &at(50, 1)).rate, 0.0, "nobody knows when these came");
        let sample = history.add(3_000, &at(150, 4));
        assert_eq!((sample.rate, sample.anomalies["kmeans"]), (50.0, 3));
        let back = history.add(4_000, &at(100, 2));
        assert_eq!((back.rate, back.anomalies["kmeans"]), (0.0, 0), "rolled back");
    }

    #[test]
    fn seconds_become_minutes_and_both_are_bounded() {
        let mut history = History::default();
        let end = 3 * 86_400;
        for second in 0..=end {
            history.add(second * 1000, &at(second as u64 * 10, second as u64 / 60));
        }
        assert_eq!((history.seconds().len(), history.minutes().len()), (SECONDS, MINUTES));
        let last = &history.minutes()[MINUTES - 1];
        assert_eq!((last.at, last.rate, last.anomalies["kmeans"]), (end * 1000, 10.0, 1));
    }
}
