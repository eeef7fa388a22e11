//! Closed entities in, verdicts out: one batch of features, every detector of the pipeline.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use shared::detector::{Detector, ExplainedScore, ScoredBatch};
use shared::device::{ChosenDevice, Device, DeviceError, guarded};
use shared::matrix::FeatureMatrix;
use shared::model::{Model, ModelError, of_another_training};
use shared::model_source::ModelSource;
use shared::pipeline::{DetectorSpec, Pipeline};
use shared::verdict::Verdict;

use crate::core::ClosedEntity;
use crate::drift::{Drift, Plan};

/// The verdicts on an entity, each with the topic it goes to.
pub type Verdicts = Vec<(Arc<str>, Verdict)>;

/// What a detector says of each entity of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgements {
    /// The detector.
    pub detector: String,
    /// The version of its model.
    pub version: String,
    /// Its scores, each with the score that an anomaly exceeds: `(n_entities)`.
    pub scores: Vec<(f32, f32)>,
    /// The verdicts on those that are anomalous, each with the entity's place, in rising order.
    pub anomalies: Vec<(usize, Verdict)>,
}

/// The trained detectors of a pipeline, each with the topic of its verdicts, and the device that they score on.
#[derive(Debug)]
pub struct Detectors {
    /// On the CPU: they are small, and any device may fail.
    detectors: Vec<(Detector, Arc<str>)>,
    device: ChosenDevice,
    /// The same on the device, if that is not the CPU, from the first batch on.
    on_device: OnceLock<Vec<Detector>>,
    has_failed: AtomicBool,
    pipeline: Pipeline,
    /// Of all detectors: those that need no training have found what they say before it comes here.
    names: Vec<String>,
    /// Whether what they judge is still like what they were trained on.
    drift: Drift,
}

impl Detectors {
    /// Loads the model of every detector of `pipeline` that has one, to score on `device`.
    ///
    /// # Errors
    /// [`ModelError`] of the first that is missing, damaged, or trained for something else.
    pub fn load(models: &ModelSource, pipeline: &Pipeline, device: &ChosenDevice) -> Result<Self, ModelError> {
        let load = |spec: &DetectorSpec| {
            let model = models.load(pipeline, &spec.name)?;
            Ok((Detector::new(model, &Device::flex()), spec.topic.as_str().into()))
        };
        let detectors =
            pipeline.detectors.iter().map(load).collect::<Result<Vec<(Detector, Arc<str>)>, ModelError>>()?;
        let drift = Drift::new(Plan::new(pipeline, detectors.iter().map(|(detector, _)| detector.model())));
        Ok(Self {
            drift,
            detectors,
            device: device.clone(),
            on_device: OnceLock::new(),
            has_failed: AtomicBool::new(false),
            pipeline: pipeline.clone(),
            names: pipeline.detector_topics().map(|(name, _)| name.to_owned()).collect(),
        })
    }

    /// The trained detectors whose models in `models` are not of the pipeline's last training, as far as its report says;
    /// those that were promoted are not meant to be.
    pub fn of_another_training(&self, models: &ModelSource, pipeline: &Pipeline) -> Vec<&str> {
        let Some(models) = models.folder() else { return Vec::new() };
        let trained = self.detectors.iter().map(|(detector, _)| detector).filter(|it| !it.model().promoted);
        let versions = trained.map(|detector| (detector.model().detector.as_str(), detector.version()));
        of_another_training(models, &pipeline.name, versions)
    }

    /// Why trained models may not fit the pipeline, each with the names of those for which that is so.
    pub fn doubts(&self, pipeline: &Pipeline) -> Vec<(String, Vec<&str>)> {
        let mut doubts: Vec<(String, Vec<&str>)> = Vec::new();
        for model in self.detectors.iter().map(|(detector, _)| detector.model()) {
            for doubt in model.doubts(pipeline) {
                match doubts.iter_mut().find(|(known, _)| *known == doubt) {
                    Some((_, names)) => names.push(&model.detector),
                    None => doubts.push((doubt, vec![&model.detector])),
                }
            }
        }
        doubts
    }

