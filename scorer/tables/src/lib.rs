//! Tables in files: records of CSV.

pub mod csv;
