//! The status of a stream as its window takes it.

use std::time::Duration;

use shared::memory;
use shared::pipeline::Pipeline;
use shared::time::format_timestamp;
use window::{Agreement, DetectorDrift, Drift, FeatureDrift, Histogram, Partitions, Snapshot};

use crate::core::Counters;
use crate::drift::{DetectorReport, FeatureReport, Report};
use crate::status::Status;

/// The status, in the words of the window.
pub(crate) fn snapshot(status: &Status, pipeline: &Pipeline) -> Snapshot {
    let Status { counters, commits, .. } = status;
    Snapshot {
        records: counters.records,
        outcomes: outcomes(counters),
        scored: counters.scored_entities,
        anomalies: status.anomalies.clone(),
        reasons: counters.reasons.iter().map(|(reason, count)| (reason.to_string(), *count)).collect(),
        erroneous: counters.erroneous(),
        open: counters.open_entities,
        cancellations: pipeline.cancellations.as_ref().map(|_| counters.cancellations),
        cancellation_windows: status.windows,
        published: status.published,
        undeliverable: status.undeliverable,
        skipped: status.skipped,
        sent_again: status.sent_again,
        rolled_back: status.rolled_back,
        at_limits: counters.at_limits(),
        odd_dates: counters.odd_dates.iter().map(|(column, count)| (column.clone(), *count)).collect(),
        lag: status.lag.map(|lag| u64::try_from(lag).unwrap_or(0)),
        lag_seconds: status.lag_seconds,
        partitions: Partitions {
            has_joined: status.has_joined,
            owned: status.owned_partitions,
            restoring: status.restoring_partitions,
            failed: status.failed_partitions,
            waiting: status.waiting_partitions,
            standby: status.standby_partitions,
            standby_lag: status.standby_lag,
        },
        state_bytes: status.state_bytes as u64,
        commits: Histogram { buckets: commits.buckets().collect(), sum: commits.seconds },
        seconds_since_commit: commits.last.map(|last| last.elapsed()).as_ref().map(Duration::as_secs_f64),
        resident_bytes: memory::resident(),
        agreement: agreement(status, pipeline),
        drift: status.drift.report().as_ref().map(drift),
    }
}

/// Records by outcome; they add up to those that were read, came with the state or were lost, but for those that are open.
fn outcomes(counters: &Counters) -> Vec<(&'static str, u64)> {
    vec![
        ("scored", counters.scored_lines),
        ("in_erroneous_entities", counters.erroneous_entity_lines),
        ("malformed", counters.malformed_lines),
        ("late", counters.late_lines),
        ("duplicate", counters.duplicate_lines),
        ("future", counters.future_lines),
        ("old", counters.old_lines),
        ("cancellation", counters.cancellation_lines),
        ("already_published", counters.already_published_lines),
        ("given_up", counters.given_up_lines),
        ("lost", counters.lost_to_retention),
    ]
}

fn agreement(status: &Status, pipeline: &Pipeline) -> Option<Agreement> {
    let [first, second, ..] = pipeline.detectors.as_slice() else { return None };
    let cells = status.agreement.all();
    let names = [first.name.clone(), second.name.clone()];
    Some(Agreement { names, both: cells.both, only: cells.only, neither: cells.neither })
}

fn drift(report: &Report) -> Drift {
    let detector = |it: &DetectorReport| DetectorDrift {
        name: it.name.clone(),
        scores: it.scores,
        evidence: it.evidence,
        since: it.alarm.map(|alarm| format_timestamp(alarm.since)),
        stability: it.stability,
        said: report.said(it),
    };
    let feature = |it: &FeatureReport| FeatureDrift {
        name: it.name.clone(),
        stability: it.stability,
        outside: it.outside,
        missing: it.missing,
    };
    Drift {
        alpha: report.spec.alpha,
        detectors: report.detectors.iter().map(detector).collect(),
        features: report.features.iter().map(feature).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outcome that is counted and not shown would be missing in every chart.
    #[test]
    fn all_outcomes_are_shown() {
        let counters = Counters {
            scored_lines: 1,
            erroneous_entity_lines: 2,
            malformed_lines: 4,
            late_lines: 8,
            duplicate_lines: 16,
            future_lines: 32,
            old_lines: 64,
            cancellation_lines: 128,
            already_published_lines: 256,
            given_up_lines: 512,
            lost_to_retention: 1024,
            open_lines: 2048,
            ..Counters::default()
        };
        let shown: u64 = outcomes(&counters).iter().map(|(_, count)| count).sum();
        assert_eq!(shown + counters.open_lines, counters.outcomes());
    }
}
