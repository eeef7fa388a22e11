//! What Spark writes of a model beside its data.

use serde::Deserialize;
use serde_json::{Map, Value};

/// What is read of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metadata {
    /// Spark's name for the model.
    pub class: String,
    /// The version of the format (MLlib), or of Spark (ML).
    pub version: String,
    /// What it is.
    pub kind: Kind,
    /// How many clusters, where it says so of those that were found.
    pub k: Option<usize>,
}

/// What a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// k-means.
    KMeans,
    /// Bisecting k-means.
    BisectingKMeans {
        /// The number of the tree's root; none where the tree is that of another model, in `data`.
        root: Option<i64>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    class: String,
    version: Option<String>,
    spark_version: Option<String>,
    k: Option<usize>,
    root_id: Option<i64>,
    distance_measure: Option<String>,
    #[serde(default)]
    param_map: Map<String, Value>,
    #[serde(default)]
    default_param_map: Map<String, Value>,
}

/// What class names begin with.
const PACKAGE: &str = "org.apache.spark.";

impl Metadata {
    /// What `text` says, which is one object of JSON.
    ///
    /// # Errors
    /// What is wrong, or why such a model cannot be imported.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(text)
            .map_err(|error| format!("its metadata are not those of a model of Spark ({error})"))?;
        let class = raw.class.strip_prefix(PACKAGE).unwrap_or(&raw.class);
        let known: &[&str] = match class {
            "mllib.clustering.KMeansModel" => &["1.0", "2.0"],
            "mllib.clustering.BisectingKMeansModel" => &["1.0", "2.0", "3.0"],
            "ml.clustering.KMeansModel" | "ml.clustering.BisectingKMeansModel" => &[],
            "ml.PipelineModel" => {
                return Err("it is a PipelineModel: name the folder of its k-means in `stages`; what other stages do \
                            to features must be done by the pipeline file"
                    .to_owned());
            }
            _ => {
                return Err(format!(
                    "it is a {}, and what can be imported is a KMeansModel or a BisectingKMeansModel",
                    raw.class
                ));
            }
        };
        let is_mllib = !known.is_empty();
        let version = raw.version.as_ref().filter(|_| is_mllib).or(raw.spark_version.as_ref());
        let version = version.cloned().unwrap_or_else(|| "unknown".to_owned());
        if is_mllib && !known.contains(&version.as_str()) {
            return Err(format!(
                "its format is of version {version}, and those that are read are {}",
                known.join(", ")
            ));
        }
        raw.check_distance()?;
        let kind = match class {
            "mllib.clustering.BisectingKMeansModel" => {
                let root = raw.root_id.ok_or("its metadata do not name the root of its tree (rootId)")?;
                Kind::BisectingKMeans { root: Some(root) }
            }
            "ml.clustering.BisectingKMeansModel" => Kind::BisectingKMeans { root: None },
            _ => Kind::KMeans,
        };
        Ok(Self { k: raw.k, version, kind, class: raw.class })
    }
}

impl Raw {
    /// The measure of distance is one of MLlib's metadata, and a parameter of ML's; Spark before 2.4 knew one alone.
    fn check_distance(&self) -> Result<(), String> {
        let parameter =
            |map: &Map<String, Value>| map.get("distanceMeasure").and_then(Value::as_str).map(str::to_owned);
        let measure = self.distance_measure.clone();
        let measure = measure.or_else(|| parameter(&self.param_map)).or_else(|| parameter(&self.default_param_map));
        match measure.as_deref() {
            None | Some("euclidean") => Ok(()),
            Some(other) => Err(format!(
                "it measures {other} distance, and only Euclidean distances can be imported: train the job with \
                 distanceMeasure = \"euclidean\", or train a detector of this program on the history"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(class: &str, more: &str) -> Result<Metadata, String> {
        Metadata::parse(format!(r#"{{"class":"org.apache.spark.{class}"{more}}}"#).as_bytes())
    }

    #[test]
    fn every_format_is_told() {
        let kmeans = parse("mllib.clustering.KMeansModel", r#","version":"1.0","k":5"#).expect("a model");
        assert_eq!((kmeans.kind, kmeans.k, kmeans.version.as_str()), (Kind::KMeans, Some(5), "1.0"));
        let tree = parse("mllib.clustering.BisectingKMeansModel", r#","version":"3.0","rootId":-1"#).expect("a model");
        assert_eq!((tree.kind, tree.k), (Kind::BisectingKMeans { root: Some(-1) }, None));
        let more = r#","sparkVersion":"2.4.8","paramMap":{"k":4},"defaultParamMap":{"k":2}"#;
        let kmeans = parse("ml.clustering.KMeansModel", more).expect("a model");
        assert_eq!((kmeans.kind, kmeans.k, kmeans.version.as_str()), (Kind::KMeans, None, "2.4.8"));
        let tree = parse("ml.clustering.BisectingKMeansModel", more).expect("a model");
        assert_eq!(tree.kind, Kind::BisectingKMeans { root: None });
    }

    /// A parameter that was set counts before its default.
    #[test]
    fn only_euclidean_distances_can_be_imported() {
        let cosine = r#"{"distanceMeasure":"cosine"}"#;
        let euclidean = r#"{"distanceMeasure":"euclidean"}"#;
        let of = |set: &str, default: &str| {
            parse("ml.clustering.KMeansModel", &format!(r#","paramMap":{set},"defaultParamMap":{default}"#))
        };
        assert!(of(euclidean, cosine).is_ok() && of("{}", euclidean).is_ok());
        for refused in [of(cosine, euclidean), of("{}", cosine)] {
            assert!(refused.expect_err("cosine").starts_with("it measures cosine distance, and only Euclidean"));
        }
        let more = r#","version":"2.0","k":2,"distanceMeasure":"cosine""#;
        assert!(parse("mllib.clustering.KMeansModel", more).is_err());
    }

    #[test]
    fn what_is_something_else_is_refused() {
        let refused = |class: &str, more: &str| parse(class, more).expect_err(class);
        assert!(refused("ml.PipelineModel", "").contains("name the folder of its k-means in `stages`"));
        assert!(refused("ml.clustering.LDAModel", "").starts_with("it is a org.apache.spark.ml.clustering.LDAModel"));
        let later = refused("mllib.clustering.KMeansModel", r#","version":"9.0""#);
        assert_eq!(later, "its format is of version 9.0, and those that are read are 1.0, 2.0");
        assert!(refused("mllib.clustering.BisectingKMeansModel", r#","version":"1.0""#).contains("rootId"));
        assert!(Metadata::parse(b"\x1f\x8b").expect_err("no JSON").starts_with("its metadata are not"));
    }
}
