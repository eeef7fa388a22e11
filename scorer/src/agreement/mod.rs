//! How two detectors agree: on which entities both, one or neither of them say "anomaly", and, where it is known what
//! entities are, which of them is right more often.
//!
//! Pure: verdicts come in from a file, a topic or the detectors themselves, counts and a few examples go out.

mod cause;
mod counts;
mod entity_id;
mod examples;
mod intake;
mod labels;
mod pairs;

pub use cause::Cause;
pub use counts::{Agreement, Cells, Side};
pub use entity_id::EntityId;
pub use examples::Example;
pub use intake::Intake;
pub use labels::Labels;
pub use pairs::{Comparison, Judged, Pairs};
