//! The pipeline file as it is written: one struct a section, read key by key.

use std::collections::BTreeMap;

use detectors::scaler::Scaling;
use detectors::threshold::{HeldOut, ThresholdPolicy};
use detectors::{Algorithm, field_names};
use serde::de::{self, DeserializeOwned};
use toml::{Table, Value};

use super::PipelineError;

/// `[input]`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct InputSection {
    pub format: Option<String>,
    pub topic: String,
    pub columns: Vec<String>,
    pub csv: Option<CsvSection>,
    pub json: Option<JsonSection>,
    pub avro: Option<JsonSection>,
    pub protobuf: Option<JsonSection>,
    pub registry: Option<RegistrySection>,
    #[serde(default)]
    pub datetime_formats: Vec<String>,
    pub timezone: Option<String>,
    #[serde(default)]
    pub aliases: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub ranges: BTreeMap<String, RangeEntry>,
    #[serde(default)]
    pub missing: BTreeMap<String, f64>,
    pub max_record_bytes: Option<usize>,
}

/// `[input.csv]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CsvSection {
    pub delimiter: Option<String>,
    pub quote: Option<String>,
    pub comment: Option<String>,
    pub header: Option<bool>,
    pub encoding: Option<String>,
    pub decimal: Option<String>,
    pub thousands: Option<String>,
    pub currency_signs: Option<bool>,
    pub null: Option<Vec<String>>,
}

/// `[input.json]`, and the same for the other formats whose fields have names.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonSection {
    pub envelope: Option<String>,
    pub records: Option<String>,
    #[serde(default)]
    pub convert: Vec<String>,
    #[serde(default)]
    pub paths: BTreeMap<String, String>,
}

/// `[input.registry]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistrySection {
    pub url: Option<String>,
    pub user: Option<String>,
    pub password_file: Option<String>,
    pub password_env: Option<String>,
    pub ca_file: Option<String>,
    pub timeout: Option<String>,
    pub give_up_after: Option<String>,
}

/// The valid values of a number.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RangeEntry {
    pub min: Option<f64>,
    pub above: Option<f64>,
    pub max: Option<f64>,
}

/// `[currency]`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct CurrencySection {
    pub column: String,
    pub amount: String,
    pub original: Option<String>,
    pub base: String,
    #[serde(default)]
    pub rates: BTreeMap<String, f64>,
}

/// `[label]`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct LabelSection {
    pub column: Option<String>,
    pub header: Option<String>,
    pub normal: Option<Vec<String>>,
}

/// `[entity]`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct EntitySection {
    pub key: Option<KeyEntry>,
    pub session_gap: Option<String>,
    pub remember: Option<String>,
    pub clock: Option<String>,
    pub grace: Option<String>,
    pub ahead: Option<String>,
    #[serde(default)]
    pub required: Vec<String>,
    pub customer: Option<String>,
    pub max_open: Option<usize>,
    pub max_lines: Option<u64>,
    pub max_key_bytes: Option<usize>,
    pub max_state_bytes: Option<usize>,
}

/// One column, or several.
#[derive(Debug, serde::Deserialize)]
#[serde(
    untagged,
    expecting = "`key` must be the name of a column, or a list of names such as [\"store\", \"invoice\"]"
)]
pub(super) enum KeyEntry {
    One(String),
    Several(Vec<String>),
}

/// `[history]`.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct HistorySection {
    pub memory: Option<String>,
    pub lateness: Option<String>,
    pub ahead: Option<String>,
}

/// `[cancellations]`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct CancellationsSection {
    pub key_prefix: String,
    pub window: String,
    pub slide: String,
    pub idle_timeout: Option<String>,
    pub topic: String,
}

/// One of `[[detectors]]` that is trained: what all of them have, whatever the algorithm.
#[derive(Debug, serde::Deserialize)]
pub(super) struct DetectorSection {
    pub name: String,
    /// Read before the section is.
    #[serde(rename = "algorithm")]
    _algorithm: de::IgnoredAny,
    pub scaling: Option<Scaling>,
    pub threshold: Option<ThresholdPolicy>,
    pub threshold_per_cluster: Option<bool>,
    pub calibration: Option<HeldOut>,
    pub calibration_share: Option<f64>,
    pub topic: String,
}

/// One of `[[detectors]]` whose algorithm is `zscore-window`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct ZScoreSection {
    pub name: String,
    /// Known by the time that the section is read.
    #[serde(rename = "algorithm")]
    _algorithm: de::IgnoredAny,
    pub value: String,
    pub by: Option<String>,
    pub window: Option<String>,
    pub slide: Option<String>,
    pub watermark: Option<String>,
    pub threshold: Option<f64>,
    pub robust: Option<bool>,
    pub min_count: Option<u64>,
    pub label: Option<String>,
    pub unit: Option<String>,
    pub topic: String,
}

