//! What detectors are compared on: rows of features, and perhaps which of them are anomalies.

use std::sync::Arc;

use shared::matrix::FeatureMatrix;
use shared::pipeline::{Column, ColumnType, Label, Pipeline, Scored};

use crate::entities::{Entities, Keys};
use crate::progress::Progress;
use crate::timings::Timings;
use crate::train;

/// Rows to compare on.
#[derive(Debug)]
pub struct Dataset {
    /// What it is called.
    pub name: String,
    /// Names of the features: `(n_features)`.
    pub features: Vec<String>,
    /// The rows, in their own units: `(n_samples, n_features)`; what is missing is not a number.
    pub rows: FeatureMatrix,
    /// Which rows are anomalies, where that is known: `(n_samples)`.
    pub labels: Option<Vec<bool>>,
    /// The rows' keys, where they have some: `(n_samples)`.
    pub keys: Option<Keys>,
    /// Whether they are in the order of time.
    pub is_in_time: bool,
    /// What has to be said of it.
    pub notes: Vec<String>,
}

impl Dataset {
    /// The entities of a pipeline, from its history.
    ///
    /// # Errors
    /// As of a training: when the history cannot be read, or none of it can be used.
    pub fn of_pipeline(settings: &train::Settings, progress: Progress) -> anyhow::Result<Self> {
        let pipeline = &settings.pipeline;
        let (loaded, entities) = train::read(settings, progress, &mut Timings::default())?;
        let Entities { keys, features, labels, left_out, .. } = entities;
        let mut notes = Vec::new();
        if loaded.bad_rows.total() > 0 {
            notes.push(format!("{} rows of the history are not valid and are left out", loaded.bad_rows.total()));
        }
        let left_out: usize = left_out.iter().map(|(_, count)| count).sum();
        if left_out > 0 {
            notes.push(format!("{left_out} entities are left out, as in training"));
        }
        let labels = match &settings.analysts {
            Some(analysts) => {
                let of_analysts: Vec<bool> = keys.iter().map(|key| analysts.is_anomaly(key)).collect();
                let found = of_analysts.iter().filter(|is_anomaly| **is_anomaly).count();
                let all = analysts.n_anomalies();
                notes.push(format!("{found} of the {all} anomalies that {analysts} confirms are in this history"));
                Some(of_analysts)
            }
            None => labels.map(|labels| (0..labels.len()).map(|row| labels.get(row).is_some()).collect()),
        };
        let names: Vec<&str> = pipeline.zscores.iter().map(|spec| spec.name.as_str()).collect();
        if !names.is_empty() {
            notes.push(format!("not compared, because it needs no training: {}", names.join(", ")));
        }
        Ok(Self {
            name: pipeline.name.clone(),
            features: pipeline.feature_names(),
            rows: features,
            labels,
            keys: Some(keys),
            // Records are in the order of their time, and sessions in the order in which they began.
            is_in_time: true,
            notes,
        })
    }
}

/// The pipeline with `column` as its label.
///
/// # Errors
/// When an entity has no label of its own, or a feature reads the column.
pub fn with_label(mut pipeline: Pipeline, column: &str) -> anyhow::Result<Arc<Pipeline>> {
    let Scored::Records(records) = &pipeline.scored else {
        anyhow::bail!(
            "pipeline `{}` combines lines into entities, and a label belongs to one line: leave out --label, or compare on a \
             table of features with --input FILE --label COLUMN and without --pipeline",
            pipeline.name
        );
    };
    let found = pipeline.schema.columns.iter().position(|known| known.is_called(column));
    if found.is_some_and(|index| records.features.columns().contains(&index) || is_of_key(&pipeline, index)) {
        anyhow::bail!("the label `{column}` is read by the pipeline's features: detectors would know the answer");
    }
    let index = found.unwrap_or(pipeline.schema.columns.len());
    let columns = &mut Arc::make_mut(&mut pipeline.schema).columns;
    match found {
        Some(index) => columns[index] = columns[index].of_labels(),
        None => columns.push(Column::new(column, ColumnType::Text).of_labels()),
    }
    let normal = match pipeline.label.take() {
        Some(label) => label.normal,
        None => Label::default().normal,
    };
    pipeline.label = Some(Label { column: Some(index), header: None, normal });
    Ok(Arc::new(pipeline))
}

/// Whether the key is this column, or is made of it among others.
fn is_of_key(pipeline: &Pipeline, column: usize) -> bool {
    pipeline.entity.key == column || pipeline.schema.key.as_ref().is_some_and(|key| key.parts.contains(&column))
}
