//! An anomaly, as far as alerts need it.

use serde::Serialize;

/// Bytes of a text that an alert repeats.
const LONGEST: usize = 300;

/// Fields that an alert repeats of an entity.
const MOST_FIELDS: usize = 12;

/// How bad an anomaly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Just beyond the threshold.
    Low,
    /// The next level.
    Medium,
    /// The next level.
    High,
    /// As bad as it gets.
    Critical,
}

impl Severity {
    /// Every level, the lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its name, as in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The level of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// An entity that a detector found anomalous.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Anomaly {
    /// The entity's name: the same for all detectors, and whenever its records are judged again.
    pub entity: String,
    /// The entity's key.
    pub key: String,
    /// The detector.
    pub detector: String,
    /// How bad it is.
    pub severity: Severity,
    /// Why, in a sentence.
    pub reason: String,
    /// The entity's customer, where it has one.
    pub customer: Option<String>,
    /// What the pipeline file wants to be repeated of the entity, as texts.
    #[serde(serialize_with = "as_map")]
    pub fields: Vec<(String, String)>,
    /// When it was published, in milliseconds since 1970.
    pub at: i64,
}

fn as_map<S: serde::Serializer>(fields: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
}

impl Anomaly {
    /// The same with texts that are short enough to be kept: records may be long.
    pub fn shortened(mut self) -> Self {
        self.fields.truncate(MOST_FIELDS);
        let fields = self.fields.iter_mut().flat_map(|(name, value)| [name, value]);
        let texts = [&mut self.entity, &mut self.key, &mut self.detector, &mut self.reason].into_iter();
        texts.chain(self.customer.as_mut()).chain(fields).for_each(shorten);
        self
    }
}

/// Names of entities keep their end, where the key stands: two that differ must not become one.
fn shorten(text: &mut String) {
    if text.len() > LONGEST {
        let (head, tail) = (text.floor_char_boundary(LONGEST / 2), text.ceil_char_boundary(text.len() - LONGEST / 2));
        *text = format!("{}…{}", &text[..head], &text[tail..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_in_the_middle() {
        let mut text = format!("{}{}", "é".repeat(1000), "end");
        shorten(&mut text);
        assert!(text.len() <= LONGEST + 5 && text.starts_with("éé") && text.ends_with("éend"), "{text}");
        let mut short = "short".to_owned();
        shorten(&mut short);
        assert_eq!(short, "short");
    }

    #[test]
    fn levels_have_the_names_of_messages() {
        assert_eq!(Severity::ALL.map(Severity::name), ["low", "medium", "high", "critical"]);
        assert_eq!(Severity::of("high"), Some(Severity::High));
        assert_eq!(Severity::of("High"), None);
        assert!(Severity::Critical > Severity::Low);
    }
}
