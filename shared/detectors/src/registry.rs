//! Every algorithm under its name: what a pipeline file asks for, and what a model file holds.

use std::io;

use burn::tensor::Device;
use clustering::matrix::Matrix;
use clustering::rows::RowStore;
use serde::{Deserialize, Serialize};

use super::autoencoder::{Autoencoder, Reconstruction};
use super::clusters::{BisectingKMeans, Clusters, KMeans};
use super::ecod::{Ecod, Tails};
use super::ensemble::{Ensemble, LearnedEnsemble};
use super::gaussian_mixture::{GaussianMixture, GaussianMixtures};
use super::gradient_boosting::{BoostedTrees, GradientBoosting};
use super::hbos::{Hbos, Histograms};
use super::isolation_forest::{Forest, IsolationForest};
use super::knn::{Knn, KnnModel};
use super::lesinn::{Lesinn, Samples};
use super::lof::{Lof, LofModel};
use super::logistic_regression::{Coefficients, LogisticRegression};
use super::mcd::{Mcd, RobustCovariance};
use super::one_class_svm::{OneClassSvm, SupportVectorMachine};
use super::pca::{Pca, PrincipalComponents};
use super::{ArrayMut, Context, Fit, FitError, Learned, Score};
use crate::fields::field_names;

/// An algorithm and what it learns, a line each: name in files, variant, parameters, learned.
macro_rules! every_algorithm {
    ($($name:literal $variant:ident: $parameters:ty => $learned:ty;)*) => {
        /// An algorithm with its parameters, as a pipeline file asks for it.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "algorithm")]
        pub enum Algorithm {
            $(
                #[doc = concat!("`", $name, "`")]
                #[serde(rename = $name)]
                $variant($parameters),
            )*
        }

        /// What an algorithm learned, as a model file holds it.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum AnyLearned {
            $(
                #[doc = concat!("By `", $name, "`.")]
                #[serde(rename = $name)]
                $variant($learned),
            )*
        }

        impl Algorithm {
            /// The algorithm with its default parameters; none where no algorithm is called so.
            pub fn by_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant(<$parameters>::default())),)*
                    _ => None,
                }
            }

            /// The names of the parameters of the algorithm called `name`; none where no algorithm is called so.
            pub fn parameter_names(name: &str) -> Option<&'static [&'static str]> {
                match name {
                    $($name => Some(field_names::<$parameters>()),)*
                    _ => None,
                }
            }

            /// Its name in files.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }

            /// Checks what can be checked without data.
            ///
            /// # Errors
            /// The parameter, and what is wrong and would be right.
            pub fn check(&self) -> Result<(), String> {
                match self { $(Self::$variant(parameters) => parameters.check()),* }
            }

            /// As [`Fit::fit_labelled`].
            ///
            /// # Errors
            /// As [`fit`](Self::fit), and when a class is missing or too small.
            ///
            /// # Panics
            /// When there is not a label a row.
            pub fn fit_labelled(
                &self,
                x: &Matrix,
                labels: &[Option<bool>],
                context: &Context<'_>,
            ) -> Result<AnyLearned, FitError> {
                match self {
                    $(Self::$variant(parameters) => {
                        parameters.fit_labelled(x, labels, context).map(AnyLearned::$variant)
                    })*
                }
            }

            /// How often [`fit`](Self::fit) calls [`Context::on_step`].
            pub fn n_steps(&self) -> u64 {
                match self { $(Self::$variant(parameters) => parameters.n_steps()),* }
            }

            /// As [`Fit::changes_after`].
            pub fn changes_after(&self) -> usize {
                match self { $(Self::$variant(parameters) => parameters.changes_after()),* }
            }

            /// Learns from rows `(n_samples, n_features)`, some of which are anomalies, as is usual.
            ///
            /// # Errors
            /// [`FitError`] when these rows cannot be learned from.
            pub fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<AnyLearned, FitError> {
                match self {
                    $(Self::$variant(parameters) => parameters.fit(x, context).map(AnyLearned::$variant)),*
                }
            }
        }

        impl AnyLearned {
            /// The name of the algorithm that learned it.
            pub fn algorithm(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }

            /// Checks what was read from a file.
            ///
            /// # Errors
            /// What is wrong.
            pub fn check(&self, n_features: usize) -> Result<(), String> {
                match self { $(Self::$variant(learned) => learned.check(n_features)),* }
            }

            /// Puts it on a device to score with.
            pub fn on_device(&self, device: &Device) -> Box<dyn Score> {
                match self { $(Self::$variant(learned) => learned.on_device(device)),* }
            }

            fn own_arrays(&mut self) -> Vec<(String, ArrayMut<'_>)> {
                match self {
                    $(Self::$variant(learned) => learned
                        .arrays()
                        .into_iter()
                        .map(|(name, array)| (name.into(), array))
                        .collect()),*
                }
            }
        }
    };
}