/// One of `[[detectors]]`: what its keys are depends on its algorithm.
#[derive(Debug)]
pub(super) enum AnyDetector {
    Trained(DetectorSection, Algorithm),
    ZScore(ZScoreSection),
}

impl AnyDetector {
    pub fn name(&self) -> &str {
        match self {
            Self::Trained(section, _) => &section.name,
            Self::ZScore(section) => &section.name,
        }
    }
}

/// The algorithm that needs no training.
const ZSCORE_WINDOW: &str = "zscore-window";

/// `[outputs]`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct OutputsSection {
    pub erroneous: String,
    pub verdicts: Option<String>,
    pub schema: Option<u32>,
    #[serde(default)]
    pub fields: Vec<String>,
}

/// One of `[features]`: an expression, or a section with what it is called.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct FeatureSection {
    /// Its key in the file.
    #[serde(skip)]
    pub name: String,
    pub expression: String,
    pub label: Option<String>,
    pub unit: Option<String>,
    pub reading: Option<String>,
}

/// One of `[[alerts]]`. Which keys it may have depends on `when`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct AlertSection {
    pub name: String,
    pub when: Option<String>,
    pub severity: Option<String>,
    pub detectors: Option<Vec<String>>,
    pub count: Option<u32>,
    pub window: Option<String>,
    pub above: Option<f64>,
    pub min_records: Option<u64>,
    pub records: Option<u64>,
    pub age: Option<String>,
    pub lasting: Option<String>,
    #[serde(default)]
    pub group_by: Vec<String>,
    pub throttle: Option<String>,
    pub repeat: Option<String>,
    pub resolve_after: Option<String>,
    pub channels: Vec<String>,
}

/// `[drift]`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct DriftSection {
    pub alpha: Option<f64>,
    pub window: Option<u64>,
}

/// One of `[[channels]]`. Which keys it may have depends on `type`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct ChannelSection {
    pub name: String,
    pub r#type: String,
    pub url: Option<String>,
    pub secret: Option<String>,
    pub server: Option<String>,
    pub security: Option<String>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub from: Option<String>,
    pub to: Option<Vec<String>>,
    pub topic: Option<String>,
    pub title: Option<String>,
    pub text: Option<String>,
    pub timeout: Option<String>,
}

/// The whole file.
#[derive(Debug)]
pub(super) struct PipelineFile {
    pub name: String,
    pub input: InputSection,
    pub currency: Option<CurrencySection>,
    pub label: Option<LabelSection>,
    pub entity: EntitySection,
    pub history: Option<HistorySection>,
    pub cancellations: Option<CancellationsSection>,
    pub features: Vec<FeatureSection>,
    pub detectors: Vec<AnyDetector>,
    pub outputs: OutputsSection,
    pub alerts: Vec<AlertSection>,
    pub channels: Vec<ChannelSection>,
    pub drift: Option<DriftSection>,
}

/// The top of the file: only its keys' names are used.
#[derive(serde::Deserialize)]
struct TopLevel {
    #[serde(rename = "name")]
    _name: de::IgnoredAny,
    #[serde(rename = "input")]
    _input: de::IgnoredAny,
    #[serde(rename = "currency")]
    _currency: Option<de::IgnoredAny>,
    #[serde(rename = "label")]
    _label: Option<de::IgnoredAny>,
    #[serde(rename = "entity")]
    _entity: de::IgnoredAny,
    #[serde(rename = "history")]
    _history: Option<de::IgnoredAny>,
    #[serde(rename = "cancellations")]
    _cancellations: Option<de::IgnoredAny>,
    #[serde(rename = "features")]
    _features: de::IgnoredAny,
    #[serde(rename = "detectors")]
    _detectors: de::IgnoredAny,
    #[serde(rename = "outputs")]
    _outputs: de::IgnoredAny,
    #[serde(rename = "alerts")]
    _alerts: Option<de::IgnoredAny>,
    #[serde(rename = "channels")]
    _channels: Option<de::IgnoredAny>,
    #[serde(rename = "drift")]
    _drift: Option<de::IgnoredAny>,
}

