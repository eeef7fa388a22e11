//! The topics of a pipeline: looked for, created where they are missing, and checked.

pub(crate) mod admin;
pub(crate) mod check;
pub(crate) mod input;
pub(crate) mod limits;
pub(crate) mod names;
pub(crate) mod way;
