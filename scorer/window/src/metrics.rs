//! Metrics for Prometheus, in the OpenMetrics text format. All numbers are those of one moment.

use std::fmt::Error;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::about::{About, Detector};
use crate::alerts::{AlertNumbers, ChannelNumbers};
use crate::snapshot::{DetectorDrift, Drift, FeatureDrift, Histogram, Snapshot};
use crate::store::Store;
use crate::store::labels::Said;
use crate::view::{View, now};

/// The content type of what [`text`] writes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics now.
pub(crate) fn text(view: &View) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("atalaya");
    registry.register_collector(Box::new(Now::of(view)));
    let mut out = String::new();
    prometheus_client::encoding::text::encode(&mut out, &registry)?;
    Ok(out)
}

/// The numbers of a moment.
#[derive(Debug)]
struct Now {
    snapshot: Snapshot,
    build: [(&'static str, String); 4],
    entities: usize,
    entity_bytes: usize,
    errors: usize,
    evicted: u64,
    unreadable: u64,
    dropped: u64,
    refused: usize,
    /// By outcome.
    asked: [(&'static str, u64); 3],
    listening: usize,
    /// By detector and word.
    labels: Vec<(String, &'static str, u64)>,
    unreadable_labels: u64,
    /// Where there are any, and the time of day.
    alerts: Option<(AlertNumbers, i64)>,
}

impl Now {
    fn of(view: &View) -> Self {
        let (about, snapshot) = (&view.about, view.scrape());
        let alerts = view.alerts.as_ref().map(|desk| desk.numbers());
        let state = view.state();
        Self {
            snapshot,
            build: [
                ("version", about.version.clone()),
                ("pipeline", about.pipeline.clone()),
                ("topic", about.topic.clone()),
                ("group", about.group.clone()),
            ],
            entities: state.store.anomalies.len(),
            entity_bytes: state.store.anomalies.bytes(),
            errors: state.store.errors.len(),
            evicted: state.store.anomalies.evicted,
            unreadable: state.store.unreadable,
            dropped: view.inflow.dropped(),
            refused: view.refused.load(Ordering::Relaxed),
            asked: view.asked.counts(),
            listening: view.listening.load(Ordering::Relaxed),
            labels: labels(&state.store, about),
            unreadable_labels: state.store.labels.unreadable,
            alerts: alerts.map(|alerts| (alerts, now())),
        }
    }
}

/// What analysts said of each detector's anomalies.
fn labels(store: &Store, about: &About) -> Vec<(String, &'static str, u64)> {
    let precision = store.labels.precision(&store.anomalies);
    let of = |detector: &Detector| {
        let Said { anomaly, false_alarm, unsure } =
            precision.by_detector.get(&detector.name).copied().unwrap_or_default();
        [("anomaly", anomaly), ("false_alarm", false_alarm), ("unsure", unsure)]
            .map(|(word, count)| (detector.name.clone(), word, count))
    };
    about.detectors.iter().flat_map(of).collect()
}

impl Collector for Now {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut out = Out(encoder);
        self.stream(&mut out)?;
        self.partitions(&mut out)?;
        if let Some(drift) = &self.snapshot.drift {
            drifted(drift, &mut out)?;
        }
        self.window(&mut out)?;
        match &self.alerts {
            Some((numbers, now)) => alerts(numbers, *now, &mut out),
            None => Ok(()),
        }
    }
}

/// A channel that takes nothing is seen by how long that has been so, and by what waits for it.
fn alerts(numbers: &AlertNumbers, now: i64, out: &mut Out<'_>) -> Result<(), Error> {
    let channels = &numbers.channels;
    let counts = |of: fn(&ChannelNumbers) -> u64| -> Vec<(&str, u64)> {
        channels.iter().map(|channel| (channel.name.as_str(), of(channel))).collect()
    };
    let gauges = |of: &dyn Fn(&ChannelNumbers) -> f64| -> Vec<(&str, f64)> {
        channels.iter().map(|channel| (channel.name.as_str(), of(channel))).collect()
    };
    let firing: Vec<(&str, f64)> = numbers.firing.iter().map(|(rule, count)| (rule.as_str(), *count as f64)).collect();
    out.gauges("alerts_firing", "Alerts that are so now, by rule", None, "rule", &firing)?;
    let waiting = gauges(&|channel| channel.waiting as f64);
    out.gauges("alerts_waiting", "Alerts that wait for their channel", None, "channel", &waiting)?;
    let failing = gauges(&|channel| channel.failing_since.map_or(0.0, |since| (now - since).max(0) as f64 / 1000.0));
    let help = "For how long the channel has taken no alert; 0 while it takes them";
    out.gauges("alerts_failing", help, Some(&Unit::Seconds), "channel", &failing)?;
    out.counters("alerts_sent", "Alerts that their channel took", "channel", &counts(|channel| channel.sent))?;
    let refused = counts(|channel| channel.refused);
    out.counters("alerts_refused", "Alerts that their channel refused for good", "channel", &refused)?;
    let dropped = counts(|channel| channel.dropped);
    out.counters("alerts_dropped", "Alerts that went unsent because too many waited", "channel", &dropped)?;
    out.counter("alerts_anomalies_dropped", "Anomalies that no rule saw: too many came at once", numbers.dropped)?;
    out.counter(
        "alerts_groups_forgotten",
        "Groups of alerts that were forgotten: there were too many",
        numbers.forgotten,
    )
}

/// Where there is too little to say, there is no number.
fn drifted(drift: &Drift, out: &mut Out<'_>) -> Result<(), Error> {
    let help = "Decimal logarithm of the evidence that scores are not like the training";
    out.gauges("drift_martingale_log10", help, None, "detector", &drift.by_detector(|it| it.evidence))?;
    let help = "1 once the evidence was enough: the stream is no longer like the training";
    out.gauges("drift_alarm", help, None, "detector", &drift.by_detector(DetectorDrift::alarm))?;
    let help = "Population stability index of the newest scores";
    out.gauges("score_psi", help, None, "detector", &drift.by_detector(|it| it.stability))?;
    let help = "Population stability index of the newest values of a feature";
    out.gauges("feature_psi", help, None, "feature", &drift.by_feature(|it| it.stability))?;
    let share = |of: fn(&FeatureDrift) -> f64| drift.by_feature(|it| it.stability.map(|_| of(it)));
    let help = "Share of the newest values of a feature outside the range of the training";
    out.gauges("feature_outside", help, None, "feature", &share(|it| it.outside))?;
    let help = "Share of the newest records without a value of a feature";
    out.gauges("feature_missing", help, None, "feature", &share(|it| it.missing))
}

impl Now {
    fn stream(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let it = &self.snapshot;
        let build: Vec<(&str, &str)> = self.build.iter().map(|(name, value)| (*name, value.as_str())).collect();
        out.gauge_of("build_info", "What runs; the value is 1", &[(&build, 1.0)])?;
        out.counter("records_read", "Records read", it.records)?;
        out.counters("records", "Records by outcome; `open` is a gauge of its own", "outcome", &it.outcomes)?;
        out.gauge("open_entities", "Entities that are open, and records that wait", it.open as f64)?;
        out.counter("entities_scored", "Entities handed on to be scored", it.scored)?;
        out.counters("anomalies", "Anomalies published, by detector", "detector", &it.anomalies)?;
        out.counter("erroneous_messages", "Erroneous records and entities that were published", it.erroneous)?;
        out.counters("broken_rules", "Broken rules by reason", "reason", &it.reasons)?;
        out.counter("messages_published", "Messages that the broker acknowledged", it.published)?;
        out.counter("messages_undeliverable", "Messages told of in the erroneous topic instead", it.undeliverable)?;
        out.counter("messages_skipped", "Messages that no topic took", it.skipped)?;
        if let Some(cancellations) = it.cancellations {
            out.counter("cancellations", "Distinct cancelled entities", cancellations)?;
            out.counter("cancellation_windows", "Windows of cancellations published", it.cancellation_windows)?;
        }
        out.counter("limits_reached", "What was closed, judged or forgotten early, at a limit", it.at_limits)?;
        let help = "Records with a date before 1970, or more than a year after them, by column";
        out.counters("odd_dates", help, "column", &it.odd_dates)?;
        out.counter("batches_sent_again", "Batches that were sent again", it.sent_again)?;
        out.counter("rollbacks", "How often everything went back to the last commit", it.rolled_back)?;
        out.histogram("commit_duration", "How long commits took", Unit::Seconds, &it.commits)?;
        out.maybe_with_unit("last_commit_age", "Since the last commit", Unit::Seconds, it.seconds_since_commit)
    }

    fn partitions(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let it = &self.snapshot;
        out.maybe("lag_records", "Records that wait to be read", it.lag.map(|lag| lag as f64))?;
        let help = "Age of the record read last while more wait; 0 where none do";
        out.maybe_with_unit("lag", help, Unit::Seconds, it.lag_seconds)?;
        let of_state = |state, count: usize| ([("state", state)], count as f64);
        let p = &it.partitions;
        let reading = p.owned.saturating_sub(p.restoring + p.failed);
        let states = [of_state("reading", reading), of_state("restoring", p.restoring), of_state("failed", p.failed)];
        let states: Vec<(&[(&str, &str)], f64)> = states.iter().map(|(labels, count)| (&labels[..], *count)).collect();
        out.gauge_of("partitions", "Partitions of this instance", &states)?;
        let help = "Partitions whose next record waits until a Schema Registry tells its schema";
        out.gauge("partitions_waiting", help, p.waiting as f64)?;
        out.gauge("standby_partitions", "Partitions of others whose state is followed", p.standby as f64)?;
        out.gauge("standby_lag_records", "Changelog records that these copies are behind", p.standby_lag as f64)?;
        out.maybe_with_unit("state", "Size of the state", Unit::Bytes, Some(it.state_bytes as f64))?;
        out.maybe_with_unit(
            "resident_memory",
            "Memory of the process",
            Unit::Bytes,
            it.resident_bytes.map(|it| it as f64),
        )
    }

    fn window(&self, out: &mut Out<'_>) -> Result<(), Error> {
        out.gauge("window_entities", "Entities with anomalies that the window keeps", self.entities as f64)?;
        out.maybe_with_unit("window_entities", "Their size", Unit::Bytes, Some(self.entity_bytes as f64))?;
        out.gauge("window_errors", "Erroneous messages that the window keeps", self.errors as f64)?;
        out.counter("window_evicted", "Entities that the window let go for newer ones", self.evicted)?;
        out.counter("window_dropped", "Messages that the window had no room for; the topics have them", self.dropped)?;
        out.counter("window_unreadable", "Messages that the window could not read", self.unreadable)?;
        let labels: Vec<[(&str, &str); 2]> =
            self.labels.iter().map(|(detector, word, _)| [("detector", detector.as_str()), ("label", *word)]).collect();
        let counts = labels.iter().zip(&self.labels).map(|(labels, (_, _, count))| (&labels[..], *count as f64));
        out.gauge_of("labels", "Anomalies by what analysts said of them", &counts.collect::<Vec<_>>())?;
        out.counter("window_unreadable_labels", "Labels that the window could not read", self.unreadable_labels)?;
        out.counters("score_requests", "Requests to score records at once, by outcome", "outcome", &self.asked)?;
        out.gauge("window_pages", "Pages that listen", self.listening as f64)?;
        out.counter("window_connections_refused", "Connections that were one too many", self.refused as u64)
    }
}

/// Labels of a metric, by name and value.
type Labels<'a> = [(&'a str, &'a str)];

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(impl AsRef<str>, u64)],
    ) -> Result<(), Error> {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            let labels = [(label, of.as_ref())];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(value, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.maybe(name, help, Some(value))
    }

    fn gauge_of(&mut self, name: &str, help: &str, values: &[(&Labels<'_>, f64)]) -> Result<(), Error> {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            let labels: Vec<(&str, &str)> = labels.to_vec();
            metric.encode_family(&labels)?.encode_gauge(value)?;
        }
        Ok(())
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        label: &str,
        values: &[(&str, f64)],
    ) -> Result<(), Error> {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (of, value) in values {
            metric.encode_family(&[(label, *of)])?.encode_gauge(value)?;
        }
        Ok(())
    }

    fn maybe(&mut self, name: &str, help: &str, value: Option<f64>) -> Result<(), Error> {
        self.of(name, help, None, value)
    }

    fn maybe_with_unit(&mut self, name: &str, help: &str, unit: Unit, value: Option<f64>) -> Result<(), Error> {
        self.of(name, help, Some(&unit), value)
    }

    /// A metric whose value is not known is left out.
    fn of(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>) -> Result<(), Error> {
        let Some(value) = value else { return Ok(()) };
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn histogram(&mut self, name: &str, help: &str, unit: Unit, histogram: &Histogram) -> Result<(), Error> {
        let metric = self.0.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        Counted(histogram).encode(metric)
    }
}

/// A histogram in the library's form.
struct Counted<'a>(&'a Histogram);

impl EncodeMetric for Counted<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        encoder.encode_histogram::<NoLabelSet>(self.0.sum, self.0.count(), &self.0.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
