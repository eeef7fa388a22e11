//! What a detector says of an entity.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::severity::Severity;

/// What a detector says of an entity, in short: so it is read of a verdict, and so it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Opinion {
    /// The verdict's own name.
    #[serde(skip_serializing)]
    pub id: Option<String>,
    pub detector: String,
    #[serde(skip_serializing)]
    pub model_version: Option<String>,
    pub anomalous: bool,
    pub severity: Option<Severity>,
    pub reason: Option<String>,
    pub score: f64,
    pub threshold: f64,
    pub ratio: Option<f64>,
    pub p_value: Option<f64>,
    /// The feature with the largest share of the score, which contributions begin with.
    #[serde(default, rename(deserialize = "contributions"), deserialize_with = "first_name")]
    pub feature: Option<String>,
}

impl Opinion {
    /// What is worse is larger: the level first, then how rare the score is, then how far it is beyond the threshold.
    pub(super) fn badness(&self) -> (Option<Severity>, Rank, Rank) {
        (self.severity, Rank(-self.p_value.unwrap_or(1.0)), Rank(self.ratio.unwrap_or(0.0)))
    }
}

/// A number in the order of numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rank(f64);

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The first name of an object: nothing else of it is kept.
fn first_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Option<String>, M::Error> {
            let first = map.next_entry::<String, IgnoredAny>()?.map(|(name, _)| name);
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }
    deserializer.deserialize_map(First)
}
