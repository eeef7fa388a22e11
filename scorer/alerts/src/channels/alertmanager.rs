//! Prometheus' Alertmanager, by its API of version 2: it groups, silences and routes by itself.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::http::{ChannelError, Http};
use crate::alert::{Alert, Status};
use crate::anomaly::Severity;
use crate::channel::{Channel, SendError};
use crate::secret::Secret;

/// An alert that is never resolved, because the scorer is gone, ends so long after its last message.
const LONGEST: i64 = 24 * 3_600_000;

/// A test ends after a minute.
const TEST: i64 = 60_000;

/// An Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    http: Http,
}

impl Alertmanager {
    /// Posts to the Alertmanager at this address, such as `http://alertmanager:9093`.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn new(url: &Secret, patience: Duration) -> Result<Self, ChannelError> {
        let url = Secret::new(format!("{}/api/v2/alerts", url.reveal().trim_end_matches('/')));
        Ok(Self { http: Http::new(&url, patience)? })
    }
}

impl Channel for Alertmanager {
    fn send(&self, alert: &Alert) -> Result<(), SendError> {
        let body = Value::Array(vec![message(alert)]).to_string();
        self.http.post(body, &[("content-type", "application/json".to_owned())])
    }
}

/// Labels name an alert: the same group has the same labels whenever it is sent. So what changes, such as the severity of the
/// worst anomaly, is among the annotations.
fn message(alert: &Alert) -> Value {
    let mut labels = Map::new();
    for (name, value) in &alert.group {
        labels.insert(label(name), value.clone().into());
    }
    labels.insert("alertname".to_owned(), alert.rule.clone().into());
    labels.insert("pipeline".to_owned(), alert.pipeline.clone().into());
    // Empty labels are no labels to Alertmanager.
    labels.retain(|_, value| value != "");
    let newest = alert.anomalies.first().map(|newest| newest.reason.clone()).unwrap_or_default();
    let end = match alert.status {
        Status::Resolved => alert.at,
        Status::Firing => alert.at.saturating_add(LONGEST),
        Status::Test => alert.at.saturating_add(TEST),
    };
    json!({
        "labels": labels,
        "annotations": {
            "summary": alert.summary, "description": newest, "count": alert.count.to_string(), "id": alert.id,
            "severity": alert.severity.map_or("none", Severity::name),
        },
        "startsAt": time(alert.since), "endsAt": time(end),
    })
}

/// What a label may be called: letters, digits and underscores.
fn label(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(fit).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// A moment in RFC 3339. Days are counted as in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
fn time(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(time(1_709_164_799_999), "2024-02-28T23:59:59.999Z");
        assert_eq!(time(1_709_164_800_000), "2024-02-29T00:00:00.000Z");
        assert_eq!(time(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_worse_anomaly_is_the_same_alert_to_alertmanager() {
        let mut alert = Alert::test("invoices", "bad", 5);
        alert.group = vec![("Unit Price".to_owned(), "3".to_owned()), ("customer".to_owned(), String::new())];
        let before = message(&alert);
        alert.severity = Some(Severity::Critical);
        let after = message(&alert);
        assert_eq!(before["labels"], after["labels"]);
        assert_eq!(before["labels"], json!({ "Unit_Price": "3", "alertname": "bad", "pipeline": "invoices" }));
        assert_ne!(before["annotations"], after["annotations"]);
    }
}
