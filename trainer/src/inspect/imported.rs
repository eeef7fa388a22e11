//! What is known of a model that another program trained.

use shared::detectors::clusters::Distance;
use shared::model::{Imported, Model};

use crate::numbers::{grouped, percentage, short};
use crate::table::TextTable;

/// Where it comes from, and what it says of a history, where it has seen one.
pub(super) fn facts(model: &Model, imported: &Imported) -> String {
    let mut table = TextTable::without_header(2);
    let clusters = model.learned.clusters();
    let k = clusters.map_or(0, |clusters| clusters.n_clusters());
    let exact = clusters.and_then(|clusters| clusters.exact.as_ref());
    table.row(["algorithm".to_owned(), format!("{}, k = {k}", model.parameters.name())]);
    table.row([
        "imported from".to_owned(),
        format!("{} {}, version {}", imported.program, imported.class, imported.version),
    ]);
    table.row(["imported files".to_owned(), format!("SHA-256 {}", imported.fingerprint)]);
    if let Some(exact) = exact {
        let score = match exact.distance {
            Distance::Squared => "squared distance to the centre",
            Distance::Euclidean => "distance to the centre",
        };
        table.row(["score".to_owned(), format!("{score}, in float64")]);
    }
    let threshold = exact.map_or(f64::from(model.threshold.value), |exact| exact.threshold);
    let training = &model.training;
    let exceeded = if training.rows == 0 {
        String::new()
    } else {
        let share = percentage(training.anomalies, training.rows);
        let (anomalies, rows) = (grouped(training.anomalies as u64), grouped(training.rows as u64));
        format!("; exceeded by {anomalies} of {rows} entities of the history ({share})")
    };
    table.row(["threshold".to_owned(), format!("{}, of the job that trained it{exceeded}", short(threshold))]);
    table.render()
}
