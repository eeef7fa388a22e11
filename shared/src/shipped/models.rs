//! Models that were trained on the sample history.

use super::{BuiltIn, built_in, find};

static MODELS: [BuiltIn; 6] = [
    built_in!("models/invoices/kmeans/model.json"),
    built_in!("models/invoices/bisecting-kmeans/model.json"),
    built_in!("models/invoices-spark/kmeans/model.json"),
    built_in!("models/invoices-spark/bisecting-kmeans/model.json"),
    built_in!("models/transactions/kmeans/model.json"),
    built_in!("models/transactions/bisecting-kmeans/model.json"),
];

/// The model of a detector of a pipeline that ships.
pub fn model(pipeline: &str, detector: &str) -> Option<&'static BuiltIn> {
    find(&MODELS, &format!("models/{pipeline}/{detector}/model.json"))
}
