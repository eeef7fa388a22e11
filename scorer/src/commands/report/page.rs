//! What a page says, and the page.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use shared::pipeline::{Pipeline, Scored};
use shared::text::grouped;
use shared::time::{format_span, format_timestamp};
use shared::verdict::ExplainedFeature;
use window::{FlaggedBy, Found, Row, Said, Severity, State, Wanted};

use super::cancelled::Cancelled;
use super::visible::make_visible;
use crate::agreement::Agreement;
use crate::commands::words::{beside_threshold, in_short, percent};

/// Anomalies that are told of one by one.
const WORST: usize = 20;

/// Features of an anomaly that are.
const FEATURES: usize = 4;

/// Reasons, exceptions and windows that are listed.
const LISTED: usize = 30;

/// From when to when, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Period {
    pub from: i64,
    pub to: i64,
}

/// What a page says: texts as they are shown, but for what records hold that is not fit to be.
#[derive(Debug, Serialize)]
pub(super) struct Page<'a> {
    version: &'static str,
    pipeline: &'a str,
    topic: &'a str,
    /// What is found anomalous: one, and several.
    entity: &'static str,
    entities: &'static str,
    customer: Option<&'a str>,
    from: String,
    to: String,
    total: String,
    levels: Vec<Level>,
    detectors: Vec<OfDetector>,
    agreement: Option<String>,
    closed: String,
    in_review: String,
    hidden: String,
    /// The oldest, which there was no room for.
    left_out: Option<String>,
    worst: Vec<Anomaly<'a>>,
    said: Vec<SaidOf>,
    exceptions: List<Exception<'a>>,
    errors: Errors<'a>,
    cancellations: Option<Cancellations<'a>>,
}

/// How many have a severity.
#[derive(Debug, Serialize)]
struct Level {
    name: &'static str,
    count: String,
}

/// What a detector found.
#[derive(Debug, Serialize)]
struct OfDetector {
    name: String,
    /// As many as there are levels, in the same order.
    counts: Vec<String>,
    total: String,
}

#[derive(Debug, Serialize)]
struct Anomaly<'a> {
    severity: &'static str,
    key: &'a str,
    customer: Option<&'a str>,
    event_time: &'a str,
    scored: String,
    reason: Option<&'a str>,
    fields: Vec<(String, String)>,
    detectors: Vec<(&'a str, String)>,
    worst_detector: &'a str,
    features: Vec<(String, String)>,
    word: Option<&'static str>,
    owner: Option<&'a str>,
}

/// What analysts said of a detector's anomalies: of this time, and ever.
#[derive(Debug, Serialize)]
struct SaidOf {
    detector: String,
    now: Counted,
    ever: Counted,
}

#[derive(Debug, Serialize)]
struct Counted {
    anomaly: u64,
    false_alarm: u64,
    unsure: u64,
    precision: String,
}

/// The first of a list, and how many more there are.
#[derive(Debug, Serialize)]
struct List<T> {
    first: Vec<T>,
    more: usize,
}

#[derive(Debug, Serialize)]
struct Exception<'a> {
    customer: &'a str,
    features: String,
    until: String,
    note: &'a str,
    by: &'a str,
    hides: String,
}

#[derive(Debug, Serialize)]
struct Errors<'a> {
    messages: String,
    left_out: Option<String>,
    by_reason: List<(&'a str, String)>,
}

#[derive(Debug, Serialize)]
struct Cancellations<'a> {
    windows: String,
    window: String,
    slide: String,
    most: Vec<(String, String, &'a str)>,
}

