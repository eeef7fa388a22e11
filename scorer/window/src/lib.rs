//! The window of a running scorer: pages for people, a JSON API and metrics for programs.
//!
//! It shows what was committed, and nothing else. It takes three things, and knows no Kafka: messages as they are documented
//! (`docs/messages.md`) through an [`Intake`], a [`Snapshot`] of the stream whenever it asks for one, and what does not change
//! ([`About`]). Everything that it keeps is bounded: see [`Limits`].
//!
//! It never holds the stream back. An [`Intake`] takes a message at once or drops it and counts that. All work is done on one
//! thread with a low priority, which shares nothing with the stream but that queue.
//!
//! What analysts say goes out through a [`Journal`], whose other end keeps it and tells of everything that is kept. Records that
//! are posted to be scored at once go out through [`Questions`], and orders to send erroneous records again through [`Redrives`].
//!
//! The rooms, each of which knows only those before it: `about`, `snapshot`, `intake`, `journal` and `questions` are what comes in, and `alerts` is
//! the desk of those who decide them; `store` keeps
//! messages and labels, and `history` the numbers of the last minutes; `view` holds both; `redrives` are orders to send erroneous records again; `found` is the store for whoever shows it
//! without pages; `metrics`, `numbers` (the same for logs), `assets` (the pages) and `api` are what goes out; `http`
//! decides who may ask, and `server` runs it all.

mod about;
mod alerts;
mod api;
mod assets;
mod found;
mod history;
mod http;
mod intake;
mod journal;
mod metrics;
mod numbers;
mod questions;
mod rate;
mod redrives;
mod server;
mod snapshot;
mod store;
mod view;

pub use about::{About, Detector, Feature, Words};
pub use alerts::{AlertAction, AlertDesk, AlertNumbers, AlertOf, AlertWord, ChannelNumbers, Concerned};
pub use found::{ErrorCounts, Found, InForce, Wanted};
pub use http::access::{Access, AccessError, Token};
pub use http::address::{Address, AddressError};
pub use http::logins::{Logins, LoginsError};
pub use intake::{Committed, Intake, Kind, Refill};
pub use journal::{Check, Closed, Entry, Journal, Keeping, Outcome, Versions, Write};
pub use questions::{Question, Questions, Reply, Written};
pub use redrives::{Order, Redriven, Redrives, Which};
pub use server::{Ends, Open, Server, ServerError, Source, yield_to_others};
pub use snapshot::{Agreement, DetectorDrift, Drift, FeatureDrift, Histogram, Partitions, Snapshot};
pub use store::labels::{Said, State, Word};
pub use store::{FlaggedBy, Limits, Row, Severity};
pub use view::Ask;
