//! A model as Spark saves it: a folder with `metadata`, JSON in text files, and `data`, Parquet.
//!
//! MLlib (`spark.mllib`) has `(id, point)` for each centre of k-means. For bisecting k-means, it has the nodes of the tree, which
//! name their children. Spark ML (`spark.ml`) has `(clusterIdx, clusterCenter)`; of bisecting k-means it saves the model of
//! MLlib in `data`.

mod metadata;
mod rows;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use shared::model::fingerprint;
use thiserror::Error;

use metadata::{Kind, Metadata};
pub use tree::SparkNode;

/// Most centres of a model.
const MOST_CENTERS: usize = 10_000;

/// Why a model cannot be imported.
#[derive(Debug, Error, PartialEq)]
pub enum SparkError {
    /// A file or a folder cannot be read.
    #[error("cannot read {}: {problem}", path.display())]
    Unreadable {
        /// The file or the folder.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// What was read cannot be used.
    #[error("cannot import {}: {problem}", path.display())]
    Unusable {
        /// The file or the folder.
        path: PathBuf,
        /// Why, and what would be right.
        problem: String,
    },
}

impl SparkError {
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), problem: error.to_string() }
    }

    fn unusable(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unusable { path: path.to_owned(), problem: problem.into() }
    }
}

/// A file that something was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path within the folder, with slashes.
    pub name: String,
    /// SHA-256 of its content.
    pub sha256: String,
}

impl SourceFile {
    pub(super) fn new(name: String, bytes: &[u8]) -> Self {
        Self { name, sha256: fingerprint(bytes) }
    }

    /// The path of a file within a folder, with slashes.
    pub(super) fn name_of(folder: &Path, file: &Path) -> String {
        let within = file.strip_prefix(folder).unwrap_or(file);
        within.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    }
}

/// A model that Spark saved.
#[derive(Debug, Clone, PartialEq)]
pub struct SparkModel {
    /// Spark's name for it: `org.apache.spark.mllib.clustering.KMeansModel`.
    pub class: String,
    /// The version of its format (MLlib), or of Spark (ML).
    pub version: String,
    /// The clusters.
    pub clusters: SparkClusters,
    /// The files that were read, in the order of their names.
    pub files: Vec<SourceFile>,
}

/// What Spark found, in the features' own units.
#[derive(Debug, Clone, PartialEq)]
pub enum SparkClusters {
    /// k-means: `(n_clusters, n_features)`.
    Centers(Vec<Vec<f64>>),
    /// Bisecting k-means: a node, what is below it on the left, what is below it on the right. The leaves come in the order of
    /// their numbers.
    Tree(Vec<SparkNode>),
}

impl SparkClusters {
    /// How many features the centres have.
    pub fn n_features(&self) -> usize {
        match self {
            Self::Centers(centers) => centers.first().map_or(0, Vec::len),
            Self::Tree(nodes) => nodes.first().map_or(0, |root| root.center.len()),
        }
    }

    fn check(&self) -> Result<(), String> {
        let centers: Vec<&[f64]> = match self {
            Self::Centers(centers) => centers.iter().map(Vec::as_slice).collect(),
            Self::Tree(nodes) => nodes.iter().map(|node| node.center.as_slice()).collect(),
        };
        let n_features = self.n_features();
        if n_features == 0 {
            return Err("it has no centre".to_owned());
        }
        // A tree has nearly twice as many nodes as leaves.
        if centers.len() > 2 * MOST_CENTERS {
            return Err(format!("it has more than {MOST_CENTERS} clusters"));
        }
        if centers.iter().any(|center| center.len() != n_features) {
            return Err("its centres do not all have the same number of features".to_owned());
        }
        let is_finite = centers.iter().all(|center| center.iter().all(|value| value.is_finite()));
        if is_finite { Ok(()) } else { Err("a centre has a value that is not finite".to_owned()) }
    }
}

