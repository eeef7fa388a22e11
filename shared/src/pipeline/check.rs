//! From the file as written to the pipeline as meant: every name resolved, every value checked.

use std::collections::HashSet;
use std::sync::Arc;

use detectors::Algorithm;
use features::aggregates::Feature;
use features::history::RecordFeatures;
use records::schema::UnknownType;
use records::time::{DatetimeError, DatetimeFormats, Millis};

use super::checker::{Checker, MOST_OVERLAPPING};
use super::file::{
    AnyDetector, CancellationsSection, DetectorSection, EntitySection, FeatureSection, HistorySection, InputSection,
    PipelineFile, RangeEntry,
};
use super::{
    Cancellations, Clock, Column, ColumnType, Currency, DEFAULT_CALIBRATION_SHARE, DEFAULT_MIN_SHARE,
    DEFAULT_THRESHOLD, Definition, DetectorSpec, Entity, Fields, InputFormat, Pipeline, PipelineError, Reading,
    Records, Scaling, Schema, Scored, Sessions, VerdictSchema, ZScoreSpec, alerts, currency, definition, dialect,
    drift, fields, json, key, label, registry, zscore,
};

const DEFAULT_MAX_RECORD_BYTES: usize = 1 << 20;
const DEFAULT_REMEMBER: &str = "10m";
const DEFAULT_GRACE: &str = "25ms";
const DEFAULT_MAX_OPEN: usize = 1_000_000;
const DEFAULT_MAX_LINES: u64 = 100_000;
const DEFAULT_MAX_KEY_BYTES: usize = 1024;
const DEFAULT_MAX_STATE_BYTES: usize = 1 << 30;
const DEFAULT_MEMORY: Millis = 30 * 86_400_000;
const DEFAULT_AHEAD: Millis = 5 * 60_000;
const DEFAULT_IDLE_TIMEOUT: &str = "1s";

