//! Batches as spans of OpenTelemetry, in the JSON of OTLP 1: a trace for each batch, with a span for each stage.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>

use std::time::Instant;

use serde_json::{Value, json};

use crate::kafka::BatchTrace;

/// What all spans are of, by name and value.
pub(super) type Resource = Vec<(&'static str, String)>;

/// Kinds of spans, and how they ended.
const INTERNAL: u32 = 1;
const CONSUMER: u32 = 5;
const FAILED: u32 = 2;

/// A request with these batches. `nanos` says when a moment was, in nanoseconds since 1970, and `random` names spans.
pub(super) fn request(
    batches: &[BatchTrace],
    resource: &Resource,
    nanos: impl Fn(Instant) -> u64,
    mut random: impl FnMut() -> u64,
) -> Value {
    let spans: Vec<Value> = batches.iter().flat_map(|batch| spans(batch, &nanos, &mut random)).collect();
    let resource: Vec<Value> =
        resource.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| text(name, value)).collect();
    let scope = json!({ "name": "scorer", "version": env!("CARGO_PKG_VERSION") });
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource }, "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] })
}

/// The span of a batch, and those of its stages.
fn spans(batch: &BatchTrace, nanos: &impl Fn(Instant) -> u64, random: &mut impl FnMut() -> u64) -> Vec<Value> {
    // No name may be 0 alone.
    let trace = format!("{:016x}{:016x}", random() | 1, random());
    let parent = format!("{:016x}", random() | 1);
    let span = |name: &str, kind: u32, (start, end): (Instant, Instant)| {
        json!({
            "traceId": trace, "name": name, "kind": kind,
            "startTimeUnixNano": nanos(start).to_string(), "endTimeUnixNano": nanos(end).to_string(),
        })
    };
    let end = batch.committed.unwrap_or(batch.published).1;
    let mut root = span("batch", CONSUMER, (batch.read.0, end));
    root["spanId"] = parent.as_str().into();
    root["attributes"] = json!([
        number("atalaya.batch.number", batch.number),
        number("messaging.batch.message_count", batch.records as u64),
        number("atalaya.batch.messages", batch.messages as u64),
    ]);
    if let Some(error) = &batch.error {
        root["status"] = json!({ "code": FAILED, "message": error });
    }
    let stages = [
        ("read", Some(batch.read)),
        ("score", Some(batch.scored)),
        ("publish", Some(batch.published)),
        ("commit", batch.committed),
    ];
    let stages = stages.into_iter().filter_map(|(name, times)| Some((name, times?)));
    let children = stages.map(|(name, times)| {
        let mut child = span(name, INTERNAL, times);
        child["spanId"] = format!("{:016x}", random() | 1).into();
        child["parentSpanId"] = parent.as_str().into();
        child
    });
    std::iter::once(root).chain(children).collect()
}

fn text(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

/// Whole numbers of 64 bits are texts in this form.
fn number(name: &str, value: u64) -> Value {
    json!({ "key": name, "value": { "intValue": value.to_string() } })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    fn batch(start: Instant, error: Option<&str>) -> BatchTrace {
        let at = |millis| start + Duration::from_millis(millis);
        BatchTrace {
            number: 7,
            records: 100,
            messages: 3,
            read: (at(0), at(10)),
            scored: (at(11), at(15)),
            published: (at(16), at(30)),
            committed: error.is_none().then(|| (at(30), at(42))),
            error: error.map(str::to_owned),
        }
    }

    /// What a receiver gets of these batches; the first one began a second after 1970.
    fn spans_of(batches: &[BatchTrace], start: Instant) -> Vec<Value> {
        let mut names = 0;
        let random = || {
            names += 1;
            names
        };
        let nanos = |at: Instant| 1_000_000_000 + u64::try_from((at - start).as_nanos()).unwrap();
        let resource = vec![("service.name", "s".to_owned()), ("service.instance.id", String::new())];
        let request = request(batches, &resource, nanos, random);
        let of = &request["resourceSpans"][0];
        assert_eq!(of["resource"], json!({ "attributes": [text("service.name", "s")] }), "what is empty is left out");
        of["scopeSpans"][0]["spans"].as_array().unwrap().clone()
    }

    #[test]
    fn a_batch_is_a_trace_with_a_span_for_each_stage() {
        let start = Instant::now();
        let spans = spans_of(&[batch(start, None), batch(start, None)], start);
        let of_one = &spans[..5];
        let names: Vec<&str> = of_one.iter().map(|span| span["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["batch", "read", "score", "publish", "commit"]);
        assert_eq!(
            (&of_one[0]["startTimeUnixNano"], &of_one[0]["endTimeUnixNano"]),
            (&json!("1000000000"), &json!("1042000000"))
        );
        assert_eq!(
            (&of_one[4]["startTimeUnixNano"], &of_one[4]["endTimeUnixNano"]),
            (&json!("1030000000"), &json!("1042000000"))
        );
        assert!(of_one[0].get("parentSpanId").is_none() && of_one[0].get("status").is_none());
        assert_eq!(
            of_one[0]["attributes"][1],
            json!({ "key": "messaging.batch.message_count", "value": { "intValue": "100" } })
        );
        for child in &of_one[1..] {
            assert_eq!((&child["parentSpanId"], &child["traceId"]), (&of_one[0]["spanId"], &of_one[0]["traceId"]));
        }
        let ids: BTreeSet<&str> = spans.iter().map(|span| span["spanId"].as_str().unwrap()).collect();
        assert_eq!((spans.len(), ids.iter().all(|id| id.len() == 16)), (10, true));
        assert_ne!(spans[0]["traceId"], spans[5]["traceId"]);
        assert_eq!(spans[0]["traceId"].as_str().unwrap().len(), 32);
    }

    #[test]
    fn a_batch_that_came_to_nothing_says_why() {
        let start = Instant::now();
        let spans = spans_of(&[batch(start, Some("the broker is gone"))], start);
        assert_eq!(spans[0]["status"], json!({ "code": 2, "message": "the broker is gone" }));
        assert_eq!((spans.len(), &spans[0]["endTimeUnixNano"]), (4, &json!("1030000000")), "nothing was committed");
    }
}
