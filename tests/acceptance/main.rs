//! Acceptance tests: the programs as a user runs them, on the real history and a real Apache Kafka.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod ab;
mod abort;
mod alerts;
mod broker;
mod browser;
mod clock;
mod detectors;
mod ends;
mod envelopes;
mod exactly_once;
mod expected;
mod grow;
mod hops;
mod init;
mod labels;
mod memory;
mod messages;
mod operations;
mod rebalance;
mod redrive;
mod registry;
mod repartition;
mod restore;
mod security;
mod sizes;
mod standbys;
mod strangers;
mod stream;
mod threads;
mod transactions;
mod trouble;
mod vanished;
mod watch;
mod window;
mod zombie;
