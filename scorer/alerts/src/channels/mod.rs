//! The kinds of channels.

pub mod alertmanager;
#[cfg(feature = "email")]
pub mod email;
pub mod http;
pub mod slack;
mod text;
pub mod webhook;
