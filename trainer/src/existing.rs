//! Models that are there already: what they were trained on, and whether a training may replace them.

use std::path::{Path, PathBuf};

use shared::model::{LastTraining, Model};
use shared::pipeline::Pipeline;

use crate::numbers::grouped;

/// Most folders that are tried beside the one for models.
const MOST_FOLDERS: usize = 100;

/// The models of a pipeline's detectors that a training would replace; there is at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Existing {
    /// The folder of the pipeline's models.
    folder: PathBuf,
    models: Vec<ExistingModel>,
    /// The files that the last training read, and when it ended, where its report is about these models.
    report: Option<LastTraining>,
}

#[derive(Debug, Clone, PartialEq)]
struct ExistingModel {
    detector: String,
    /// Its rows and the fingerprint of its features; nothing where it cannot be read.
    training: Option<(usize, String)>,
}

/// Where a training writes its models.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// The folder of all models.
    pub models: PathBuf,
    /// What is replaced there.
    pub replaced: Option<Existing>,
    /// What stays as it is in the folder that was meant.
    pub spared: Option<Existing>,
}

impl Existing {
    /// The models of these detectors under `models`, where there is any.
    pub fn find<'a>(models: &Path, pipeline: &Pipeline, detectors: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut versions = Vec::new();
        let mut found = |detector: &str| {
            let path = Model::path(models, &pipeline.name, detector);
            let model = path.exists().then(|| Model::read(&path).ok())?;
            versions.extend(model.as_ref().map(|model| (detector.to_owned(), model.version())));
            let training = model.map(|model| (model.training.rows, model.training.data_fingerprint));
            Some(ExistingModel { detector: detector.to_owned(), training })
        };
        let found: Vec<ExistingModel> = detectors.into_iter().filter_map(&mut found).collect();
        let is_of =
            |report: &LastTraining| versions.iter().all(|(name, version)| report.versions.get(name) == Some(version));
        let report = LastTraining::read(models, &pipeline.name).filter(|report| !versions.is_empty() && is_of(report));
        (!found.is_empty()).then(|| Self { folder: models.join(&pipeline.name), models: found, report })
    }

    /// Whether all were trained on rows with this fingerprint, or on files of these names.
    fn is_of_history(&self, fingerprint: &str, inputs: &[String]) -> bool {
        let has_rows = |model: &ExistingModel| model.training.as_ref().is_some_and(|(_, rows)| rows == fingerprint);
        self.models.iter().all(has_rows) || self.report.as_ref().is_some_and(|report| report.inputs == inputs)
    }

    /// The detectors: `kmeans and bisecting-kmeans`
    pub fn names(&self) -> String {
        and(&self.models.iter().map(|model| model.detector.as_str()).collect::<Vec<_>>())
    }

    /// Their history: `trained on history.csv on 2026-11-27 22:00 UTC (2,651 rows)`
    pub fn history(&self) -> String {
        let mut rows: Vec<usize> = self.models.iter().filter_map(|model| Some(model.training.as_ref()?.0)).collect();
        rows.dedup();
        if rows.is_empty() {
            return "which cannot be read".to_owned();
        }
        if rows == [0] {
            return "imported from another program".to_owned();
        }
        let rows = and(&rows.iter().map(|rows| grouped(*rows as u64)).collect::<Vec<_>>());
        let Some(report) = &self.report else { return format!("trained on {rows} rows; no report says of what") };
        let when = report.trained_at.as_deref().and_then(|time| time.get(..16));
        let when = when.map_or_else(String::new, |time| format!(" on {} UTC", time.replace('T', " ")));
        format!("trained on {}{when} ({rows} rows)", inputs(&report.inputs))
    }
}

impl Destination {
    /// The folder that was meant, whatever is there.
    pub fn anyway(models: &Path, existing: Option<Existing>) -> Self {
        Self { models: models.to_owned(), replaced: existing, spared: None }
    }

    /// The folder that was meant for models of rows with this fingerprint, which come from files of these names; another one
    /// beside it, where it has models of another history.
    ///
    /// # Errors
    /// When there are too many of those, too.
    pub fn sparing(
        models: &Path,
        pipeline: &Pipeline,
        (fingerprint, inputs): (&str, &[String]),
    ) -> anyhow::Result<Self> {
        let find =
            |folder: &Path| Existing::find(folder, pipeline, pipeline.detectors.iter().map(|spec| spec.name.as_str()));
        let may_replace = |found: &Option<Existing>| {
            found.as_ref().is_none_or(|existing| existing.is_of_history(fingerprint, inputs))
        };
        let existing = find(models);
        if may_replace(&existing) {
            return Ok(Self::anyway(models, existing));
        }
        for number in 1..=MOST_FOLDERS {
            let folder = beside(models, number);
            let found = find(&folder);
            if may_replace(&found) {
                return Ok(Self { models: folder, replaced: found, spared: existing });
            }
        }
        anyhow::bail!(
            "{} and {MOST_FOLDERS} folders beside it have models of another history: name another folder with --models, or \
             replace them with --force",
            models.display()
        )
    }

