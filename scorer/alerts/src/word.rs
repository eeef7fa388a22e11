//! What people say of alerts and rules, as it is heard from elsewhere or from before.

/// What people have said of a group or of a rule. What they said last of each counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Of what.
    pub of: Of,
    /// When they said that they know of it, in milliseconds since 1970.
    pub acknowledged: Option<i64>,
    /// Until when they want to hear nothing; a moment that has passed ends that.
    pub snoozed_until: Option<i64>,
    /// When they said the last of it.
    pub at: i64,
}

/// A group or a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// A group of a rule: the `group_id` of its alerts.
    Group(String),
    /// A rule, by its name.
    Rule(String),
}

impl Word {
    /// The same in parts, each with when it was said: what was acknowledged, and what was snoozed.
    pub(crate) fn parts(self) -> impl Iterator<Item = (i64, Self)> {
        let acknowledged = self.acknowledged.map(|at| (at, Self { snoozed_until: None, ..self.clone() }));
        let snoozed = self.snoozed_until.map(|_| (self.at, Self { acknowledged: None, ..self }));
        acknowledged.into_iter().chain(snoozed)
    }
}
