//! A Kafka inside the process: librdkafka's mock cluster.

use anyhow::{Context, Result};
use rdkafka::bindings as native;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};

/// A cluster of one broker. It ends with this value.
pub(super) struct Cluster {
    /// Its client owns the cluster.
    owner: BaseProducer,
}

impl Cluster {
    /// Starts it.
    ///
    /// # Errors
    /// When librdkafka cannot.
    pub fn start() -> Result<Self> {
        let owner: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .create()
            .context("the in-process Kafka did not start")?;
        // A broker gives a new group three seconds to gather; here it has one member.
        // SAFETY: the client is alive, and with it the cluster that it made.
        unsafe {
            let cluster = native::rd_kafka_handle_mock_cluster(owner.client().native_ptr());
            if !cluster.is_null() {
                native::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            }
        }
        Ok(Self { owner })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When librdkafka made none.
    pub fn brokers(&self) -> Result<String> {
        Ok(self.cluster()?.bootstrap_servers())
    }

    /// Makes a topic of one partition.
    ///
    /// # Errors
    /// When it refuses the topic.
    pub fn create_topic(&self, topic: &str) -> Result<()> {
        self.cluster()?.create_topic(topic, 1, 1).with_context(|| format!("topic `{topic}`"))
    }

    fn cluster(&self) -> Result<MockCluster<'_, DefaultProducerContext>> {
        self.owner.client().mock_cluster().context("the in-process Kafka did not start")
    }
}
