//! Cancelled keys: each partition counts its own and reports them, and one owner merges the reports into windows.

pub(crate) mod cancelled_keys;
mod pane;
pub(crate) mod windows;
