//! What goes over the wire: pure functions from outputs and verdicts to messages.

mod costs;
mod dead_letters;
mod encoder;
mod message;

pub use costs::Costs;
pub use dead_letters::{DeadLetter, DeadLetters, DeadRecord, Refusal};
pub use encoder::{Encoded, Encoder};
pub use message::{Content, Message, Source, record_bytes};
