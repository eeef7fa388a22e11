//! `algorithm = "zscore-window"`: a detector that needs no training, because it compares each record with the others of its
//! time.

use records::time::{Millis, format_span};

use super::checker::{Checker, MOST_OVERLAPPING};
use super::file::ZScoreSection;
use super::reading::{Reading, words};
use super::{Column, ColumnType, Label, PipelineError, Scored, label};
use crate::fingerprint::fingerprint;

const DEFAULT_WINDOW: Millis = 60_000;
const DEFAULT_SLIDE: Millis = 30_000;
const DEFAULT_WATERMARK: Millis = 5 * 60_000;
const DEFAULT_THRESHOLD: f64 = 3.0;

/// A detector that compares each record with the others of its windows.
#[derive(Debug, Clone, PartialEq)]
pub struct ZScoreSpec {
    /// Its name: the `detector` of its verdicts.
    pub name: String,
    /// Index of the number column that is judged.
    pub value: usize,
    /// Index of the text column whose values have windows of their own; without one, all records of a partition share them.
    pub by: Option<usize>,
    /// How long a window is, in milliseconds: a multiple of `slide`.
    pub window: Millis,
    /// How far apart windows begin, in milliseconds, counted from 1970-01-01.
    pub slide: Millis,
    /// How far past its end the clock is when a window is judged, in milliseconds.
    pub watermark: Millis,
    /// A record is anomalous when it is more than this many standard deviations from the mean.
    pub threshold: f32,
    /// Whether the median and the median absolute deviation stand in for mean and standard deviation.
    pub is_robust: bool,
    /// A window with fewer records judges nobody.
    pub min_count: u64,
    /// How its value is read.
    pub reading: Reading,
    /// The name of the column that is judged.
    pub value_name: String,
    /// The name of the column whose values have windows of their own.
    pub by_name: Option<String>,
    /// Where its anomalies are published.
    pub topic: String,
    /// Hash of all that its verdicts depend on: 8 hexadecimal digits.
    pub version: String,
}

impl ZScoreSpec {
    /// How many windows hold a record.
    pub fn overlapping(&self) -> usize {
        (self.window / self.slide) as usize
    }

    /// What the state of its windows depends on.
    pub(super) fn layout(&self, columns: &[Column]) -> String {
        let by = self.by.map_or_else(String::new, |by| format!(" by {}", columns[by].name));
        let robust = if self.is_robust { " robust" } else { "" };
        let (window, slide) = (self.window, self.slide);
        format!("windows {} of {}{by}{robust} over {window} ms every {slide} ms", self.name, columns[self.value].name)
    }
}

pub(super) fn check(
    checker: &Checker<'_>,
    section: &ZScoreSection,
    scored: &Scored,
    columns: &[Column],
    label: Option<&Label>,
) -> Result<ZScoreSpec, PipelineError> {
    let place = |key: &str| section.place(key);
    let Scored::Records(records) = scored else {
        return checker.error(
            &place("algorithm"),
            "zscore-window judges records one by one: remove the detector, or [entity] session_gap",
        );
    };
    let (value, by) = check_columns(checker, section, columns, label)?;
    let spans = check_spans(checker, section, records.features.lateness())?;
    let threshold = section.threshold.unwrap_or(DEFAULT_THRESHOLD);
    if !(threshold >= 0.0 && threshold.is_finite()) {
        return checker.error(&place("threshold"), "must not be negative: it is a number of standard deviations");
    }
    let spec = ZScoreSpec {
        name: section.name.clone(),
        value,
        by,
        window: spans.window,
        slide: spans.slide,
        watermark: spans.watermark,
        threshold: threshold as f32,
        is_robust: section.robust.unwrap_or(false),
        min_count: checker.limit(&place("min_count"), section.min_count, 1)?,
        reading: Reading::of_number(
            words(checker, &place("label"), section.label.as_ref())?,
            words(checker, &place("unit"), section.unit.as_ref())?,
        ),
        value_name: columns[value].name.clone(),
        by_name: by.map(|by| columns[by].name.clone()),
        topic: checker.topic("[[detectors]] topic", &section.topic)?,
        version: String::new(),
    };
    let settings = format!(
        "{}\nwatermark {} ms\nthreshold {}\nmin_count {}",
        spec.layout(columns),
        spec.watermark,
        spec.threshold,
        spec.min_count
    );
    Ok(ZScoreSpec { version: fingerprint(settings.as_bytes())[..8].to_owned(), ..spec })
}