pub(super) fn check(file: PipelineFile, origin: &str) -> Result<Pipeline, PipelineError> {
    let checker = Checker { origin };
    checker.name("name", &file.name)?;
    let mut columns = checker.columns(&file.input)?;
    let (format, is_framed) = checker.format(file.input.format.as_deref())?;
    let json = json::check(&checker, &file.input, format, &mut columns)?;
    let registry = registry::check(&checker, file.input.registry.as_ref(), is_framed)?;
    let currency =
        file.currency.as_ref().map(|section| currency::check(&checker, section, &mut columns)).transpose()?;
    let label =
        file.label.as_ref().map(|section| label::check(&checker, section, &file.features, &mut columns)).transpose()?;
    if let Some(currency) = &currency {
        label::check_not_read(&checker, "[currency] column", currency.column, label.as_ref(), &columns)?;
        label::check_not_read(&checker, "[currency] amount", currency.amount, label.as_ref(), &columns)?;
        if let Some(original) = currency.original {
            label::check_not_read(&checker, "[currency] original", original, label.as_ref(), &columns)?;
        }
    }
    let (key, derived_key) = key::check(&checker, &file.entity, &mut columns)?;
    let key_parts = derived_key.as_ref().map_or_else(|| vec![key], |derived| derived.parts.clone());
    for &part in &key_parts {
        label::check_not_read(&checker, "[entity] key", part, label.as_ref(), &columns)?;
    }
    let entity = checker.entity(&file.entity, key, &columns)?;
    let fields = fields::check(&checker, &file.outputs.fields, &columns)?;
    let scored = checker.scored(&file, &entity, &fields, &columns)?;
    let readings = checker.readings(&file.features, &scored)?;
    if let Scored::Records(records) = &scored {
        for column in records.features.columns() {
            label::check_not_read(&checker, "[features]", column, label.as_ref(), &columns)?;
        }
    }
    let zscores = checker.zscores(&file.detectors, &scored, &columns, label.as_ref())?;
    let windowed = zscores.iter().flat_map(|spec| std::iter::once(spec.value).chain(spec.by));
    let needed = needed_columns(&scored).into_iter().chain(key_parts.iter().copied()).chain(windowed);
    let needed: Vec<usize> = needed.collect();
    if let Some(currency) = &currency {
        currency::check_not_compared(&checker, currency, &needed, &columns)?;
    }
    needed.into_iter().for_each(|index| columns[index].needed = true);
    let mut read = read_columns(&entity, &scored, currency.as_ref(), label.as_ref(), &zscores);
    read.extend(fields.columns());
    read.extend(&key_parts);
    columns.iter_mut().enumerate().for_each(|(index, column)| column.is_read = read.contains(&index));
    let max_key_bytes = checker.limit("[entity] max_key_bytes", file.entity.max_key_bytes, DEFAULT_MAX_KEY_BYTES)?;
    for index in naming_columns(&entity, &scored, &zscores).into_iter().chain(key_parts) {
        let column = &mut columns[index];
        column.max_bytes = (column.kind == ColumnType::Text).then_some(max_key_bytes);
    }
    let cancellations = match &file.cancellations {
        Some(section) => Some(checker.cancellations(section)?),
        None => None,
    };
    let detectors = checker.detectors(&file.detectors)?;
    let topic = checker.topic("[input] topic", &file.input.topic)?;
    let erroneous_topic = checker.topic("[outputs] erroneous", &file.outputs.erroneous)?;
    let schema = Schema {
        format,
        columns,
        csv: dialect::check(&checker, file.input.csv.as_ref(), format)?,
        json,
        schemas: is_framed.then(Arc::default),
        datetime_formats: checker.datetime_formats(&file.input)?,
        max_record_bytes: checker.limit(
            "[input] max_record_bytes",
            file.input.max_record_bytes,
            DEFAULT_MAX_RECORD_BYTES,
        )?,
        currency,
        key: derived_key,
    };
    let verdict_schema = match file.outputs.schema {
        Some(1) => VerdictSchema::V1,
        None | Some(2) => VerdictSchema::V2,
        Some(other) => return checker.error("[outputs] schema", format!("there is no version {other}: use 1 or 2")),
    };
    let verdicts_topic = file.outputs.verdicts.as_deref();
    let verdicts_topic = verdicts_topic.map(|topic| checker.topic("[outputs] verdicts", topic)).transpose()?;
    let channels = alerts::channels(&checker, &file.channels)?;
    let names = alerts::Names {
        channels: channels.iter().map(|channel| channel.name.as_str()).collect(),
        detectors: file.detectors.iter().map(AnyDetector::name).collect(),
        fields: fields.names().collect(),
        has_customer: file.entity.customer.is_some(),
    };
    let alerts = alerts::alerts(&checker, &file.alerts, &names)?;
    let drift = drift::check(&checker, file.drift.as_ref())?;
    let pipeline = Pipeline {
        definition: definition::of(&schema, &entity, &scored),
        meaning: Definition::new(&schema, &entity, &scored),
        name: file.name,
        ships: false,
        topic,
        registry,
        schema: Arc::new(schema),
        label,
        entity,
        cancellations,
        scored,
        detectors,
        zscores,
        readings,
        fields,
        erroneous_topic,
        verdicts_topic,
        verdict_schema,
        alerts,
        channels,
        drift,
    };
    checker.topics_differ(&pipeline)?;
    Ok(pipeline)
}

/// The columns without which a line has no place in its entity's features.
fn needed_columns(scored: &Scored) -> Vec<usize> {
    match scored {
        Scored::Sessions(sessions) => sessions.features.iter().flat_map(Feature::number_columns).collect(),
        Scored::Records(records) => records.features.columns(),
    }
}

/// The columns whose values anything reads. What stands in others does not matter.
fn read_columns(
    entity: &Entity,
    scored: &Scored,
    currency: Option<&Currency>,
    label: Option<&label::Label>,
    zscores: &[ZScoreSpec],
) -> HashSet<usize> {
    let mut read: HashSet<usize> = [entity.key].into_iter().chain(entity.event_time).chain(entity.customer).collect();
    read.extend(&entity.required);
    read.extend(currency.into_iter().flat_map(|currency| [currency.column, currency.amount]));
    read.extend(label.and_then(|label| label.column));
    read.extend(zscores.iter().flat_map(|spec| std::iter::once(spec.value).chain(spec.by)));
    match scored {
        Scored::Sessions(sessions) => read.extend(sessions.features.iter().flat_map(Feature::columns)),
        Scored::Records(records) => {
            read.extend(records.features.columns());
            read.extend(records.features.places());
            read.extend(records.features.relations().iter().map(|relation| relation.key));
        }
    }
    read
}