pub(super) fn read(text: &str, origin: &str) -> Result<PipelineFile, PipelineError> {
    let mut top: Table = text.parse().map_err(|error: toml::de::Error| PipelineError::Syntax {
        origin: origin.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })?;
    let reader = SectionReader { origin };
    reader.known_keys::<TopLevel>(&top, "the file")?;
    let name = match top.remove("name") {
        Some(Value::String(name)) => name,
        _ => return Err(reader.invalid("name", "must be a text, such as name = \"invoices\"")),
    };
    Ok(PipelineFile {
        name,
        input: reader.required(&mut top, "input")?,
        currency: reader.optional(&mut top, "currency")?,
        label: reader.optional(&mut top, "label")?,
        entity: reader.required(&mut top, "entity")?,
        history: reader.optional(&mut top, "history")?,
        cancellations: reader.optional(&mut top, "cancellations")?,
        features: reader.features(&mut top)?,
        detectors: reader.detectors(&mut top)?,
        outputs: reader.required(&mut top, "outputs")?,
        alerts: reader.several(&mut top, "alerts")?,
        channels: reader.several(&mut top, "channels")?,
        drift: reader.optional(&mut top, "drift")?,
    })
}

struct SectionReader<'a> {
    origin: &'a str,
}

impl SectionReader<'_> {
    fn required<T: DeserializeOwned>(&self, top: &mut Table, name: &str) -> Result<T, PipelineError> {
        let value = top.remove(name).ok_or_else(|| self.invalid(&format!("[{name}]"), "this section is missing"))?;
        self.section(value, &format!("[{name}]"))
    }

    fn optional<T: DeserializeOwned>(&self, top: &mut Table, name: &str) -> Result<Option<T>, PipelineError> {
        top.remove(name).map(|value| self.section(value, &format!("[{name}]"))).transpose()
    }

    /// Sections of the same name; none where there is none.
    fn several<T: DeserializeOwned>(&self, top: &mut Table, name: &str) -> Result<Vec<T>, PipelineError> {
        let values = match top.remove(name) {
            Some(Value::Array(values)) => values,
            Some(_) => {
                return Err(
                    self.invalid(&format!("[[{name}]]"), "is written with two brackets: it may stand several times")
                );
            }
            None => Vec::new(),
        };
        let place = |index: usize| format!("[[{name}]] number {}", index + 1);
        values.into_iter().enumerate().map(|(index, value)| self.section(value, &place(index))).collect()
    }

    fn section<T: DeserializeOwned>(&self, value: Value, place: &str) -> Result<T, PipelineError> {
        let Value::Table(table) = value else {
            return Err(self.invalid(place, "must be a section with keys"));
        };
        self.known_keys::<T>(&table, place)?;
        table.try_into().map_err(|error: toml::de::Error| self.invalid(place, error.message().trim_end()))
    }

    /// None where the section is not there: whether any is needed depends on the detectors.
    fn features(&self, top: &mut Table) -> Result<Vec<FeatureSection>, PipelineError> {
        let table = match top.remove("features") {
            Some(Value::Table(table)) => table,
            Some(_) => return Err(self.invalid("[features]", "must be a section with keys")),
            None => Table::new(),
        };
        let feature = |(name, value)| {
            match value {
            Value::String(expression) => Ok(FeatureSection { name, expression, ..FeatureSection::default() }),
            Value::Table(_) => {
                let section: FeatureSection = self.section(value, &format!("[features.{name}]"))?;
                Ok(FeatureSection { name, ..section })
            }
            _ => Err(self.invalid(
                &format!("[features] {name}"),
                "must be an expression in quotes, such as \"mean(UnitPrice)\", or { expression = \"mean(UnitPrice)\", label = \
                 \"average price\" }",
            )),
        }
        };
        table.into_iter().map(feature).collect()
    }

    fn detectors(&self, top: &mut Table) -> Result<Vec<AnyDetector>, PipelineError> {
        let Some(Value::Array(detectors)) = top.remove("detectors") else {
            return Err(self.invalid("[[detectors]]", "at least one detector is needed"));
        };
        let place = |index: usize| format!("[[detectors]] number {}", index + 1);
        detectors.into_iter().enumerate().map(|(index, value)| self.detector(value, &place(index))).collect()
    }

    fn detector(&self, value: Value, place: &str) -> Result<AnyDetector, PipelineError> {
        let Value::Table(mut table) = value else {
            return Err(self.invalid(place, "must be a section with keys"));
        };
        let algorithm = self.algorithm(&table, place)?;
        let threshold = table.get("threshold");
        if algorithm == ZSCORE_WINDOW {
            self.own_keys(&table, place, ZSCORE_WINDOW, field_names::<ZScoreSection>())?;
            if threshold.is_some_and(Value::is_table) {
                let problem = "must be a number of standard deviations, such as 3.0, for zscore-window";
                return Err(self.invalid(&format!("{place}: threshold"), problem));
            }
            return Ok(AnyDetector::ZScore(self.section(Value::Table(table), place)?));
        }
        let parameters = Algorithm::parameter_names(&algorithm).unwrap_or_default();
        let common = field_names::<DetectorSection>();
        self.own_keys(&table, place, &algorithm, &[common, parameters].concat())?;
        if threshold.is_some_and(|value| value.is_float() || value.is_integer()) {
            let problem = "must be { quantile = 0.99 }, { top = 2000 } or { false_alarm_rate = 0.001 }: a plain number is \
                           for zscore-window";
            return Err(self.invalid(&format!("{place}: threshold"), problem));
        }
        let own: Table = parameters.iter().filter_map(|&key| Some((key.to_owned(), table.remove(key)?))).collect();
        let algorithm = self.parameters(&algorithm, own, place)?;
        Ok(AnyDetector::Trained(self.section(Value::Table(table), place)?, algorithm))
    }

    /// The name of the algorithm, which is one that there is.
    fn algorithm(&self, table: &Table, place: &str) -> Result<String, PipelineError> {
        let known = [Algorithm::NAMES, Algorithm::LABELLED_NAMES, &[ZSCORE_WINDOW]].concat();
        match table.get("algorithm") {
            Some(Value::String(name)) if known.contains(&name.as_str()) => Ok(name.clone()),
            Some(Value::String(name)) => {
                let hint = nearest(name, &known).map_or_else(
                    || format!("the algorithms are {}", known.join(", ")),
                    |nearest| format!("did you mean `{nearest}`?"),
                );
                Err(self.invalid(&format!("{place}: algorithm"), &format!("`{name}` is no algorithm; {hint}")))
            }
            Some(_) => Err(self.invalid(&format!("{place}: algorithm"), "must be a text, such as \"kmeans\"")),
            None => Err(self.invalid(place, "missing field `algorithm`")),
        }
    }

    /// An algorithm with these of its parameters.
    fn parameters(&self, algorithm: &str, mut own: Table, place: &str) -> Result<Algorithm, PipelineError> {
        own.insert("algorithm".to_owned(), Value::String(algorithm.to_owned()));
        let parameters: Result<Algorithm, toml::de::Error> = own.try_into();
        let parameters = parameters.map_err(|error| self.invalid(place, error.message().trim_end()))?;
        parameters.check().map_err(|problem| self.invalid(place, &problem))?;
        Ok(parameters)
    }

    /// Fails at a key that is not among those of the algorithm, and says whose it is where it is another's.
    fn own_keys(&self, table: &Table, place: &str, algorithm: &str, own: &[&str]) -> Result<(), PipelineError> {
        let Some(key) = table.keys().find(|key| !own.contains(&key.as_str())) else { return Ok(()) };
        let has = |names: &[&str]| names.contains(&key.as_str());
        let trained = Algorithm::NAMES.iter().chain(Algorithm::LABELLED_NAMES);
        let mut owners: Vec<&str> =
            trained.copied().filter(|name| Algorithm::parameter_names(name).is_some_and(has)).collect();
        if has(field_names::<DetectorSection>()) {
            owners = vec!["detectors that are trained"];
        } else if has(field_names::<ZScoreSection>()) {
            owners.push(ZSCORE_WINDOW);
        }
        if owners.is_empty() {
            return Err(PipelineError::UnknownKey {
                origin: self.origin.to_owned(),
                section: place.to_owned(),
                key: key.clone(),
                nearest: nearest(key, own),
            });
        }
        let problem = format!("is a key of {}: {algorithm} has {}", owners.join(", "), own.join(", "));
        Err(self.invalid(&format!("{place}: {key}"), &problem))
    }

    fn known_keys<T: DeserializeOwned>(&self, table: &Table, section: &str) -> Result<(), PipelineError> {
        let known = field_names::<T>();
        match table.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(PipelineError::UnknownKey {
                origin: self.origin.to_owned(),
                section: section.to_owned(),
                key: key.clone(),
                nearest: nearest(key, known),
            }),
        }
    }

    fn invalid(&self, place: &str, problem: &str) -> PipelineError {
        PipelineError::Invalid { origin: self.origin.to_owned(), place: place.to_owned(), problem: problem.to_owned() }
    }
}

/// The name in `known` that is most like `word`, when one is alike at all.
pub(super) fn nearest<S: AsRef<str>>(word: &str, known: &[S]) -> Option<String> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(&word.to_lowercase(), &name.as_ref().to_lowercase()), name.as_ref()))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}
