//! The trainer from outside: as a program and as a library, on small files of its own and on real history.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bad_input;
mod command_line;
mod compare;
mod configuration;
mod dialects;
mod documents;
mod fixtures;
mod formats;
mod import;
mod init;
mod labels;
mod layouts;
mod memory;
mod models;
mod parity;
mod past;
mod sample;
mod shipped;
mod supervised;