/// The columns whose texts are remembered or repeated in messages: those that name an entity, its customer or a key, and
/// those of which an entity keeps the first value, or every one.
fn naming_columns(entity: &Entity, scored: &Scored, zscores: &[ZScoreSpec]) -> Vec<usize> {
    let mut naming = vec![entity.key];
    naming.extend(entity.customer);
    naming.extend(&entity.required);
    naming.extend(zscores.iter().filter_map(|spec| spec.by));
    match scored {
        Scored::Records(records) => naming.extend(records.features.relations().iter().map(|relation| relation.key)),
        // Values are kept to be told apart.
        Scored::Sessions(sessions) => naming.extend(sessions.accumulated.iter().filter_map(Feature::distinct_column)),
    }
    naming
}

impl Checker<'_> {
    /// How records are written, and whether they name a schema.
    fn format(&self, format: Option<&str>) -> Result<(InputFormat, bool), PipelineError> {
        match format {
            None | Some("csv") => Ok((InputFormat::Csv, false)),
            Some("json") => Ok((InputFormat::Json, false)),
            Some("json-schema") => Ok((InputFormat::Json, true)),
            Some("avro") => Ok((InputFormat::Avro, true)),
            Some("protobuf") => Ok((InputFormat::Protobuf, true)),
            Some(other) => {
                const KNOWN: &str = "use \"csv\", \"json\", \"avro\", \"protobuf\" or \"json-schema\"";
                self.error("[input] format", format!("`{other}` is not supported: {KNOWN}"))
            }
        }
    }

    fn columns(&self, input: &InputSection) -> Result<Vec<Column>, PipelineError> {
        let read = |declared: &String| {
            declared.parse().map_err(|problem: UnknownType| self.invalid("[input] columns", problem.to_string()))
        };
        let mut columns: Vec<Column> = input.columns.iter().map(read).collect::<Result<_, _>>()?;
        if columns.is_empty() {
            return self.error("[input] columns", "at least one column is needed");
        }
        self.apply_aliases(input, &mut columns)?;
        self.apply_ranges(input, &mut columns)?;
        self.apply_missing(input, &mut columns)?;
        self.columns_differ(&columns)?;
        let has_dates = columns.iter().any(|column| column.kind == ColumnType::Datetime);
        // With a schema, dates may be written as such.
        let may_be_typed = matches!(input.format.as_deref(), Some("avro" | "protobuf"));
        if has_dates && input.datetime_formats.is_empty() && !may_be_typed {
            return self.error("[input] datetime_formats", "is needed, because a column is of type datetime");
        }
        Ok(columns)
    }

    fn datetime_formats(&self, input: &InputSection) -> Result<DatetimeFormats, PipelineError> {
        DatetimeFormats::read(&input.datetime_formats, input.timezone.as_deref()).map_err(|problem| {
            let key = match problem {
                DatetimeError::Format(_) => "datetime_formats",
                DatetimeError::Zone(_) => "timezone",
            };
            self.invalid(&format!("[input] {key}"), problem.to_string())
        })
    }

    fn apply_aliases(&self, input: &InputSection, columns: &mut [Column]) -> Result<(), PipelineError> {
        for (name, aliases) in &input.aliases {
            let index = self.resolve("[input.aliases]", name, columns)?;
            columns[index].aliases.clone_from(aliases);
        }
        Ok(())
    }

    fn apply_ranges(&self, input: &InputSection, columns: &mut [Column]) -> Result<(), PipelineError> {
        for (name, entry) in &input.ranges {
            let index = self.resolve("[input.ranges]", name, columns)?;
            if !matches!(columns[index].kind, ColumnType::Integer | ColumnType::Float) {
                return self.error("[input.ranges]", format!("`{name}` is not of type int or float"));
            }
            columns[index].range = self.range(name, entry)?;
        }
        Ok(())
    }

    fn apply_missing(&self, input: &InputSection, columns: &mut [Column]) -> Result<(), PipelineError> {
        for (name, &number) in &input.missing {
            let column = &mut columns[self.resolve("[input.missing]", name, columns)?];
            let problem = match column.kind {
                ColumnType::Text | ColumnType::Datetime => "is not of type int or float",
                ColumnType::Integer if number.fract() != 0.0 => "is of type int: use a whole number",
                _ if !number.is_finite() => "must be a number",
                _ if number < column.range.0 || number > column.range.1 => "must be in the column's range",
                _ => {
                    column.if_missing = Some(number);
                    continue;
                }
            };
            return self.error("[input.missing]", format!("`{name}` {problem}"));
        }
        Ok(())
    }

    /// The smallest and the largest valid number.
    fn range(&self, name: &str, entry: &RangeEntry) -> Result<(f64, f64), PipelineError> {
        let error = |problem: &str| self.error("[input.ranges]", format!("`{name}`: {problem}"));
        let max = entry.max.unwrap_or(f64::INFINITY);
        let least = match (entry.min, entry.above) {
            (Some(_), Some(_)) => return error("give min or above, not both: above leaves its own value out"),
            (None, Some(above)) if !above.is_finite() => return error("above must be a number"),
            (None, Some(above)) => above.next_up(),
            (min, None) => min.unwrap_or(f64::NEG_INFINITY),
        };
        match entry.above {
            Some(_) if max.is_nan() || least > max => error("above must be below max"),
            None if least.is_nan() || max.is_nan() || least > max => error("min must not be above max"),
            _ => Ok((least, max)),
        }
    }

    fn columns_differ(&self, columns: &[Column]) -> Result<(), PipelineError> {
        let mut seen = HashSet::new();
        for name in columns.iter().flat_map(|column| std::iter::once(&column.name).chain(&column.aliases)) {
            if name.is_empty() || !seen.insert(name) {
                return self.error("[input] columns", format!("the name or alias `{name}` is empty or stands twice"));
            }
        }
        Ok(())
    }

    /// Sessions where there is a gap that ends them, else records.
    fn scored(
        &self,
        file: &PipelineFile,
        entity: &Entity,
        fields: &Fields,
        columns: &[Column],
    ) -> Result<Scored, PipelineError> {
        let is_trained = file.detectors.iter().any(|detector| matches!(detector, AnyDetector::Trained(..)));
        if file.features.is_empty() && (is_trained || file.entity.session_gap.is_some()) {
            return self.error("[features]", "at least one feature is needed");
        }
        let section = &file.entity;
        match (&section.session_gap, &file.history) {
            (Some(_), Some(_)) => {
                self.error("[history]", "is for records that are scored one by one: remove it, or [entity] session_gap")
            }
            (Some(gap), None) => {
                let features = self.features(&file.features, columns)?;
                Ok(Scored::Sessions(Sessions {
                    gap: self.span("[entity] session_gap", gap)?,
                    max_open: self.limit("[entity] max_open", section.max_open, DEFAULT_MAX_OPEN)?,
                    max_lines: self.limit("[entity] max_lines", section.max_lines, DEFAULT_MAX_LINES)?,
                    accumulated: features.iter().chain(fields.numbers()).cloned().collect(),
                    features,
                }))
            }
            (None, history) => {
                let of_sessions = [
                    ("max_open", section.max_open.is_some()),
                    ("max_lines", section.max_lines.is_some()),
                    ("required", !section.required.is_empty()),
                ];
                if let Some((key, _)) = of_sessions.iter().find(|(_, is_there)| *is_there) {
                    let place = format!("[entity] {key}");
                    return self.error(&place, "is for entities of several lines, which end by a session_gap");
                }
                if file.cancellations.is_some() {
                    return self
                        .error("[cancellations]", "are of entities of several lines, which end by a session_gap");
                }
                self.records(&file.features, history.as_ref(), entity, columns)
            }
        }
    }

    fn records(
        &self,
        declared: &[FeatureSection],
        history: Option<&HistorySection>,
        entity: &Entity,
        columns: &[Column],
    ) -> Result<Scored, PipelineError> {
        let Some(time) = entity.event_time else {
            let problem = "a column of type datetime is needed: a record has its place in the past of its keys";
            return self.error("[input] columns", problem);
        };
        let span = |key: &str, text: Option<&String>, default: Millis| {
            text.map_or(Ok(default), |text| self.span(&format!("[history] {key}"), text))
        };
        let memory = span("memory", history.and_then(|section| section.memory.as_ref()), DEFAULT_MEMORY)?;
        let lateness = span("lateness", history.and_then(|section| section.lateness.as_ref()), 0)?;
        let ahead = span("ahead", history.and_then(|section| section.ahead.as_ref()), DEFAULT_AHEAD)?;
        let place = |name: &str| format!("[features] {name}");
        let problem = |name: &str, problem: String| self.invalid(&place(name), problem);
        let resolve = |name: &str, column: &str| self.resolve(&place(name), column, columns);
        let declared: Vec<(String, String)> =
            declared.iter().map(|section| (section.name.clone(), section.expression.clone())).collect();
        let features = RecordFeatures::read(&declared, columns, (time, memory, lateness), &resolve, &problem)?;
        Ok(Scored::Records(Records { features, ahead, hop: None }))
    }

    /// How each feature is read.
    fn readings(&self, declared: &[FeatureSection], scored: &Scored) -> Result<Vec<Reading>, PipelineError> {
        let readings: Vec<Reading> = match scored {
            Scored::Sessions(sessions) => sessions.features.iter().map(Reading::of_session).collect(),
            Scored::Records(records) => records.features.features().iter().map(Reading::of_record).collect(),
        };
        readings.into_iter().zip(declared).map(|(reading, section)| reading.with(self, section)).collect()
    }

    fn features(&self, declared: &[FeatureSection], columns: &[Column]) -> Result<Vec<Feature>, PipelineError> {
        let read = |FeatureSection { name, expression, .. }: &FeatureSection| {
            let place = format!("[features] {name}");
            let resolve = |column: &str| self.resolve(&place, column, columns);
            Feature::read(name, expression, columns, resolve, |problem| self.invalid(&place, problem))
        };
        declared.iter().map(read).collect()
    }

    fn entity(&self, section: &EntitySection, key: usize, columns: &[Column]) -> Result<Entity, PipelineError> {
        let event_time = columns.iter().position(|column| column.kind == ColumnType::Datetime);
        let clock = match section.clock.as_deref() {
            None | Some("record") => Clock::Record,
            Some(name) => Clock::Column(self.clock_column(name, columns)?),
        };
        let required = |name: &String| self.resolve("[entity] required", name, columns);
        Ok(Entity {
            key,
            remember: self.span("[entity] remember", section.remember.as_deref().unwrap_or(DEFAULT_REMEMBER))?,
            event_time: if let Clock::Column(column) = clock { Some(column) } else { event_time },
            clock,
            grace: self.span("[entity] grace", section.grace.as_deref().unwrap_or(DEFAULT_GRACE))?,
            ahead: match &section.ahead {
                Some(ahead) => Some(self.span("[entity] ahead", ahead)?),
                None => None,
            },
            required: section.required.iter().map(required).collect::<Result<_, _>>()?,
            customer: match &section.customer {
                Some(name) => Some(self.resolve("[entity] customer", name, columns)?),
                None => None,
            },
            max_state_bytes: self.limit(
                "[entity] max_state_bytes",
                section.max_state_bytes,
                DEFAULT_MAX_STATE_BYTES,
            )?,
        })
    }

    fn clock_column(&self, name: &str, columns: &[Column]) -> Result<usize, PipelineError> {
        let index = self.resolve("[entity] clock", name, columns)?;
        if columns[index].kind != ColumnType::Datetime {
            return self.error("[entity] clock", format!("`{name}` is not of type datetime; or use \"record\""));
        }
        Ok(index)
    }

    fn cancellations(&self, section: &CancellationsSection) -> Result<Cancellations, PipelineError> {
        if section.key_prefix.is_empty() {
            return self.error("[cancellations] key_prefix", "must not be empty: every key would be a cancellation");
        }
        let window = self.span("[cancellations] window", &section.window)?;
        let slide = self.span("[cancellations] slide", &section.slide)?;
        let idle_timeout = section.idle_timeout.as_deref().unwrap_or(DEFAULT_IDLE_TIMEOUT);
        if window % slide != 0 {
            return self.error("[cancellations] window", "must be a multiple of slide");
        }
        if window / slide > MOST_OVERLAPPING {
            return self.error("[cancellations] slide", format!("must be at least a {MOST_OVERLAPPING}th of window"));
        }
        Ok(Cancellations {
            key_prefix: section.key_prefix.clone(),
            window,
            slide,
            idle_timeout: self.span("[cancellations] idle_timeout", idle_timeout)?,
            topic: self.topic("[cancellations] topic", &section.topic)?,
        })
    }

    /// The detectors that are trained.
    fn detectors(&self, sections: &[AnyDetector]) -> Result<Vec<DetectorSpec>, PipelineError> {
        if sections.is_empty() {
            return self.error("[[detectors]]", "at least one detector is needed");
        }
        let mut seen = HashSet::new();
        if let Some(twice) = sections.iter().find(|section| !seen.insert(section.name())) {
            return self.error("[[detectors]] name", format!("`{}` stands twice", twice.name()));
        }
        let trained = sections.iter().filter_map(|section| match section {
            AnyDetector::Trained(section, algorithm) => Some(self.detector(section, algorithm)),
            AnyDetector::ZScore(_) => None,
        });
        trained.collect()
    }

    /// The detectors that need no training.
    fn zscores(
        &self,
        sections: &[AnyDetector],
        scored: &Scored,
        columns: &[Column],
        label: Option<&label::Label>,
    ) -> Result<Vec<ZScoreSpec>, PipelineError> {
        let windowed = sections.iter().filter_map(|section| match section {
            AnyDetector::Trained(..) => None,
            AnyDetector::ZScore(section) => Some(section),
        });
        let specs: Vec<ZScoreSpec> = windowed
            .map(|section| {
                self.detector_name(&section.name)?;
                zscore::check(self, section, scored, columns, label)
            })
            .collect::<Result<_, _>>()?;
        // Their state is told apart by a byte.
        if specs.len() > usize::from(u8::MAX) {
            return self.error("[[detectors]]", format!("at most {} may be of zscore-window", u8::MAX));
        }
        Ok(specs)
    }

    fn detector_name(&self, name: &str) -> Result<(), PipelineError> {
        self.name("[[detectors]] name", name)?;
        if name == "reports" {
            return self.error("[[detectors]] name", "`reports` is the folder of the reports: choose another name");
        }
        Ok(())
    }

    fn detector(&self, section: &DetectorSection, algorithm: &Algorithm) -> Result<DetectorSpec, PipelineError> {
        let place = |key: &str| format!("[[detectors]] {}: {key}", section.name);
        self.detector_name(&section.name)?;
        let threshold = section.threshold.unwrap_or(DEFAULT_THRESHOLD);
        if let Err(problem) = threshold.check() {
            return self.error(&place("threshold"), problem);
        }
        let per_cluster = section.threshold_per_cluster.unwrap_or(false);
        if per_cluster && algorithm.most_clusters().is_none() {
            let problem = format!("{} has no clusters: remove it", algorithm.name());
            return self.error(&place("threshold_per_cluster"), problem);
        }
        if per_cluster && threshold.needs_labels() {
            let problem = "is not for threshold = { cost = ... }, which is one for all clusters: remove it";
            return self.error(&place("threshold_per_cluster"), problem);
        }
        let calibration_share = section.calibration_share.unwrap_or(DEFAULT_CALIBRATION_SHARE);
        if !(calibration_share > 0.0 && calibration_share < 1.0) {
            return self.error(&place("calibration_share"), "must be between 0 and 1, such as 0.25");
        }
        let given = [
            ("calibration", section.calibration.is_some()),
            ("calibration_share", section.calibration_share.is_some()),
        ];
        if let Some((key, _)) = given.iter().find(|(_, is_given)| *is_given && !threshold.needs_calibration()) {
            let problem = "is for threshold = { false_alarm_rate = ... }, { trimmed_rate = ... } or { cost = ... }, which hold entities out: remove it";
            return self.error(&place(key), problem);
        }
        Ok(DetectorSpec {
            name: section.name.clone(),
            algorithm: algorithm.clone().or_min_share(DEFAULT_MIN_SHARE),
            scaling: section.scaling.unwrap_or(Scaling::Robust),
            threshold,
            per_cluster,
            calibration: section.calibration.unwrap_or_default(),
            calibration_share,
            topic: self.topic("[[detectors]] topic", &section.topic)?,
        })
    }

    fn topics_differ(&self, pipeline: &Pipeline) -> Result<(), PipelineError> {
        let mut seen = HashSet::from([pipeline.topic.as_str()]);
        match pipeline.output_topics().into_iter().find(|topic| !seen.insert(topic)) {
            Some(twice) => self.error("topics", format!("`{twice}` is used twice: every output needs its own topic")),
            None => Ok(()),
        }
    }
}
