//! What command lines say of Kafka: how it is reached, and how topics are created.

use std::fmt;
use std::path::PathBuf;

use clap::Args;

use crate::kafka::{KafkaError, KafkaSettings};

/// How to reach Kafka.
#[derive(Debug, Clone, Args)]
pub struct BrokerArgs {
    /// Kafka brokers as HOST:PORT, separated by commas; without it, those that --kafka-config names, or localhost:9092.
    #[arg(long, value_name = "LIST")]
    pub brokers: Option<String>,
    /// Settings of librdkafka.
    #[command(flatten)]
    pub properties: PropertyArgs,
}

/// Settings of librdkafka.
#[derive(Clone, Args)]
pub struct PropertyArgs {
    /// Setting of Kafka's clients, such as security.protocol=SASL_SSL, named as in Java or librdkafka; may be repeated. Secrets
    /// belong into --kafka-config, or as ${env:NAME} or ${file:PATH} here: others can read command lines.
    #[arg(short = 'X', long = "kafka-property", value_name = "KEY=VALUE")]
    pub properties: Vec<String>,
    /// File of such settings, in the form of Java's clients; -X wins.
    #[arg(long, value_name = "FILE")]
    pub kafka_config: Option<PathBuf>,
}

/// How missing topics are created.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Number of partitions of a created topic.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// Number of replicas of a created topic; -1 is the broker's default.
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub replication_factor: i32,
    /// Create no topics; a missing topic is then an error.
    #[arg(long)]
    pub no_create_topics: bool,
}

impl BrokerArgs {
    /// The settings that these flags mean.
    ///
    /// # Errors
    /// As [`KafkaSettings::new`].
    pub fn settings(&self) -> Result<KafkaSettings, KafkaError> {
        self.properties.settings(self.brokers.clone())
    }
}

impl PropertyArgs {
    /// These brokers, or else those that the file names, or else one on this machine, reached with these settings.
    ///
    /// # Errors
    /// As [`KafkaSettings::new`].
    pub fn settings(&self, brokers: Option<String>) -> Result<KafkaSettings, KafkaError> {
        KafkaSettings::new(brokers, self.kafka_config.as_deref(), &self.properties)
    }
}

/// Without what the settings are: some are secrets.
impl fmt::Debug for PropertyArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PropertyArgs")
            .field("properties", &self.properties.len())
            .field("kafka_config", &self.kafka_config)
            .finish()
    }
}
