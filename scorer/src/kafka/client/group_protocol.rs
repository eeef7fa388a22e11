//! The protocol by which the partitions of a group are handed out.

use super::error::KafkaError;

/// Who hands out the partitions of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// One of its members, in rebalances that every broker knows.
    #[default]
    Classic,
    /// The broker (KIP-848), from Apache Kafka 4.0 on.
    Consumer,
}

/// Settings that the broker has where it hands out partitions, and which those are.
const OF_THE_BROKER: &[(&str, &str)] = &[
    (
        "session.timeout.ms",
        "with --group-protocol consumer it is a setting of the brokers, `group.consumer.session.timeout.ms`",
    ),
    (
        "heartbeat.interval.ms",
        "with --group-protocol consumer it is a setting of the brokers, `group.consumer.heartbeat.interval.ms`",
    ),
    ("group.protocol.type", "with --group-protocol consumer there is no such setting"),
];

impl GroupProtocol {
    /// How a member of a group is set.
    pub(crate) const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Classic => &[
                ("partition.assignment.strategy", "cooperative-sticky"),
                // The group replaces an instance that hangs or dies after this time.
                ("session.timeout.ms", "10000"),
                ("heartbeat.interval.ms", "1500"),
            ],
            Self::Consumer => &[("group.protocol", "consumer"), ("group.remote.assignor", "uniform")],
        }
    }

    /// Refuses settings of the user that say nothing with this protocol: the client would not start with them.
    ///
    /// # Errors
    /// [`KafkaError::ProtectedSetting`] for the first of them.
    pub(crate) fn refuse_foreign(self, properties: &[(String, String)]) -> Result<(), KafkaError> {
        if self == Self::Classic {
            return Ok(());
        }
        let found = OF_THE_BROKER.iter().find(|(name, _)| properties.iter().any(|(key, _)| key == name));
        found.map_or(Ok(()), |&(name, why)| Err(KafkaError::ProtectedSetting { name, why }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_the_broker_is_refused_where_it_hands_out_partitions() {
        for (name, why) in OF_THE_BROKER {
            let properties = [("acks".to_owned(), "all".to_owned()), ((*name).to_owned(), "6000".to_owned())];
            let error = GroupProtocol::Consumer.refuse_foreign(&properties).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(why), "{error}");
            assert!(GroupProtocol::Consumer.refuse_foreign(&properties[..1]).is_ok());
            assert!(GroupProtocol::Classic.refuse_foreign(&properties).is_ok(), "{name}");
        }
    }
}