/// The algorithms in two groups, by what they learn from.
macro_rules! algorithms {
    (
        from rows alone:
        $($name:literal $variant:ident: $parameters:ty => $learned:ty;)*
        from labels:
        $($labelled_name:literal $labelled_variant:ident: $labelled_parameters:ty => $labelled_learned:ty;)*
    ) => {
        impl Algorithm {
            /// The names of the algorithms that learn from rows alone.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The names of the algorithms that learn from labels.
            pub const LABELLED_NAMES: &[&str] = &[$($labelled_name),*];
        }

        every_algorithm! {
            $($name $variant: $parameters => $learned;)*
            $($labelled_name $labelled_variant: $labelled_parameters => $labelled_learned;)*
        }
    };
}

algorithms! {
    from rows alone:
    "kmeans" KMeans: KMeans => Clusters;
    "bisecting-kmeans" BisectingKMeans: BisectingKMeans => Clusters;
    "isolation-forest" IsolationForest: IsolationForest => Forest;
    "one-class-svm" OneClassSvm: OneClassSvm => SupportVectorMachine;
    "knn" Knn: Knn => KnnModel;
    "lesinn" Lesinn: Lesinn => Samples;
    "lof" Lof: Lof => LofModel;
    "gaussian-mixture" GaussianMixture: GaussianMixture => GaussianMixtures;
    "mcd" Mcd: Mcd => RobustCovariance;
    "pca" Pca: Pca => PrincipalComponents;
    "autoencoder" Autoencoder: Autoencoder => Reconstruction;
    "ecod" Ecod: Ecod => Tails;
    "hbos" Hbos: Hbos => Histograms;
    "ensemble" Ensemble: Ensemble => LearnedEnsemble;
    from labels:
    "logistic-regression" LogisticRegression: LogisticRegression => Coefficients;
    "gradient-boosting" GradientBoosting: GradientBoosting => BoostedTrees;
}

impl Algorithm {
    /// As [`fit`](Self::fit), from rows that may be in a file; only k-means leaves them there.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and when rows cannot be read.
    pub fn fit_store(&self, rows: RowStore, context: &Context<'_>) -> Result<AnyLearned, FitError> {
        match self {
            Self::KMeans(parameters) => parameters.fit_store(rows, context).map(AnyLearned::KMeans),
            Self::BisectingKMeans(parameters) => parameters.fit_store(rows, context).map(AnyLearned::BisectingKMeans),
            _ => {
                let unreadable = |error: io::Error| FitError::Rows(error.to_string());
                self.fit(&rows.into_matrix().map_err(unreadable)?, context)
            }
        }
    }

    /// Whether [`fit_store`](Self::fit_store) leaves rows in a file where they are.
    pub fn supports_out_of_core(&self) -> bool {
        matches!(self, Self::KMeans(_) | Self::BisectingKMeans(_))
    }

    /// Whether its fit and its scores have kernels for GPUs. The others compute there in general operations on tensors, if at all, and
    /// were measured to be slower so than on the CPU.
    pub fn has_gpu_kernels(&self) -> bool {
        matches!(self, Self::KMeans(_) | Self::BisectingKMeans(_))
    }

    /// Whether it learns from labels.
    pub fn needs_labels(&self) -> bool {
        Self::LABELLED_NAMES.contains(&self.name())
    }

    /// Of all rows, the share that a cluster needs to be usual, where it looks for clusters and one was set.
    pub fn min_share(&self) -> Option<f64> {
        match self {
            Self::KMeans(parameters) => parameters.min_share,
            Self::BisectingKMeans(parameters) => parameters.min_share,
            _ => None,
        }
    }

    /// The same with this share where it looks for clusters and none was set.
    #[must_use]
    pub fn or_min_share(mut self, share: f64) -> Self {
        if let Self::KMeans(KMeans { min_share, .. }) | Self::BisectingKMeans(BisectingKMeans { min_share, .. }) =
            &mut self
        {
            min_share.get_or_insert(share);
        }
        self
    }

    /// How many clusters are tried at most, where it looks for clusters.
    pub fn most_clusters(&self) -> Option<usize> {
        match self {
            Self::KMeans(parameters) => Some(parameters.k.largest()),
            Self::BisectingKMeans(parameters) => Some(parameters.k.largest()),
            _ => None,
        }
    }
}

impl AnyLearned {
    /// The arrays that may be large, each with a name of its own.
    pub fn arrays(&mut self) -> Vec<(String, ArrayMut<'_>)> {
        match self {
            Self::Ensemble(ensemble) => ensemble.arrays_of_members(),
            other => other.own_arrays(),
        }
    }

    /// The clusters, where the algorithm looks for some.
    pub fn clusters(&self) -> Option<&Clusters> {
        match self {
            Self::KMeans(clusters) | Self::BisectingKMeans(clusters) => Some(clusters),
            _ => None,
        }
    }
}