impl<'a> Page<'a> {
    /// What is to be said of a time.
    pub(super) fn new(pipeline: &'a Pipeline, period: Period, found: &'a Found, cancelled: &'a Cancelled) -> Self {
        let all: Vec<Row<'_>> = found.all().collect();
        let levels = levels(&all);
        let severities: Vec<Option<Severity>> = all.iter().map(Row::severity).collect();
        let of_levels = levels.iter().zip(counts(&levels, &severities));
        let of_state = |state| grouped(all.iter().filter(|row| row.state() == state).count() as u64);
        let is_closed_wanted = true;
        let worst = found.worst(&Wanted { is_closed_wanted, ..Wanted::default() });
        let (entity, entities) = match &pipeline.scored {
            Scored::Sessions(_) => ("invoice", "invoices"),
            Scored::Records(_) => ("record", "records"),
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pipeline: &pipeline.name,
            topic: &pipeline.topic,
            entity,
            entities,
            customer: pipeline.entity.customer.map(|column| pipeline.schema.columns[column].name.as_str()),
            from: moment(period.from),
            to: moment(period.to),
            total: grouped(all.len() as u64),
            levels: of_levels.map(|(level, count)| Level { name: name(*level), count }).collect(),
            detectors: detectors(pipeline, &levels, &all),
            agreement: agreement(pipeline, &all),
            closed: of_state(State::Closed),
            in_review: of_state(State::InReview),
            hidden: of_state(State::Hidden),
            left_out: some(found.evicted()),
            worst: worst.iter().take(WORST).map(anomaly).collect(),
            said: said(pipeline, found, period),
            exceptions: exceptions(found, period.to),
            errors: errors(found),
            cancellations: cancellations(pipeline, cancelled),
        }
    }

    /// The page.
    ///
    /// # Errors
    /// When the template and what it is filled with do not fit, which a test would see.
    pub(super) fn html(&self) -> Result<String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        let mut value = serde_json::to_value(self)?;
        make_visible(&mut value);
        let template = environment.template_from_str(include_str!("page.html"));
        template.and_then(|page| page.render(Serde(&value))).context("the page cannot be made")
    }
}

/// A number, where there is anything to tell.
fn some(count: u64) -> Option<String> {
    (count > 0).then(|| grouped(count))
}

/// A moment as people read it: `2026-11-21 09:30 UTC`.
fn moment(at: i64) -> String {
    let text = format_timestamp(at);
    let short = || Some(format!("{} {} UTC", text.get(..10)?, text.get(11..16)?));
    short().unwrap_or_else(|| text.clone())
}

/// The levels that are told of, the worst first; last, none, if a verdict has none: those in version 1.
fn levels(all: &[Row<'_>]) -> Vec<Option<Severity>> {
    let of_opinions = all.iter().flat_map(Row::opinions).map(|opinion| opinion.severity);
    let is_untold = of_opinions.chain(all.iter().map(Row::severity)).any(|severity| severity.is_none());
    Severity::ALL.into_iter().rev().map(Some).chain(is_untold.then_some(None)).collect()
}

fn name(level: Option<Severity>) -> &'static str {
    level.map_or("not told", Severity::name)
}

/// How many there are of each level.
fn counts(levels: &[Option<Severity>], of: &[Option<Severity>]) -> Vec<String> {
    let count = |level| grouped(of.iter().filter(|it| *it == level).count() as u64);
    levels.iter().map(count).collect()
}

