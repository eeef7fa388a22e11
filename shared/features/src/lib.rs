//! What is made of the values of records: numbers that a detector can compare.
//!
//! Entities of several lines have [aggregates] of them; records that are scored one by one have their own values and what
//! came before them for their keys ([`history`]); a window has a centre and a spread ([`zscore`]). What is remembered can
//! be written down ([`codec`]) and is forgotten in time ([`expiry`]); what it takes is counted as what is allocated
//! ([`allocation`]). Pure: no clock, no I/O.

pub mod aggregates;
pub mod allocation;
pub mod codec;
pub mod expiry;
pub mod history;
pub mod zscore;