    /// What is to be said of models that were not replaced.
    pub fn warning(&self, pipeline: &Pipeline) -> Option<String> {
        let spared = self.spared.as_ref()?;
        Some(format!(
            "{} has models of another history: {}, {}. They stay as they are, and the new ones are in {}. To replace them, use \
             --force.",
            spared.folder.display(),
            spared.names(),
            spared.history(),
            self.models.join(&pipeline.name).display()
        ))
    }
}

/// `models-sample`, `models-sample-2` ... beside `models`
fn beside(models: &Path, number: usize) -> PathBuf {
    let mut name = models.file_name().map_or_else(|| "models".into(), ToOwned::to_owned);
    name.push("-sample");
    if number > 1 {
        name.push(format!("-{number}"));
    }
    models.with_file_name(name)
}

/// Files by their names; of many, how many.
fn inputs(names: &[String]) -> String {
    match names {
        [] => "no file".to_owned(),
        [one] => one.clone(),
        [first, others @ ..] if others.len() > 2 => format!("{first} and {} other files", others.len()),
        names => and(names),
    }
}

fn and(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [others @ .., last] => {
            let others: Vec<&str> = others.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", others.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(report: Option<LastTraining>, trainings: &[Option<(usize, &str)>]) -> Existing {
        let model = |(name, training): (&&str, &Option<(usize, &str)>)| ExistingModel {
            detector: (*name).to_owned(),
            training: training.map(|(rows, fingerprint)| (rows, fingerprint.to_owned())),
        };
        let models = ["kmeans", "lof", "pca"].iter().zip(trainings).map(model).collect();
        Existing { folder: PathBuf::from("models/p"), models, report }
    }

    fn report(inputs: &[&str]) -> LastTraining {
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        LastTraining { trained_at: Some("2026-11-27T22:00:20.753Z".to_owned()), inputs, versions: Default::default() }
    }

    #[test]
    fn models_are_described_by_what_they_were_trained_on() {
        let two = [Some((2651, "a")), Some((2651, "a"))];
        let of = |report, trainings: &[_]| {
            let existing = existing(report, trainings);
            format!("{}, {}", existing.names(), existing.history())
        };
        let said = of(Some(report(&["history.csv"])), &two);
        assert_eq!(said, "kmeans and lof, trained on history.csv on 2026-11-27 22:00 UTC (2,651 rows)");
        let said = of(Some(report(&["1.csv", "2.csv", "3.csv", "4.csv"])), &two);
        assert_eq!(said, "kmeans and lof, trained on 1.csv and 3 other files on 2026-11-27 22:00 UTC (2,651 rows)");
        let said = of(None, &[Some((2651, "a")), Some((12, "b")), None]);
        assert_eq!(said, "kmeans, lof and pca, trained on 2,651 and 12 rows; no report says of what");
        assert_eq!(of(None, &[None]), "kmeans, which cannot be read");
        assert_eq!(of(None, &[Some((0, ""))]), "kmeans, imported from another program");
    }

    #[test]
    fn a_history_is_known_by_its_rows_or_by_its_files() {
        let inputs = ["h.csv".to_owned()];
        let is = |report, trainings: &[_]| existing(report, trainings).is_of_history("a", &inputs);
        assert!(is(None, &[Some((5, "a")), Some((5, "a"))]));
        assert!(!is(None, &[Some((5, "a")), Some((5, "b"))]));
        assert!(!is(None, &[Some((5, "a")), None]), "one that cannot be read may be of any");
        assert!(is(Some(report(&["h.csv"])), &[Some((5, "b"))]));
        assert!(!is(Some(report(&["h.csv", "i.csv"])), &[Some((5, "b"))]));
    }

    #[test]
    fn the_other_folder_is_beside_the_one_that_was_meant() {
        let of = |models: &str, number| beside(Path::new(models), number).display().to_string();
        assert_eq!((of("models", 1), of("/a/models/", 2)), ("models-sample".into(), "/a/models-sample-2".into()));
    }
}
