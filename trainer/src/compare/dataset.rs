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
        let Entities { keys, features, labels, left_out } = entities;
        let mut notes = Vec::new();
        if loaded.bad_rows.total() > 0 {
            notes.push(format!("{} rows of the history are not valid and are left out", loaded.bad_rows.total()));
        }
        let left_out: usize = left_out.iter().map(|(_, count)| count).sum();
        if left_out > 0 {
            notes.push(format!("{left_out} entities are left out, as in training"));
        }
        let names: Vec<&str> = pipeline.zscores.iter().map(|spec| spec.name.as_str()).collect();
        if !names.is_empty() {
            notes.push(format!("not compared, because it needs no training: {}", names.join(", ")));
        }
        Ok(Self {
            name: pipeline.name.clone(),
            features: pipeline.feature_names(),
            rows: features,
            labels: labels.map(|labels| (0..labels.len()).map(|row| labels.get(row).is_some()).collect()),
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
    if let Some(index) = found {
        if pipeline.schema.columns[index].kind != ColumnType::Text {
            anyhow::bail!(
                "the label `{column}` must be a text column in the pipeline file, as in \"{column}\" without :int"
            );
        }
        if records.features.columns().contains(&index) || index == pipeline.entity.key {
            anyhow::bail!("the label `{column}` is read by the pipeline's features: detectors would know the answer");
        }
    }
    let index = found.unwrap_or(pipeline.schema.columns.len());
    let columns = &mut Arc::make_mut(&mut pipeline.schema).columns;
    match found {
        Some(index) => columns[index].is_read = true,
        None => columns.push(Column {
            name: column.to_owned(),
            kind: ColumnType::Text,
            aliases: Vec::new(),
            range: (f64::NEG_INFINITY, f64::INFINITY),
            optional: false,
            needed: false,
            is_read: true,
            if_missing: None,
            max_bytes: None,
        }),
    }
    let normal = match pipeline.label.take() {
        Some(label) => label.normal,
        None => ["", "0", "normal", "false"].map(str::to_owned).to_vec(),
    };
    pipeline.label = Some(Label { column: Some(index), header: None, normal });
    Ok(Arc::new(pipeline))
}
