//! The pipeline file as it is written: one struct a section, read key by key.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::value::{Error as ValueError, MapDeserializer};
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};
use toml::{Table, Value};

use super::PipelineError;

/// How a detector is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Lloyd's k-means.
    #[serde(rename = "kmeans")]
    KMeans,
    /// Bisecting k-means.
    BisectingKmeans,
}

/// How features are scaled before distances are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// Centred, in the features' own units.
    None,
    /// Mean 0, standard deviation 1.
    Standard,
    /// Median 0, interquartile range 1.
    Robust,
}

/// How many clusters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, serde::Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "must be a number of clusters, or { elbow = 0.7, max = 20 }")]
pub enum KSelection {
    /// This many.
    Fixed(usize),
    /// The first k whose cost is more than `elbow` times the cost of k - 1, else `max`.
    Elbow {
        /// The ratio, between 0 and 1.
        elbow: f64,
        /// The largest k that is tried.
        max: usize,
    },
}

impl KSelection {
    /// The largest number of clusters that is tried.
    pub fn largest(self) -> usize {
        match self {
            Self::Fixed(k) => k,
            Self::Elbow { max, .. } => max,
        }
    }
}

/// From which score on an entity is anomalous.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ThresholdPolicy {
    /// The score that this share of the training entities does not exceed.
    Quantile(f64),
    /// The n-th largest training score.
    Top(usize),
}

/// `[input]`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct InputSection {
    pub format: Option<String>,
    pub topic: String,
    pub columns: Vec<String>,
    #[serde(default)]
    pub datetime_formats: Vec<String>,
    #[serde(default)]
    pub aliases: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub ranges: BTreeMap<String, RangeEntry>,
    pub max_record_bytes: Option<usize>,
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
    pub key: String,
    pub session_gap: Option<String>,
    pub remember: Option<String>,
    pub clock: Option<String>,
    #[serde(default)]
    pub required: Vec<String>,
    pub customer: Option<String>,
    pub max_open: Option<usize>,
    pub max_lines: Option<u64>,
    pub max_state_bytes: Option<usize>,
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

/// One of `[[detectors]]`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct DetectorSection {
    pub name: String,
    pub algorithm: Algorithm,
    pub scaling: Option<Scaling>,
    pub k: Option<KSelection>,
    pub threshold: Option<ThresholdPolicy>,
    pub topic: String,
    pub n_init: Option<usize>,
    pub max_iter: Option<usize>,
    pub tol: Option<f64>,
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
    pub topic: String,
}

/// One of `[[detectors]]`: what its keys are depends on its algorithm.
#[derive(Debug)]
pub(super) enum AnyDetector {
    Trained(DetectorSection),
    ZScore(ZScoreSection),
}

impl AnyDetector {
    pub fn name(&self) -> &str {
        match self {
            Self::Trained(section) => &section.name,
            Self::ZScore(section) => &section.name,
        }
    }
}

/// Every algorithm that a detector may have, trained or not.
#[derive(Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AnyAlgorithm {
    #[serde(rename = "kmeans")]
    KMeans,
    BisectingKmeans,
    ZscoreWindow,
}

/// `[outputs]`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct OutputsSection {
    pub erroneous: String,
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
    pub features: Vec<(String, String)>,
    pub detectors: Vec<AnyDetector>,
    pub outputs: OutputsSection,
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

    fn section<T: DeserializeOwned>(&self, value: Value, place: &str) -> Result<T, PipelineError> {
        let Value::Table(table) = value else {
            return Err(self.invalid(place, "must be a section with keys"));
        };
        self.known_keys::<T>(&table, place)?;
        table.try_into().map_err(|error: toml::de::Error| self.invalid(place, error.message().trim_end()))
    }

    /// None where the section is not there: whether any is needed depends on the detectors.
    fn features(&self, top: &mut Table) -> Result<Vec<(String, String)>, PipelineError> {
        let table = match top.remove("features") {
            Some(Value::Table(table)) => table,
            Some(_) => return Err(self.invalid("[features]", "must be a section with keys")),
            None => Table::new(),
        };
        let text = |(name, value)| match value {
            Value::String(expression) => Ok((name, expression)),
            _ => Err(self.invalid(
                &format!("[features] {name}"),
                "must be an expression in quotes, such as \"mean(UnitPrice)\"",
            )),
        };
        table.into_iter().map(text).collect()
    }

    fn detectors(&self, top: &mut Table) -> Result<Vec<AnyDetector>, PipelineError> {
        let Some(Value::Array(detectors)) = top.remove("detectors") else {
            return Err(self.invalid("[[detectors]]", "at least one detector is needed"));
        };
        let place = |index: usize| format!("[[detectors]] number {}", index + 1);
        detectors.into_iter().enumerate().map(|(index, value)| self.detector(value, &place(index))).collect()
    }

    fn detector(&self, value: Value, place: &str) -> Result<AnyDetector, PipelineError> {
        let Value::Table(table) = &value else {
            return Err(self.invalid(place, "must be a section with keys"));
        };
        let algorithm = table.get("algorithm").cloned().map(AnyAlgorithm::deserialize).transpose();
        let algorithm = algorithm.map_err(|error| self.invalid(place, error.message().trim_end()))?;
        if algorithm == Some(AnyAlgorithm::ZscoreWindow) {
            self.own_keys::<ZScoreSection, DetectorSection>(
                table,
                place,
                "of detectors that are trained: zscore-window",
            )?;
            if table.get("threshold").is_some_and(Value::is_table) {
                let problem = "must be a number of standard deviations, such as 3.0, for zscore-window";
                return Err(self.invalid(&format!("{place}: threshold"), problem));
            }
            return Ok(AnyDetector::ZScore(self.section(value, place)?));
        }
        // Without an algorithm the keys are those of most detectors, and that it is missing is said with them.
        self.own_keys::<DetectorSection, ZScoreSection>(table, place, "of zscore-window: a detector that is trained")?;
        if table.get("threshold").is_some_and(|value| value.is_float() || value.is_integer()) {
            let problem = "must be { quantile = 0.99 } or { top = 2000 }: a plain number is for zscore-window";
            return Err(self.invalid(&format!("{place}: threshold"), problem));
        }
        Ok(AnyDetector::Trained(self.section(value, place)?))
    }

    /// Fails at a key that only `Other` knows, saying whose it is.
    fn own_keys<T: DeserializeOwned, Other: DeserializeOwned>(
        &self,
        table: &Table,
        place: &str,
        whose: &str,
    ) -> Result<(), PipelineError> {
        let (own, others) = (field_names::<T>(), field_names::<Other>());
        let is_other = |key: &&String| !own.contains(&key.as_str()) && others.contains(&key.as_str());
        match table.keys().find(is_other) {
            None => Ok(()),
            Some(key) => {
                let problem = format!("is a key {whose} has {}", own.join(", "));
                Err(self.invalid(&format!("{place}: {key}"), &problem))
            }
        }
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

/// The keys that a struct reads, as its own `Deserialize` declares them: no second list to keep in step.
fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The attempt itself fails: it is made for what the struct asks for.
    let _ = T::deserialize(NameCatcher(&mut names));
    names
}

struct NameCatcher<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for NameCatcher<'_> {
    type Error = ValueError;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        *self.0 = fields;
        visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, ValueError> {
        Err(de::Error::custom("only structs have keys"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
