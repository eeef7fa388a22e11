//! A partition's state as records of a compacted changelog.
//!
//! Keys begin with a byte that says which kind of state they are of; each kind is a [`record::ChangelogKind`], and owns its
//! byte:
//!
//! | key | state |
//! | --- | --- |
//! | `e` + key | an open entity |
//! | `r` + time + key | a record that waits |
//! | `p` + part | a part of the past of a key |
//! | `t` | the largest time in that past |
//! | `z` + detector + part | what waits for its windows |
//! | `c` + number | keys that closed, with the time until which they are remembered |
//! | `f` | how many keys of the oldest of these lists are left, where some had to go before their time |
//! | `x` + number | cancelled keys, with the time of their first line |
//! | `g` | the same of these lists, and how many keys have gone, by pane |
//! | `w` | the windows over all partitions, in the changelog of the partition whose owner merges them |
//! | `h` | the head, which is the last record of every change |
//!
//! A record without a value deletes.

pub(crate) mod head;
pub(crate) mod lists;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod rekey;
pub(crate) mod reset;