impl ZScoreSection {
    /// Where a key stands, for messages.
    fn place(&self, key: &str) -> String {
        format!("[[detectors]] {}: {key}", self.name)
    }
}

/// The column that is compared, and the one whose values each have windows of their own.
fn check_columns(
    checker: &Checker<'_>,
    section: &ZScoreSection,
    columns: &[Column],
    label: Option<&Label>,
) -> Result<(usize, Option<usize>), PipelineError> {
    let place = |key: &str| section.place(key);
    let value = checker.resolve(&place("value"), &section.value, columns)?;
    if !matches!(columns[value].kind, ColumnType::Integer | ColumnType::Float) {
        return checker.error(&place("value"), format!("`{}` is not of type int or float", section.value));
    }
    let by = match &section.by {
        Some(name) => Some(checker.resolve(&place("by"), name, columns)?),
        None => None,
    };
    if let Some(by) = by.filter(|&by| columns[by].kind != ColumnType::Text) {
        return checker.error(&place("by"), format!("`{}` must be a text column", columns[by].name));
    }
    for (key, column) in [("value", Some(value)), ("by", by)] {
        if let Some(column) = column {
            label::check_not_read(checker, &place(key), column, label, columns)?;
        }
    }
    Ok((value, by))
}

struct Spans {
    window: Millis,
    slide: Millis,
    watermark: Millis,
}

fn check_spans(checker: &Checker<'_>, section: &ZScoreSection, lateness: Millis) -> Result<Spans, PipelineError> {
    let place = |key: &str| section.place(key);
    let span = |key: &str, text: Option<&String>, default: Millis| {
        text.map_or(Ok(default), |text| checker.span(&place(key), text))
    };
    let window = span("window", section.window.as_ref(), DEFAULT_WINDOW)?;
    let slide = span("slide", section.slide.as_ref(), DEFAULT_SLIDE)?;
    let watermark = span("watermark", section.watermark.as_ref(), DEFAULT_WATERMARK)?;
    if window % slide != 0 {
        return checker.error(
            &place("window"),
            format!("{} must be a multiple of slide, {}", format_span(window), format_span(slide)),
        );
    }
    if window / slide > MOST_OVERLAPPING {
        return checker.error(&place("slide"), format!("must be at least a {MOST_OVERLAPPING}th of window"));
    }
    if watermark < lateness {
        let problem = format!(
            "{} must not be less than [history] lateness, {}: records would come too late for their windows",
            format_span(watermark),
            format_span(lateness)
        );
        return checker.error(&place("watermark"), problem);
    }
    Ok(Spans { window, slide, watermark })
}

#[cfg(test)]
mod tests {
    use crate::pipeline::Pipeline;

    const DETECTOR: &str = r#"algorithm = "zscore-window", value = "amount", topic = "z""#;