impl SparkModel {
    /// Reads the model in a folder.
    ///
    /// # Errors
    /// When it cannot be read, is another model, or measures other distances than Euclidean ones.
    pub fn read(folder: &Path) -> Result<Self, SparkError> {
        let mut files = BTreeMap::new();
        let metadata = read_metadata(folder, folder, &mut files)?;
        let clusters = match metadata.kind {
            Kind::KMeans => read_centers(folder, &metadata, &mut files)?,
            Kind::BisectingKMeans { root: Some(root) } => read_tree(folder, folder, root, &mut files)?,
            Kind::BisectingKMeans { root: None } => {
                let within = folder.join("data");
                let nested = read_metadata(folder, &within, &mut files)?;
                let Kind::BisectingKMeans { root: Some(root) } = nested.kind else {
                    return Err(SparkError::unusable(&within, format!("it holds a {} and no tree", nested.class)));
                };
                read_tree(folder, &within, root, &mut files)?
            }
        };
        clusters.check().map_err(|problem| SparkError::unusable(folder, problem))?;
        let files = files.into_iter().map(|(name, sha256)| SourceFile { name, sha256 }).collect();
        Ok(Self { class: metadata.class, version: metadata.version, clusters, files })
    }

    /// The name of this program's algorithm that finds the like.
    pub fn algorithm(&self) -> &'static str {
        match self.clusters {
            SparkClusters::Centers(_) => "kmeans",
            SparkClusters::Tree(_) => "bisecting-kmeans",
        }
    }
}

/// The names of files that were read, within the folder of the model, and their hashes.
type Hashes = BTreeMap<String, String>;

/// The part files of a folder, in the order of their names; there is at least one.
pub(super) fn parts(folder: &Path) -> Result<Vec<PathBuf>, SparkError> {
    let entries = fs::read_dir(folder).map_err(|error| SparkError::unreadable(folder, &error))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| SparkError::unreadable(folder, &error))?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("part-")) {
            found.push(entry.path());
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(SparkError::unusable(folder, "it has no file `part-...`, as Spark writes them"));
    }
    Ok(found)
}

/// Reads a file of the model in `root`.
fn read_file(root: &Path, path: &Path, files: &mut Hashes) -> Result<Vec<u8>, SparkError> {
    let bytes = fs::read(path).map_err(|error| SparkError::unreadable(path, &error))?;
    files.insert(SourceFile::name_of(root, path), fingerprint(&bytes));
    Ok(bytes)
}

fn read_metadata(root: &Path, folder: &Path, files: &mut Hashes) -> Result<Metadata, SparkError> {
    let within = folder.join("metadata");
    if !within.is_dir() {
        let problem = "it has no folder `metadata`: name the folder that `model.save` was given";
        return Err(SparkError::unusable(folder, problem));
    }
    let mut text = Vec::new();
    for part in parts(&within)? {
        text.extend(read_file(root, &part, files)?);
    }
    Metadata::parse(&text).map_err(|problem| SparkError::unusable(folder, problem))
}

/// The rows of all parts of a folder, as `take` makes them.
fn read_rows<T>(
    root: &Path,
    folder: &Path,
    files: &mut Hashes,
    take: fn(&rows::Row) -> Option<T>,
) -> Result<Vec<T>, SparkError> {
    let mut found = Vec::new();
    for part in parts(folder)? {
        read_file(root, &part, files)?;
        let problem = |problem: String| SparkError::unusable(&part, problem);
        let rows = rows::read(&part).map_err(problem)?;
        for row in &rows {
            let taken =
                take(row).ok_or_else(|| problem("its columns are not those of this kind of model".to_owned()))?;
            found.push(taken);
        }
    }
    Ok(found)
}

fn read_centers(folder: &Path, metadata: &Metadata, files: &mut Hashes) -> Result<SparkClusters, SparkError> {
    let within = folder.join("data");
    let mut centers = read_rows(folder, &within, files, rows::center)?;
    centers.sort_by_key(|(number, _)| *number);
    let are_numbered = centers.iter().zip(0..).all(|((number, _), expected)| *number == expected);
    if !are_numbered || metadata.k.is_some_and(|k| k != centers.len()) {
        let expected = metadata.k.map_or_else(String::new, |k| format!(" to {k}"));
        let problem = format!("its {} centres are not numbered from 0 on{expected}", centers.len());
        return Err(SparkError::unusable(&within, problem));
    }
    Ok(SparkClusters::Centers(centers.into_iter().map(|(_, center)| center).collect()))
}

fn read_tree(root: &Path, folder: &Path, root_id: i64, files: &mut Hashes) -> Result<SparkClusters, SparkError> {
    let within = folder.join("data");
    let nodes = read_rows(root, &within, files, rows::node)?;
    let tree = tree::in_order(root_id, nodes).map_err(|problem| SparkError::unusable(&within, problem))?;
    Ok(SparkClusters::Tree(tree))
}
