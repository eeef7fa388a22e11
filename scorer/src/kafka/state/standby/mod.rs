//! Copies of the state of partitions that other instances own, so that who takes one over need not read its changelog.

mod choice;
mod copies;
pub(crate) mod copy;
mod follower;
pub(crate) mod standbys;
#[cfg(test)]
mod tests;