    /// The models of the trained detectors, in their order.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.detectors.iter().map(|(detector, _)| detector.model())
    }

    /// The names of all detectors, trained or not.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// What counts whether the stream is still like the training: one for all that these detectors judge.
    pub fn drift(&self) -> &Drift {
        &self.drift
    }

    /// Whether none needs a device.
    pub fn is_empty(&self) -> bool {
        self.detectors.is_empty()
    }

    /// The verdicts on each entity, one a trained detector, with the topic each goes to; on normal entities only where `all` are
    /// asked for, because nearly all are normal. Where the pipeline wants all opinions of an entity together, one that is
    /// anomalous to any detector has those of all.
    ///
    /// A batch that a chosen device fails at is scored again on the CPU, as are all that follow.
    ///
    /// # Errors
    /// [`DeviceError::Lost`] when a device that was asked for by name fails.
    pub fn verdicts<E: Borrow<ClosedEntity>>(&self, entities: &[E], all: bool) -> Result<Vec<Verdicts>, DeviceError> {
        Ok(self.judged(entities, all)?.0)
    }

    /// The same with what each trained detector says of every entity of the batch.
    ///
    /// # Errors
    /// As [`Detectors::verdicts`].
    pub fn judged<E: Borrow<ClosedEntity>>(
        &self,
        entities: &[E],
        all: bool,
    ) -> Result<(Vec<Verdicts>, Vec<ScoredBatch>), DeviceError> {
        let mut verdicts: Vec<Verdicts> = entities.iter().map(|_| Vec::new()).collect();
        let batches = self.scores(entities)?;
        let mut is_wanted = vec![all; entities.len()];
        if self.pipeline.verdicts_topic.is_some() {
            for ((detector, _), batch) in self.detectors.iter().zip(&batches) {
                is_wanted
                    .iter_mut()
                    .zip(batch.iter())
                    .for_each(|(wanted, score)| *wanted |= detector.is_anomalous(score));
            }
        }
        for ((detector, topic), batch) in self.detectors.iter().zip(&batches) {
            for (index, verdict) in self.explained(detector, batch, entities, &is_wanted) {
                verdicts[index].push((topic.clone(), verdict));
            }
        }
        Ok((verdicts, batches))
    }

    /// What each trained detector says of one entity, computed on the CPU: the device has the stream's batches to score.
    pub fn at_once(&self, entity: &ClosedEntity) -> Vec<Verdict> {
        let entities = std::slice::from_ref(entity);
        let batches = self.on_cpu(&self.matrix(entities));
        let verdicts = self.detectors.iter().zip(&batches);
        let verdicts = verdicts.flat_map(|((detector, _), batch)| self.explained(detector, batch, entities, &[true]));
        verdicts.map(|(_, verdict)| verdict).collect()
    }

    /// What each trained detector says of each entity: all scores, and the verdicts on anomalies.
    ///
    /// # Errors
    /// As [`Detectors::verdicts`].
    pub fn judgements(&self, entities: &[ClosedEntity]) -> Result<Vec<Judgements>, DeviceError> {
        let judgements = |((detector, _), batch): (&(Detector, _), ScoredBatch)| {
            let threshold = &detector.model().threshold;
            Judgements {
                detector: detector.model().detector.clone(),
                version: detector.version().to_owned(),
                scores: batch.iter().map(|(score, cluster)| (score, threshold.of_cluster(cluster))).collect(),
                anomalies: self.explained(detector, &batch, entities, &vec![false; entities.len()]),
            }
        };
        Ok(self.detectors.iter().zip(self.scores(entities)?).map(judgements).collect())
    }

    /// The scores of each detector.
    fn scores<E: Borrow<ClosedEntity>>(&self, entities: &[E]) -> Result<Vec<ScoredBatch>, DeviceError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let features = &self.matrix(entities);
        if self.device.is_cpu() || self.has_failed.load(Ordering::Relaxed) {
            return Ok(self.on_cpu(features));
        }
        let on_device = || {
            let detectors = self.on_device.get_or_init(|| self.copies());
            detectors.iter().map(|detector| detector.score(features)).collect()
        };
        guarded(&self.device, on_device).or_else(|failure| {
            let warning = failure.what_happened();
            self.device.replaced_after(failure)?;
            self.has_failed.store(true, Ordering::Relaxed);
            tracing::warn!("{warning}; this batch and all that follow are scored on the CPU");
            Ok(self.on_cpu(features))
        })
    }

    /// The features of entities: `(n_entities, n_features)`.
    fn matrix<E: Borrow<ClosedEntity>>(&self, entities: &[E]) -> FeatureMatrix {
        let mut matrix = FeatureMatrix::new(self.pipeline.n_features());
        entities.iter().for_each(|entity| matrix.push(&entity.borrow().features));
        matrix
    }

    fn on_cpu(&self, features: &FeatureMatrix) -> Vec<ScoredBatch> {
        self.detectors.iter().map(|(detector, _)| detector.score(features)).collect()
    }

    fn copies(&self) -> Vec<Detector> {
        let copy = |(detector, _): &(Detector, _)| Detector::new(detector.model().clone(), &self.device.device);
        self.detectors.iter().map(copy).collect()
    }

    /// The verdicts on the entities of a batch that are anomalous, and on those that are wanted anyway, each with its place.
    fn explained<E: Borrow<ClosedEntity>>(
        &self,
        detector: &Detector,
        batch: &ScoredBatch,
        entities: &[E],
        is_wanted: &[bool],
    ) -> Vec<(usize, Verdict)> {
        let is_wanted = |(index, score): &(usize, _)| is_wanted[*index] || detector.is_anomalous(*score);
        let wanted: Vec<usize> = batch.iter().enumerate().filter(is_wanted).map(|(index, _)| index).collect();
        // Explained on the CPU: they are few.
        let explained = detector.explain(batch, &wanted);
        let verdict = |(&index, score): (&usize, ExplainedScore)| {
            let entity: &ClosedEntity = entities[index].borrow();
            (index, Verdict::new(&self.pipeline, detector, &entity.summary, &entity.features, &score))
        };
        wanted.iter().zip(explained).map(verdict).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use shared::device::{DeviceRequest, choose};

    use super::*;
    use crate::core::{Core, Input, Output, Record};
    use crate::file::{FileLines, InputFile};

    fn on(device: ChosenDevice) -> Detectors {
        let pipeline = Pipeline::load("invoices").unwrap();
        Detectors::load(&ModelSource::BuiltIn, &pipeline, &device).unwrap()
    }

    /// The first invoices of the sample file.
    fn entities() -> Vec<ClosedEntity> {
        let pipeline = Arc::new(Pipeline::load("invoices").unwrap().with_event_clock().unwrap());
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../resources/production.csv");
        let mut lines = FileLines::new(InputFile::open(&path).unwrap(), &pipeline).unwrap();
        let (mut core, mut outputs) = (Core::new(pipeline.clone()), Vec::new());
        for offset in 0..2000 {
            let line = lines.next_line().unwrap().unwrap();
            core.apply(Input::Record(Record::new(0, offset, 0, &line.record)), &mut outputs);
        }
        core.apply(Input::End, &mut outputs);
        outputs
            .into_iter()
            .filter_map(|output| if let Output::Closed(entity) = output { Some(entity) } else { None })
            .collect()
    }

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_batch_that_a_chosen_device_fails_at_is_scored_on_the_cpu() {
        let (entities, log) = (entities(), Log::default());
        assert!(entities.len() > 20, "{}", entities.len());
        let expected = on(choose(DeviceRequest::Cpu).unwrap()).verdicts(&entities, true).unwrap();
        let detectors = on(ChosenDevice::absent());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..2 {
                assert_eq!(detectors.verdicts(&entities, true).unwrap(), expected);
            }
        });
        let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("device `absent` failed: ") && said.contains("are scored on the CPU"), "{said}");
    }

    #[test]
    fn several_threads_score_at_once() {
        let (entities, detectors) = (entities(), on(choose(DeviceRequest::Cpu).unwrap()));
        let expected = detectors.verdicts(&entities, true).unwrap();
        std::thread::scope(|scope| {
            let score = || detectors.verdicts(&entities, true).unwrap();
            let threads = [(); 4].map(|()| scope.spawn(score));
            threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), expected));
        });
    }

    #[test]
    fn judgements_are_verdicts_in_short() {
        let (entities, detectors) = (entities(), on(choose(DeviceRequest::Cpu).unwrap()));
        let verdicts = detectors.verdicts(&entities, true).unwrap();
        for (place, judgements) in detectors.judgements(&entities).unwrap().into_iter().enumerate() {
            let expected: Vec<&Verdict> = verdicts.iter().map(|verdicts| &verdicts[place].1).collect();
            let scores: Vec<(f32, f32)> = expected.iter().map(|it| (it.score, it.threshold)).collect();
            assert_eq!(judgements.scores, scores);
            let anomalies = expected.into_iter().enumerate().filter(|(_, verdict)| verdict.anomalous);
            assert_eq!(judgements.anomalies, anomalies.map(|(at, verdict)| (at, verdict.clone())).collect::<Vec<_>>());
            assert!(!judgements.anomalies.is_empty());
        }
    }

    #[test]
    fn a_named_device_that_fails_is_an_error() {
        let detectors = on(ChosenDevice { is_automatic: false, ..ChosenDevice::absent() });
        let error = detectors.verdicts(&entities(), true).unwrap_err().to_string();
        assert!(error.starts_with("device `absent` failed: ") && error.contains("use `--device cpu`"), "{error}");
    }
}
