//! Lines whose key is not what they have to meet by: found, and copied to the right partition.

pub(crate) mod misplaced;
pub(crate) mod place;
pub(crate) mod progress;
pub(crate) mod repartitioner;
