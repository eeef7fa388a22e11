//! What can be done about an error, and what a broker's code says of that.

use rdkafka::error::RDKafkaErrorCode;

/// What kind of error it is: what a supervisor can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// What the user gave or set up. It has to be changed before another start.
    Configuration,
    /// A login that brokers do not take. It has to be changed before another start.
    Login,
    /// A host that nobody knows. Another start may succeed, if names are found again.
    UnknownHost,
    /// Something that is not there for now. Another start may succeed.
    Unavailable,
    /// TLS that brokers and this program do not agree upon. Settings or certificates have to be changed before another start.
    Tls,
    /// A right that is missing. It has to be given before another start.
    Permission,
    /// Data that cannot be worked with. Another start meets them again.
    Data,
    /// A fault of this program.
    Bug,
}

impl ErrorKind {
    /// The exit code of the process, of `sysexits(3)`: `EX_CONFIG`, `EX_NOUSER`, `EX_NOHOST`, `EX_TEMPFAIL`, `EX_PROTOCOL`,
    /// `EX_NOPERM`, `EX_DATAERR`, `EX_SOFTWARE`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Configuration => 78,
            Self::Login => 67,
            Self::UnknownHost => 68,
            Self::Unavailable => 75,
            Self::Tls => 76,
            Self::Permission => 77,
            Self::Data => 65,
            Self::Bug => 70,
        }
    }
}

/// What becomes of the state of a group whose topic has other partitions than before, and how it is carried over, if it can be.
pub(super) fn split_state(now: i32, group: &str, can_grow: bool) -> String {
    match can_grow {
        true => format!(
            "lines of open invoices now go to other partitions and would be split. `scorer grow --group {group} --partitions \
             {now}` (with the --pipeline of `run`) carries them over;"
        ),
        false => "records of a key now go to other partitions, and where they take several hops, what is remembered of it cannot \
                  be carried over."
            .to_owned(),
    }
}

/// The right that a broker misses, with what gives it, where it refuses for that.
pub(super) fn missing_right(code: RDKafkaErrorCode) -> Option<&'static str> {
    match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => Some(
            "it may not do this with a topic; give it Read, Write, Create and Describe on the topics that `scorer topics` \
             names (`kafka-acls.sh --add --allow-principal User:NAME --operation Read --topic TOPIC`)",
        ),
        RDKafkaErrorCode::GroupAuthorizationFailed => Some(
            "it may not use the consumer group; give it Read and Describe on the group \
             (`kafka-acls.sh --add --allow-principal User:NAME --operation Read --group GROUP`)",
        ),
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => Some(
            "it may not use the transactional id; give it Write and Describe on ids that begin with the group \
             (`kafka-acls.sh --add --allow-principal User:NAME --operation Write --transactional-id GROUP \
             --resource-pattern-type prefixed`)",
        ),
        RDKafkaErrorCode::ClusterAuthorizationFailed => Some(
            "it may not do this with the cluster; give it IdempotentWrite and Create on the cluster \
             (`kafka-acls.sh --add --allow-principal User:NAME --operation Create --cluster`)",
        ),
        _ => None,
    }
}

/// Whether the broker would say the same of the same request again.
pub(crate) fn is_denial(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::InvalidTransactionTimeout
            | RDKafkaErrorCode::InvalidSessionTimeout
            | RDKafkaErrorCode::InvalidGroupId
            | RDKafkaErrorCode::UnsupportedVersion
            | RDKafkaErrorCode::UnsupportedFeature
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::InvalidArgument
            | RDKafkaErrorCode::InvalidConfig
    )
}
