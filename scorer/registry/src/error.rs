//! Why a registry is of no use.

use std::time::Duration;

use thiserror::Error;

/// Why a registry is of no use, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// It does not know who asks, or does not let them.
    #[error(
        "the Schema Registry at {url} refuses ({status}): check user and password_file or password_env under [input.registry]"
    )]
    Refused {
        /// Its address.
        url: String,
        /// The status of its answer.
        status: u16,
    },
    /// Something else is there.
    #[error("{url} does not answer as a Schema Registry does: {problem}; check url under [input.registry]")]
    NoRegistry {
        /// The address.
        url: String,
        /// What came.
        problem: String,
    },
    /// It gave no answer for too long.
    #[error(
        "the Schema Registry at {url} has given no answer for {} s: {cause}. Nothing is lost: the records wait in Kafka, and the next \
         start goes on with them",
        after.as_secs()
    )]
    Silent {
        /// Its address.
        url: String,
        /// For how long.
        after: Duration,
        /// What went wrong the last time.
        cause: String,
    },
    /// It was built without what reads them.
    #[error("this program was built without Protobuf: build it with `cargo build -p scorer --features protobuf`")]
    NoProtobuf,
    /// The certificates that are to be trusted cannot be read.
    #[error("ca_file under [input.registry] holds no certificate in PEM")]
    NoCertificate,
    /// The system has nothing to ask it with.
    #[error("the client of the Schema Registry cannot be made: {0}")]
    NoClient(String),
}
