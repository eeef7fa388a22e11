//! Nothing to call: this crate is there for its dependencies.
//!
//! Cargo builds a dependency anew for every set of features that is asked of it, and with it everything that stands on it.
//! The trainer's polars asks more of small crates under burn than the scorer does, and `parquet` and `rdkafka` ask more than
//! polars: burn would be built once for each program. Both programs depend on this crate, which asks for all of it, so the
//! two have the same features of whatever `shared` stands on. `ARCHITECTURE.md` says how to compare them.
