//! An ensemble by calibrated rank: several detectors, of different families, on one scale.
//!
//! Scores of different detectors are not comparable; how deep each is in the tail of its own training scores is (Kriegel,
//! Kröger, Schubert and Zimek 2011, "Interpreting and Unifying Outlier Scores"). A row's score is the mean of those depths,
//! `-ln p`: Fisher's way to put p-values together, whose sum is large when many members find the row odd, or some very odd.

use burn::tensor::Device;
use clustering::matrix::Matrix;
use serde::{Deserialize, Deserializer, Serialize};

use super::defaults::corrected_kmeans;
use super::tail_depth::TailDepth;
use super::{Algorithm, AnyLearned, ArrayMut, Context, Explanation, Fit, FitError, Learned, Score, Scores};

/// The members beside k-means, where a pipeline file names none.
const OTHERS: &[&str] = &["isolation-forest", "lesinn", "gaussian-mixture", "mcd", "hbos"];

/// Rows that are scored at a time while an ensemble is fitted.
const ROWS_A_BATCH: usize = 1 << 16;

/// The ensemble's parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ensemble {
    /// The members: names of algorithms, `"knn"`, or with parameters, `{ algorithm = "knn", k = 10 }`.
    pub members: Vec<Member>,
}

/// A member of an ensemble.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Member(pub Box<Algorithm>);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be the name of an algorithm, or { algorithm = \"knn\", k = 10 }")]
        enum Written {
            Name(String),
            Whole(Box<Algorithm>),
        }
        match Written::deserialize(deserializer)? {
            Written::Whole(algorithm) => Ok(Self(algorithm)),
            Written::Name(name) => match Algorithm::by_name(&name) {
                Some(algorithm) => Ok(Self(Box::new(algorithm))),
                None => {
                    let known = Algorithm::NAMES.join(", ");
                    Err(serde::de::Error::custom(format!(
                        "members: `{name}` is no algorithm; the algorithms are {known}"
                    )))
                }
            },
        }
    }
}

impl Default for Ensemble {
    /// One of each family: clusters (corrected), random partitions, neighbours (in samples, where alike anomalies do not hide each
    /// other), densities (of samples, trimmed), a covariance, and each feature by itself.
    fn default() -> Self {
        let others = OTHERS.iter().filter_map(|name| Algorithm::by_name(name));
        let members = std::iter::once(Algorithm::KMeans(corrected_kmeans())).chain(others);
        Self { members: members.map(|algorithm| Member(Box::new(algorithm))).collect() }
    }
}

/// What the members of an ensemble learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnedEnsemble {
    members: Vec<LearnedMember>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LearnedMember {
    learned: AnyLearned,
    tail: TailDepth,
}

impl Fit for Ensemble {
    type Learned = LearnedEnsemble;

    fn check(&self) -> Result<(), String> {
        if self.members.is_empty() {
            return Err("members must name at least one algorithm".into());
        }
        for Member(algorithm) in &self.members {
            if matches!(**algorithm, Algorithm::Ensemble(_)) {
                return Err("members: an ensemble cannot be a member of one".into());
            }
            if algorithm.needs_labels() {
                let name = algorithm.name();
                return Err(format!(
                    "members: {name} learns from labels, which an ensemble does without: make it a detector of its own"
                ));
            }
            algorithm.check().map_err(|problem| format!("members: {}: {problem}", algorithm.name()))?;
        }
        Ok(())
    }

    /// A member that cannot learn from these rows, because they are too many, too few or too wide for it, is left out.
    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<LearnedEnsemble, FitError> {
        let mut members = Vec::new();
        let mut failure = None;
        for Member(algorithm) in &self.members {
            match algorithm.fit(x, context) {
                Ok(learned) => {
                    let tail = TailDepth::fit(&score_all(&*learned.on_device(context.device), x));
                    members.push(LearnedMember { learned, tail });
                }
                Err(error @ (FitError::AllEqual { .. } | FitError::Rows(_))) => return Err(error),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) if members.is_empty() => Err(error),
            _ => Ok(LearnedEnsemble { members }),
        }
    }

    fn n_steps(&self) -> u64 {
        self.members.iter().map(|Member(algorithm)| algorithm.n_steps()).sum()
    }

    fn changes_after(&self) -> usize {
        self.members.iter().map(|Member(algorithm)| algorithm.changes_after()).max().unwrap_or(0)
    }
}

