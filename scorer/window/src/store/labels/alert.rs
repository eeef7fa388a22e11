//! What people said of an alert, or of a rule of alerts, as it is kept.

use serde::{Deserialize, Serialize};

use super::moment;
use crate::alerts::{AlertAction, AlertOf, AlertWord, Concerned};
use crate::journal::Entry;

/// What keys begin with.
const GROUP: &str = "alert/";
const RULE: &str = "rule/";

/// Their newest word, with all of it that still counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AlertEntry {
    pub schema: u32,
    pub kind: AlertKind,
    /// Its key.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// What the anomalies have in common, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, with = "moment::maybe", skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<i64>,
    #[serde(default, with = "moment::maybe", skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<i64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    #[serde(with = "moment")]
    pub at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// Tells this kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AlertKind {
    Alert,
}

impl AlertEntry {
    /// With nothing said yet.
    pub(crate) fn new(id: String, pipeline: &str) -> Self {
        Self {
            schema: 1,
            kind: AlertKind::Alert,
            id,
            pipeline: Some(pipeline.to_owned()),
            rule: String::new(),
            group: None,
            acknowledged: None,
            snoozed_until: None,
            by: String::new(),
            at: 0,
            request: None,
        }
    }

    /// With what somebody does at this moment. What was said before and is not taken back by that stays.
    pub(crate) fn with(self, action: &AlertAction, of: &Concerned, by: &str, at: i64) -> Self {
        // An alert that is over has no words of its own any more.
        let rule = if of.rule.is_empty() { self.rule } else { of.rule.clone() };
        let group = of.group.clone().or(self.group);
        let said = Self { rule, group, by: by.trim().to_owned(), at, ..self };
        match action {
            AlertAction::Acknowledge { .. } => Self { acknowledged: Some(at), ..said },
            AlertAction::Snooze { length, .. } | AlertAction::SnoozeRule { length, .. } => {
                let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
                Self { snoozed_until: Some(at.saturating_add(length)), ..said }
            }
        }
    }
}

impl AlertAction {
    /// The key of what is kept of it.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Acknowledge { id } | Self::Snooze { id, .. } => format!("{GROUP}{id}"),
            Self::SnoozeRule { rule, .. } => format!("{RULE}{rule}"),
        }
    }
}

impl AlertWord {
    /// What an entry says of alerts; `None` of one that is about something else, or cannot be read. One without a value takes back
    /// that nothing is to be heard.
    pub fn of(entry: &Entry) -> Option<Self> {
        let key = entry.key.as_str();
        let group = key.strip_prefix(GROUP).map(|id| AlertOf::Group(id.to_owned()));
        let of = group.or_else(|| key.strip_prefix(RULE).map(|rule| AlertOf::Rule(rule.to_owned())))?;
        let Some(value) = &entry.value else {
            return Some(Self { of, acknowledged: None, snoozed_until: Some(0), at: 0 });
        };
        let said = serde_json::from_slice::<AlertEntry>(value).ok().filter(|said| said.id == key)?;
        Some(Self { of, acknowledged: said.acknowledged, snoozed_until: said.snoozed_until, at: said.at })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn word(entry: &AlertEntry) -> AlertWord {
        let value = Some(serde_json::to_vec(entry).unwrap());
        AlertWord::of(&Entry { key: entry.id.clone(), value, version: 1 }).unwrap()
    }

    #[test]
    fn what_was_said_before_stays() {
        let (known, quiet) = (
            AlertAction::Acknowledge { id: "abc".to_owned() },
            AlertAction::Snooze { id: "abc".to_owned(), length: Duration::from_secs(60) },
        );
        let of = Concerned { rule: "many".to_owned(), group: Some("customer 7".to_owned()) };
        let entry = AlertEntry::new(known.key(), "invoices").with(&known, &of, " ann ", 1_000);
        assert_eq!((entry.id.as_str(), entry.by.as_str()), ("alert/abc", "ann"));
        let both = entry.with(&quiet, &of, "bob", 2_000);
        let of = AlertOf::Group("abc".to_owned());
        let all = AlertWord { of, acknowledged: Some(1_000), snoozed_until: Some(62_000), at: 2_000 };
        assert_eq!(word(&both), all);
    }

    #[test]
    fn what_is_about_something_else_is_no_word_of_an_alert() {
        let entry = |key: &str, value: Option<&str>| Entry {
            key: key.to_owned(),
            value: value.map(|value| value.as_bytes().to_vec()),
            version: 1,
        };
        let rule = r#"{"schema":1,"kind":"alert","id":"rule/a/b","at":"2026-11-21T09:30:00Z"}"#;
        let found = AlertWord::of(&entry("rule/a/b", Some(rule))).unwrap();
        assert_eq!((found.of, found.snoozed_until), (AlertOf::Rule("a/b".to_owned()), None));
        assert_eq!(AlertWord::of(&entry("rule/other", Some(rule))), None, "it names another one");
        assert_eq!(AlertWord::of(&entry("rule/a/b", Some("{}"))), None);
        assert_eq!(AlertWord::of(&entry("invoices/0/4/k", Some(rule))), None);
        assert_eq!(AlertWord::of(&entry("alert/abc", None)).unwrap().snoozed_until, Some(0), "it is taken back");
    }
}