/// What each detector found; those of the pipeline file first, in their order.
fn detectors(pipeline: &Pipeline, levels: &[Option<Severity>], all: &[Row<'_>]) -> Vec<OfDetector> {
    let mut found: BTreeMap<&str, Vec<Option<Severity>>> = BTreeMap::new();
    for opinion in all.iter().flat_map(Row::opinions) {
        found.entry(opinion.detector).or_default().push(opinion.severity);
    }
    let mut names: Vec<&str> = pipeline.detector_topics().map(|(name, _)| name).collect();
    names.extend(found.keys().filter(|name| !pipeline.detector_topics().any(|(known, _)| known == **name)));
    let of = |name: &str| {
        let own = found.get(name).map(Vec::as_slice).unwrap_or_default();
        OfDetector { name: name.to_owned(), counts: counts(levels, own), total: grouped(own.len() as u64) }
    };
    names.into_iter().map(of).collect()
}

/// How the first two detectors agree.
fn agreement(pipeline: &Pipeline, all: &[Row<'_>]) -> Option<String> {
    let mut names = pipeline.detector_topics().map(|(name, _)| name);
    let pair = [names.next()?, names.next()?];
    let mut agreement = Agreement::default();
    for row in all {
        let is_found = pair.map(|name| row.opinions().any(|opinion| opinion.detector == name));
        agreement.add(is_found, false);
    }
    in_short(pair, &agreement)
}

fn anomaly<'a>(row: &Row<'a>) -> Anomaly<'a> {
    let features = row.said_by_worst("explanation").and_then(|list| Vec::<ExplainedFeature>::deserialize(list).ok());
    let features = features.unwrap_or_default().into_iter().filter(|feature| feature.share > 0.0).take(FEATURES);
    let fields = match row.said_by_worst("fields") {
        Some(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let says = |opinion: FlaggedBy<'_>| {
        let score = beside_threshold(opinion.score as f32, opinion.threshold as f32);
        format!("{}, {}", name(opinion.severity), score.trim())
    };
    Anomaly {
        severity: name(row.severity()),
        key: row.key(),
        customer: row.customer(),
        event_time: row.event_time(),
        scored: moment(row.at()),
        reason: row.reason(),
        fields: fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, plain(value)))
            .collect(),
        detectors: row.opinions().map(|opinion| (opinion.detector, says(opinion))).collect(),
        worst_detector: row.worst_detector(),
        features: features.map(|feature| (percent(Some(feature.share)), feature.text)).collect(),
        word: row.word().map(window::Word::name),
        owner: row.owner(),
    }
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// What analysts said of each detector of the pipeline.
fn said(pipeline: &Pipeline, found: &Found, period: Period) -> Vec<SaidOf> {
    let (now, ever) = (found.said(Some(period.from)), found.said(None));
    let counted = |of: &BTreeMap<String, Said>, name: &str| {
        let said = of.get(name).copied().unwrap_or_default();
        let Said { anomaly, false_alarm, unsure } = said;
        Counted { anomaly, false_alarm, unsure, precision: percent(said.precision()) }
    };
    if ever.is_empty() {
        return Vec::new();
    }
    let of = |(name, _): (&str, &str)| SaidOf {
        detector: name.to_owned(),
        now: counted(&now, name),
        ever: counted(&ever, name),
    };
    pipeline.detector_topics().map(of).collect()
}

fn exceptions(found: &Found, now: i64) -> List<Exception<'_>> {
    let in_force = found.exceptions(now).into_iter();
    List::of(in_force.map(|of| Exception {
        customer: of.customer,
        features: of.features.join(", "),
        until: moment(of.until),
        note: of.note,
        by: of.by,
        hides: grouped(of.hides as u64),
    }))
}

fn errors(found: &Found) -> Errors<'_> {
    let errors = found.errors();
    let mut by_reason: Vec<(&str, usize)> = errors.by_reason.into_iter().collect();
    by_reason.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Errors {
        messages: grouped(errors.messages as u64),
        left_out: some(errors.evicted),
        by_reason: List::of(by_reason.into_iter().map(|(reason, count)| (reason, grouped(count as u64)))),
    }
}

fn cancellations<'a>(pipeline: &Pipeline, cancelled: &'a Cancelled) -> Option<Cancellations<'a>> {
    let spec = pipeline.cancellations.as_ref()?;
    let most = cancelled.most(LISTED).into_iter();
    Some(Cancellations {
        windows: grouped(cancelled.len() as u64),
        window: format_span(spec.window),
        slide: format_span(spec.slide),
        most: most.map(|(start, end, count)| (grouped(count), start.to_owned(), end)).collect(),
    })
}

impl<T> List<T> {
    fn of(all: impl Iterator<Item = T>) -> Self {
        let mut first: Vec<T> = all.collect();
        let more = first.len().saturating_sub(LISTED);
        first.truncate(LISTED);
        Self { first, more }
    }
}

#[cfg(test)]
mod tests;
