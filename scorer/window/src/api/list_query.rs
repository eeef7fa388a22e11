//! What is asked of a list.

use serde::Deserialize;

/// Which of a list, and how many.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListQuery {
    pub since: Option<i64>,
    pub reason: Option<String>,
    pub q: Option<String>,
    pub skip: usize,
    pub limit: Option<usize>,
}