/// Scores of all the rows that were fitted on.
fn score_all(scorer: &dyn Score, x: &Matrix) -> Vec<f32> {
    let n_features = x.n_features();
    let mut scores = Vec::with_capacity(x.n_samples());
    for rows in x.values().chunks(ROWS_A_BATCH * n_features) {
        let batch = Matrix::from_values(n_features, rows.to_vec());
        let places: Vec<Option<usize>> = (scores.len()..).map(Some).take(batch.n_samples()).collect();
        scores.extend(scorer.score_training(&batch, &places).values);
    }
    scores
}

impl LearnedEnsemble {
    /// The names of its members: those that could learn.
    pub fn members(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.members.iter().map(|member| member.learned.algorithm())
    }

    /// The members' arrays, each with a name of its own.
    pub(super) fn arrays_of_members(&mut self) -> Vec<(String, ArrayMut<'_>)> {
        let mut arrays = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            let prefix = format!("{index}.{}", member.learned.algorithm());
            arrays.extend(member.learned.arrays().into_iter().map(|(name, array)| (format!("{prefix}.{name}"), array)));
        }
        arrays
    }
}

impl Learned for LearnedEnsemble {
    fn check(&self, n_features: usize) -> Result<(), String> {
        if self.members.is_empty() {
            return Err("it has no members".into());
        }
        self.members.iter().try_for_each(|member| {
            member.tail.check()?;
            member.learned.check(n_features)
        })
    }

    fn on_device(&self, device: &Device) -> Box<dyn Score> {
        let on_device = |member: &LearnedMember| (member.learned.on_device(device), member.tail.clone());
        Box::new(Members { members: self.members.iter().map(on_device).collect() })
    }
}

/// The members on a device.
#[derive(Debug)]
struct Members {
    members: Vec<(Box<dyn Score>, TailDepth)>,
}

impl Members {
    /// The mean depth of some rows `(n_samples)`, by how each member scores them.
    fn mean_depths(&self, n_samples: usize, scores_of: impl Fn(&dyn Score) -> Scores) -> Scores {
        let mut depths = vec![0.0; n_samples];
        for (scorer, tail) in &self.members {
            let scores = scores_of(&**scorer).values;
            depths.iter_mut().zip(scores).for_each(|(depth, score)| *depth += tail.of(score));
        }
        let n_members = self.members.len() as f64;
        Scores::new(depths.into_iter().map(|depth| (depth / n_members) as f32).collect())
    }
}

impl Score for Members {
    fn score(&self, x: &Matrix) -> Scores {
        self.mean_depths(x.n_samples(), |scorer| scorer.score(x))
    }

    fn score_training(&self, x: &Matrix, places: &[Option<usize>]) -> Scores {
        self.mean_depths(x.n_samples(), |scorer| scorer.score_training(x, places))
    }

    /// The members' own explanations, as shares, weighted by how much each member adds to the score; of members without
    /// one there is nothing to say but by leaving features out.
    fn explain(&self, x: &Matrix, scores: &Scores) -> Option<Vec<Explanation>> {
        let (n_samples, n_features) = (x.n_samples(), x.n_features());
        let mut contributions = vec![vec![0.0; n_features]; n_samples];
        let mut expected = vec![vec![0.0; n_features]; n_samples];
        let mut weights = vec![0.0; n_samples];
        for (scorer, tail) in &self.members {
            let own = scorer.score(x);
            let Some(explanations) = scorer.explain(x, &own) else { continue };
            for (row, (explanation, score)) in explanations.iter().zip(&own.values).enumerate() {
                let parts = explanation.contributions.iter().map(|&part| f64::from(part.max(0.0)));
                let (total, depth) = (parts.clone().sum::<f64>(), tail.of(*score));
                if total <= 0.0 || depth <= 0.0 {
                    continue;
                }
                weights[row] += depth;
                contributions[row].iter_mut().zip(parts).for_each(|(sum, part)| *sum += depth * part / total);
                let values = expected[row].iter_mut().zip(&explanation.expected);
                values.for_each(|(sum, &value)| *sum += depth * f64::from(value));
            }
        }
        if weights.iter().zip(&scores.values).any(|(&weight, &score)| weight <= 0.0 && score > 0.0) {
            return None;
        }
        let explained = |row: usize| {
            let weight = weights[row].max(f64::MIN_POSITIVE);
            let scale = f64::from(scores.values[row]) / weight;
            let expected = expected[row].iter().zip(x.row(row));
            Explanation {
                contributions: contributions[row].iter().map(|part| (part * scale) as f32).collect(),
                expected: expected
                    .map(|(sum, &x)| if weights[row] > 0.0 { (sum / weight) as f32 } else { x })
                    .collect(),
                is_approximate: true,
            }
        };
        Some((0..n_samples).map(explained).collect())
    }
}
