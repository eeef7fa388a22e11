//! Which detectors need labels, and where they come from: before a history is read, and once it was.

use shared::pipeline::{DetectorSpec, Pipeline, Scored};

use crate::entities::Labels;

/// What of a detector needs labels, when anything does.
fn what_needs_labels(spec: &DetectorSpec) -> Option<String> {
    if spec.algorithm.needs_labels() {
        return Some(format!("{} learns from labels", spec.algorithm.name()));
    }
    spec.threshold.needs_labels().then(|| format!("threshold {} is chosen by labels", spec.threshold))
}

/// Fails where a detector needs labels that records of this pipeline cannot have.
///
/// # Errors
/// What needs them, and what would be right.
pub fn check(pipeline: &Pipeline, spec: &DetectorSpec) -> Result<(), String> {
    let Some(what) = what_needs_labels(spec) else { return Ok(()) };
    let name = &pipeline.name;
    let problem = match &pipeline.scored {
        Scored::Sessions(_) => format!(
            "{what}, and a label belongs to one record, but pipeline `{name}` combines records into entities: score each record by \
             itself, without [entity] session_gap"
        ),
        Scored::Records(_) if pipeline.label.as_ref().is_none_or(|label| label.column.is_none()) => {
            format!("{what}, and pipeline `{name}` names no column that holds them: add [label] column = \"...\"")
        }
        Scored::Records(_) => return Ok(()),
    };
    let instead = if spec.algorithm.needs_labels() {
        "an algorithm that needs none, such as isolation-forest"
    } else {
        "threshold = { false_alarm_rate = 0.001 }"
    };
    Err(format!("{problem}, or use {instead}"))
}

/// What is known of some entities of a history: of those that `is_wanted`, in their order; nothing where a detector needs no labels.
///
/// # Errors
/// As [`check`], and where the history came without labels.
pub(crate) fn of_entities(
    pipeline: &Pipeline,
    spec: &DetectorSpec,
    labels: Option<&Labels>,
    is_wanted: impl Fn(usize) -> bool,
) -> Result<Option<Vec<Option<bool>>>, String> {
    let Some(what) = what_needs_labels(spec) else { return Ok(None) };
    check(pipeline, spec)?;
    let Some(labels) = labels else {
        return Err(format!("{what}, and this history has none: train it with the command `trainer`"));
    };
    Ok(Some((0..labels.len()).filter(|&index| is_wanted(index)).map(|index| labels.known(index)).collect()))
}
