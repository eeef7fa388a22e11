//! Alerts, as the window shows them. Who decides them is not known here: a desk says what is so, takes what people do, and
//! hears what they did elsewhere or before.

use std::time::Duration;

/// What people do about alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertAction {
    /// They know of an alert.
    Acknowledge {
        /// The alert.
        id: String,
    },
    /// They want to hear nothing of an alert for a while; 0 ends that.
    Snooze {
        /// The alert.
        id: String,
        /// For so long.
        length: Duration,
    },
    /// They want to hear nothing of a rule for a while; 0 ends that.
    SnoozeRule {
        /// The rule.
        rule: String,
        /// For so long.
        length: Duration,
    },
}

/// Numbers of alerts, for those who supervise. Counters begin at 0 when the process starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertNumbers {
    /// The rules, each with how many alerts of it are so now.
    pub firing: Vec<(String, u64)>,
    /// The channels.
    pub channels: Vec<ChannelNumbers>,
    /// Anomalies that no rule saw because too many came at once.
    pub dropped: u64,
    /// Groups that were forgotten because there were too many.
    pub forgotten: u64,
}

/// Numbers of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelNumbers {
    /// Its name.
    pub name: String,
    /// Alerts that it took.
    pub sent: u64,
    /// Alerts that it refused for good.
    pub refused: u64,
    /// Alerts that went unsent because too many waited.
    pub dropped: u64,
    /// Alerts that wait.
    pub waiting: u64,
    /// Since when it takes none, in milliseconds since 1970.
    pub failing_since: Option<i64>,
}

/// Who knows of alerts. It is asked on the window's thread, and has to answer at once.
pub trait AlertDesk: Send + Sync {
    /// What is so now, as a JSON object.
    fn view(&self) -> String;

    /// The numbers of what is so now. They are asked for with every scrape.
    fn numbers(&self) -> AlertNumbers;

    /// Does what people want, and says what that concerns.
    ///
    /// # Errors
    /// Why it cannot be done, in one sentence.
    fn act(&self, action: &AlertAction) -> Result<Concerned, String>;

    /// Hears what people have said, here or at another window, and whenever that was. It may hear the same again.
    fn heed(&self, word: &AlertWord);
}

/// What an action concerns, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concerned {
    /// The rule.
    pub rule: String,
    /// What the anomalies of the alert have in common; `None` where the whole rule is meant.
    pub group: Option<String>,
}

/// What people have said of an alert or of a rule. What they said last of each counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertWord {
    /// Of what.
    pub of: AlertOf,
    /// When they said that they know of it.
    pub acknowledged: Option<i64>,
    /// Until when they want to hear nothing; a moment that has passed ends that.
    pub snoozed_until: Option<i64>,
    /// When they said the last of it.
    pub at: i64,
}

/// An alert or a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertOf {
    /// The alerts of a rule about one group, by the name that all of them have.
    Group(String),
    /// A rule, by its name.
    Rule(String),
}
