//! What the state machine promises.

mod cancellations;
mod changelog;
mod growth;
mod limits;
mod lost;
mod placement;
mod records;
mod sessions;
mod standby;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use shared::pipeline::Pipeline;

use super::*;
use store::{Store, feed, origin, restored, sharing, start};

const MINUTE: i64 = 60_000;

/// The grace where a pipeline does not say another.
const GRACE: i64 = 25;

fn pipeline() -> Arc<Pipeline> {
    Arc::new(Pipeline::load("invoices").unwrap())
}

/// Invoices with features that keep values.
pub(crate) fn keeping() -> Pipeline {
    let text = include_str!("../../../../resources/pipelines/invoices.toml");
    let features = [
        "[features]",
        "Median = \"median(Quantity * UnitPrice)\"",
        "Products = \"count_distinct(StockCode)\"",
        "Countries = \"count_distinct(Country)\"",
        "French = \"share(Country = 'France')\"",
        "",
    ];
    Pipeline::parse(&text.replacen("[features]", &features.join("\n"), 1), "keeping.toml").unwrap()
}

/// Drives a core with lines stamped in seconds.
struct Driver {
    core: Core,
    out: Vec<Output>,
    offsets: BTreeMap<i32, i64>,
}

impl Driver {
    fn new() -> Self {
        Self { core: Core::new(pipeline()), out: Vec::new(), offsets: BTreeMap::new() }
    }

    fn apply(&mut self, input: Input<'_>) {
        self.core.apply(input, &mut self.out);
        let counters = self.core.counters();
        assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
    }

    fn send(&mut self, partition: i32, milliseconds: i64, payload: &str) {
        let offset = self.offsets.entry(partition).or_default();
        let record = Record::new(partition, *offset, milliseconds, payload.as_bytes());
        *offset += 1;
        self.core.apply(Input::Record(record), &mut self.out);
    }

    /// It is proven that everything which the partition had at `now` has been read.
    fn read_through(&mut self, partition: i32, now: i64) {
        self.apply(Input::ReadThrough { partition, now });
    }

    fn line(&mut self, seconds: i64, invoice: &str) {
        self.send(0, seconds * 1000, &line(invoice));
    }

    fn closed(&self) -> Vec<(String, u64)> {
        let closed = |output: &Output| match output {
            Output::Closed(entity) => Some((entity.summary.key.to_string(), entity.summary.lines)),
            _ => None,
        };
        self.out.iter().filter_map(closed).collect()
    }

    fn reasons(&self) -> Vec<String> {
        let reasons = |output: &Output| match output {
            Output::Erroneous(Erroneous::Line { reasons, .. } | Erroneous::Entity { reasons, .. }) => {
                Some(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
            _ => None,
        };
        self.out.iter().filter_map(reasons).collect()
    }

    fn counts(&self) -> Vec<(i64, u64)> {
        let count = |output: &Output| match output {
            Output::Cancellations(count) => Some((count.window_end / MINUTE, count.cancellations)),
            _ => None,
        };
        self.out.iter().filter_map(count).collect()
    }
}

fn line(invoice: &str) -> String {
    format!("{invoice},22143,MUG,2,9/1/2010 9:22,1.5,12345,France")
}

/// A line of a small world: few invoices, seconds that mostly move on.
fn world() -> impl Strategy<Value = Vec<(i64, String)>> {
    let payload = (0u8..10, 0u8..12).prop_map(|(kind, invoice)| match kind {
        0 => "broken".to_owned(),
        1 => line(&format!("C{invoice}")),
        2 => format!("{invoice},22143,MUG,2,9/1/2010 9:22,1.5,,France"),
        _ => line(&invoice.to_string()),
    });
    proptest::collection::vec((0i64..30, payload), 1..120).prop_map(|steps| {
        let mut clock = 0;
        let mut at = |ahead: i64| {
            clock += ahead;
            clock * 1000
        };
        steps.into_iter().map(|(ahead, payload)| (at(ahead), payload)).collect()
    })
}

fn run(lines: &[(i64, String)]) -> Driver {
    let mut driver = Driver::new();
    for (timestamp, payload) in lines {
        driver.send(0, *timestamp, payload);
        let counters = driver.core.counters();
        assert_eq!(counters.records, counters.outcomes());
    }
    driver
}

/// Everything but reports, which are no result.
fn sorted(outputs: &[Output]) -> Vec<String> {
    let mut texts: Vec<String> = outputs.iter().map(|output| format!("{output:?}")).collect();
    texts.sort();
    texts
}