    fn read(detector: &str, more: &str) -> Result<Pipeline, String> {
        let text = format!(
            r#"
            name = "small"
            input = {{ topic = "in", columns = ["id", "user", "amount:float", "kind?", "at:datetime"], datetime_formats = ["rfc3339"] }}
            detectors = [{{ name = "z", {detector} }}]
            outputs.erroneous = "bad"
            {more}
            "#
        );
        let text = if more.contains("entity") { text } else { format!("{text}\nentity = {{ key = \"id\" }}") };
        Pipeline::parse(&text, "small.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn a_pipeline_may_have_nothing_else() {
        let pipeline = read(&format!("{DETECTOR}, by = \"user\", threshold = 3"), "").unwrap();
        assert!(pipeline.detectors.is_empty() && pipeline.n_features() == 0);
        let spec = &pipeline.zscores[0];
        assert_eq!((spec.value, spec.by, spec.threshold, spec.min_count, spec.overlapping()), (2, Some(1), 3.0, 1, 2));
        assert_eq!((pipeline.placed_by(), pipeline.sees_all().is_some()), (vec![1], false));
        assert!(pipeline.schema.columns[1].needed && pipeline.schema.columns[2].needed);
        assert_eq!(pipeline.output_topics(), ["bad", "z"]);
        assert!(read(DETECTOR, "").unwrap().sees_all().is_some());
    }

    #[test]
    fn a_version_is_that_of_the_settings() {
        let version = |more: &str| read(&format!("{DETECTOR}{more}"), "").unwrap().zscores[0].version.clone();
        assert_eq!(version(""), version(", window = \"60s\""));
        for more in
            [", by = \"user\"", ", threshold = 2.5", ", robust = true", ", min_count = 9", ", watermark = \"1s\""]
        {
            assert_ne!(version(more), version(""), "{more}");
        }
    }

    #[test]
    fn each_mistake_is_one_sentence() {
        let kmeans = r#"algorithm = "kmeans", topic = "z""#;
        let with = |more: &str| format!("{DETECTOR}, {more}");
        let cases = [
            (
                with("k = 3"),
                "",
                "[[detectors]] number 1: k: is a key of kmeans, bisecting-kmeans, knn, lesinn, lof: zscore-window has name, algorithm, value, by",
            ),
            (with("n_init = 3"), "", "number 1: n_init: is a key of kmeans, bisecting-kmeans"),
            (with("windw = \"1m\""), "", "unknown key `windw` in [[detectors]] number 1; did you mean `window`?"),
            (
                with("threshold = { quantile = 0.99 }"),
                "",
                "number 1: threshold: must be a number of standard deviations, such as 3.0",
            ),
            (
                format!("{kmeans}, threshold = 3.0"),
                "",
                "number 1: threshold: must be { quantile = 0.99 }, { top = 2000 } or { false_alarm_rate = 0.001 }: a plain number",
            ),
            (
                format!("{kmeans}, window = \"1m\""),
                "",
                "number 1: window: is a key of zscore-window: kmeans has name, ",
            ),
            (
                kmeans.replace("kmeans", "zscore"),
                "",
                "number 1: algorithm: `zscore` is no algorithm; did you mean `zscore-window`?",
            ),
            (DETECTOR.replace("value = \"amount\", ", ""), "", "number 1: missing field `value`"),
            (
                DETECTOR.replace("\"amount\"", "\"amout\""),
                "",
                "z: value: there is no column `amout`; did you mean `amount`?",
            ),
            (DETECTOR.replace("\"amount\"", "\"user\""), "", "z: value: `user` is not of type int or float"),
            (with("by = \"amount\""), "", "z: by: `amount` must be a text column"),
            (with("by = \"kind\""), "label = { column = \"kind\" }", "z: by: `kind` is the column of [label]"),
            (with("window = \"45s\""), "", "z: window: 45s must be a multiple of slide, 30s"),
            (with("slide = \"1ms\""), "", "z: slide: must be at least a 1000th of window"),
            (
                with("watermark = \"1s\""),
                "history = { lateness = \"2s\" }",
                "z: watermark: 1s must not be less than [history] lateness, 2s",
            ),
            (with("watermark = \"soon\""), "", "z: watermark: `soon` is not a span of time above zero"),
            (with("threshold = -1"), "", "z: threshold: must not be negative"),
            (with("min_count = 0"), "", "z: min_count: must be above 0"),
            (DETECTOR.replace("topic = \"z\"", "topic = \"in\""), "", "topics: `in` is used twice"),
            (kmeans.to_owned(), "", "[features]: at least one feature is needed"),
            (
                DETECTOR.to_owned(),
                "entity = { key = \"id\", session_gap = \"1m\" }\nfeatures = { n = \"count()\" }",
                "z: algorithm: zscore-window judges records one by one",
            ),
        ];
        for (detector, more, expected) in cases {
            let found = read(&detector, more).expect_err(&detector);
            assert!(found.starts_with("small.toml: ") && found.contains(expected), "{found}\n  should say: {expected}");
            assert_eq!(found.lines().count(), 1, "{found}");
        }
    }
}
