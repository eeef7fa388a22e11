//! Where models come from.

use std::path::{Path, PathBuf};

use crate::model::{Model, ModelError};
use crate::pipeline::Pipeline;
use crate::shipped;

/// The folder of all models, where nobody names another.
pub const MODELS: &str = "models";

/// Where models come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The folder of all models.
    Folder(PathBuf),
    /// The program itself: models that were trained on sample data.
    BuiltIn,
}

impl ModelSource {
    /// The folder that was named. Where none was: [`MODELS`], unless it has no model of a pipeline that ships.
    pub fn find(named: Option<&Path>, pipeline: &Pipeline) -> Self {
        Self::find_in(named, Path::new(MODELS), pipeline)
    }

    fn find_in(named: Option<&Path>, usual: &Path, pipeline: &Pipeline) -> Self {
        let is_there = |folder: &Path| {
            pipeline.detectors.iter().any(|spec| Model::path(folder, &pipeline.name, &spec.name).exists())
        };
        match named {
            Some(folder) => Self::Folder(folder.to_owned()),
            None if pipeline.ships && !is_there(usual) => Self::BuiltIn,
            None => Self::Folder(usual.to_owned()),
        }
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::BuiltIn => None,
        }
    }

    /// Reads the model of a pipeline's detector, checked against the pipeline.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load(&self, pipeline: &Pipeline, detector: &str) -> Result<Model, ModelError> {
        let folder = match self {
            Self::Folder(folder) => return Model::load(folder, pipeline, detector),
            Self::BuiltIn => Path::new(MODELS),
        };
        match shipped::model(&pipeline.name, detector) {
            Some(file) => {
                Model::parse(file.bytes, Path::new(file.path))?.fitting(pipeline, detector, file.path.as_ref())
            }
            None => Err(ModelError::missing(folder, pipeline, detector)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::shipped::{PIPELINES, Shipped};

    /// Whoever adds a sample or a detector to what ships has to build its file in.
    #[test]
    fn all_that_ships_is_built_in() {
        for Shipped { name, samples, .. } in PIPELINES {
            let Some(samples) = samples else { continue };
            let built_in = [shipped::history(samples.history), shipped::stream(samples.stream)];
            assert!(built_in.into_iter().all(|file| file.is_some_and(|file| !file.bytes.is_empty())), "{name}");
            assert!(samples.labels.is_none_or(|path| shipped::labels(path).is_some()), "{name}");
            let pipeline = Pipeline::load(name).unwrap();
            for spec in &pipeline.detectors {
                ModelSource::BuiltIn.load(&pipeline, &spec.name).unwrap();
            }
        }
        let elsewhere = "elsewhere.csv";
        assert_eq!([shipped::history(elsewhere), shipped::stream(elsewhere), shipped::labels(elsewhere)], [None; 3]);
    }

    /// A name that was typed is meant: sample models never stand in for what is not there.
    #[test]
    fn models_of_a_folder_win_over_those_that_are_built_in() {
        let folder = tempfile::tempdir().unwrap();
        let pipeline = Pipeline::load("invoices").unwrap();
        let find = |named| ModelSource::find_in(named, folder.path(), &pipeline);
        let (in_folder, elsewhere) = (ModelSource::Folder(folder.path().to_owned()), Path::new("elsewhere"));
        assert_eq!(find(None), ModelSource::BuiltIn);
        assert_eq!(find(Some(elsewhere)), ModelSource::Folder(elsewhere.to_owned()));
        assert!(matches!(find(Some(elsewhere)).load(&pipeline, "kmeans"), Err(ModelError::Missing { .. })));
        let copy = Model::path(folder.path(), "invoices", "kmeans");
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, shipped::model("invoices", "kmeans").unwrap().bytes).unwrap();
        assert_eq!(find(None), in_folder);
        // One of two is not all: what is missing is told, and not made up for.
        assert!(matches!(find(None).load(&pipeline, "bisecting-kmeans"), Err(ModelError::Missing { .. })));
        let own = Pipeline { ships: false, ..pipeline.clone() };
        assert!(matches!(ModelSource::find_in(None, elsewhere, &own), ModelSource::Folder(_)), "it may be changed");
    }

    #[test]
    fn a_model_is_the_same_from_a_folder_and_built_in() {
        let pipeline = Pipeline::load("transactions").unwrap();
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        for spec in &pipeline.detectors {
            let built_in = ModelSource::BuiltIn.load(&pipeline, &spec.name).unwrap();
            let of_folder = ModelSource::Folder(models.clone()).load(&pipeline, &spec.name).unwrap();
            assert_eq!((&built_in, built_in.version()), (&of_folder, of_folder.version()));
        }
        assert!(matches!(ModelSource::BuiltIn.load(&pipeline, "other"), Err(ModelError::Missing { .. })));
    }
}
