//! An anomaly on one line: in the demo, and in a terminal that watches topics.

use shared::pipeline::{Pipeline, Scored};
use shared::text::printable;
use shared::verdict::EntityVerdict;

use super::columns::{columns, cut, padded};

/// The longest key that is shown in full.
const LONGEST_KEY: usize = 36;

/// The longest customer that is shown in full.
const LONGEST_CUSTOMER: usize = 20;

/// How anomalies of a pipeline are shown, a line each.
pub(super) struct Rows {
    /// Columns that no line exceeds.
    width: usize,
    /// What the time is of.
    time: &'static str,
    /// What is shown.
    entity: &'static str,
    has_customers: bool,
    /// The detectors that judge an entity as soon as it is complete.
    detectors: Vec<String>,
}

/// What is shown of an anomaly. None of it has to be fit for a terminal.
#[derive(Debug, Default)]
pub(super) struct Anomaly<'a> {
    pub severity: &'a str,
    /// In the form of RFC 3339.
    pub time: &'a str,
    pub key: &'a str,
    pub customer: &'a str,
    pub reason: &'a str,
    /// To which detectors it is one.
    pub detectors: Vec<&'a str>,
    /// What analysts say; empty where they say nothing.
    pub said: &'a str,
}

impl<'a> From<&'a EntityVerdict> for Anomaly<'a> {
    fn from(verdict: &'a EntityVerdict) -> Self {
        Self {
            severity: verdict.severity.map_or("", |severity| severity.name()),
            time: &verdict.first_timestamp,
            key: &verdict.key,
            customer: verdict.customer_id.as_deref().unwrap_or_default(),
            reason: verdict.reason.as_deref().unwrap_or_default(),
            detectors: verdict.anomalous_to.iter().map(String::as_str).collect(),
            said: "",
        }
    }
}

impl Rows {
    /// Lines of at most so many columns.
    pub fn new(pipeline: &Pipeline, width: usize) -> Self {
        Self {
            width,
            time: "time",
            entity: match pipeline.scored {
                Scored::Sessions(_) => "invoice",
                Scored::Records(_) => "record",
            },
            has_customers: pipeline.entity.customer.is_some(),
            detectors: pipeline.detectors.iter().map(|spec| spec.name.clone()).collect(),
        }
    }

    /// The same with another time than the entity's own.
    pub fn with_time(self, time: &'static str) -> Self {
        Self { time, ..self }
    }

    /// What the columns are.
    pub fn head(&self) -> String {
        self.line("severity", self.time, self.entity, "customer", "why")
    }

    /// What is said of an anomaly.
    pub fn row<'a>(&self, anomaly: impl Into<Anomaly<'a>>) -> String {
        let anomaly: Anomaly<'a> = anomaly.into();
        let (key, customer) = (printable(anomaly.key).to_string(), printable(anomaly.customer).to_string());
        let start = self.line(anomaly.severity, &time(anomaly.time), &key, &customer, "");
        let by = self.found_by(&anomaly);
        let left = self.width.saturating_sub(columns(&start) + columns(&by));
        let reason = shortened(&printable(anomaly.reason).to_string(), left);
        cut(format!("{start}{reason}{by}").trim_end(), self.width)
    }

    fn line(&self, severity: &str, time: &str, key: &str, customer: &str, why: &str) -> String {
        let customer = padded(&cut(customer, LONGEST_CUSTOMER), 8);
        let customer = if self.has_customers { format!("{customer}  ") } else { String::new() };
        // Numbers of invoices are short; a record is named by whatever its sender likes.
        let key = padded(&cut(key, LONGEST_KEY), if self.entity == "invoice" { 7 } else { 16 });
        format!("{}  {}  {key}  {customer}{why}", padded(severity, 8), padded(time, 11))
    }

    /// To which detectors it is an anomaly, where it is not one to all that were asked; and what analysts say.
    fn found_by(&self, anomaly: &Anomaly<'_>) -> String {
        let names = printable(&anomaly.detectors.join(", ")).to_string();
        let alone = if anomaly.detectors.len() == 1 { " alone" } else { "" };
        let by = format!("{}{alone}", cut(&names, 30));
        match (anomaly.detectors == self.detectors, anomaly.said) {
            (true, "") => String::new(),
            (true, said) => format!(" [{said}]"),
            (false, "") => format!(" [{by}]"),
            (false, said) => format!(" [{by}; {said}]"),
        }
    }
}

/// A date and a time without year and seconds: `03-24 12:31`.
fn time(rfc3339: &str) -> String {
    let short = || Some(format!("{} {}", rfc3339.get(5..10)?, rfc3339.get(11..16)?));
    short().map_or_else(|| cut(&printable(rfc3339).to_string(), 16), |short| printable(&short).to_string())
}

/// A reason that fits: without what is said in parentheses or of a second feature, where there is no room for it.
fn shortened(reason: &str, width: usize) -> String {
    if columns(reason) <= width {
        return reason.to_owned();
    }
    let ends = reason.rmatch_indices([';', '(']).map(|(end, _)| reason[..end].trim_end());
    let fitting = ends.filter(|part| !part.is_empty()).find(|part| columns(part) + 2 <= width);
    fitting.map_or_else(|| cut(reason, width), |part| format!("{part} …"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use shared::verdict::Severity;
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::commands::columns::WIDTH;

    fn verdict(key: &str, reason: &str, anomalous_to: &[&str]) -> EntityVerdict {
        serde_json::from_value(json!({
            "schema": 2, "pipeline": "p", "key": key, "anomalous": true, "severity": "critical", "reason": reason,
            "anomalous_to": anomalous_to, "features": {}, "lines": 1, "customer_id": "14087", "detectors": {},
            "first_timestamp": "2010-03-15T10:28:00Z", "last_timestamp": "2010-03-15T10:28:00Z",
        }))
        .unwrap()
    }

    fn shown(pipeline: &str, width: usize, verdicts: &[EntityVerdict]) -> String {
        let rows = Rows::new(&Pipeline::load(pipeline).unwrap(), width);
        let lines = std::iter::once(rows.head()).chain(verdicts.iter().map(|verdict| rows.row(verdict)));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn an_invoice_is_one_line_on_every_terminal() {
        let both = ["kmeans", "bisecting-kmeans"];
        let verdicts = [
            verdict("520004", "6,218 items, 82 times the usual 76 (usual 14 to 213)", &both),
            verdict(
                "520001",
                "highest unit price 1,275 GBP, 76 times the usual 16.7 (usual 1.95 to 18); also average unit price 445 \
                 GBP, 185 times the usual 2.4 (usual 1.15 to 4.54)",
                &both,
            ),
            verdict("520578", "average unit price 7 GBP, 2.9 times the usual 2.4 (usual 1.15 to 4.54)", &both[..1]),
            verdict("\u{1b}[2J日本語", "-4,000 items (usual 14 to 213)", &both[1..]),
        ];
        insta::assert_snapshot!(shown("invoices", WIDTH, &verdicts), @r"
        severity  time         invoice  customer  why
        critical  03-15 10:28  520004   14087     6,218 items, 82 times the usual 76 (usual 14 to 213)
        critical  03-15 10:28  520001   14087     highest unit price 1,275 GBP, 76 times the usual 16.7 …
        critical  03-15 10:28  520578   14087     average unit price 7 GBP, 2.9 times the us… [kmeans alone]
        critical  03-15 10:28  \u{1b}[2J日本語  14087     -4,000 items … [bisecting-kmeans alone]
        ");
        insta::assert_snapshot!(shown("invoices", 80, &verdicts), @r"
        severity  time         invoice  customer  why
        critical  03-15 10:28  520004   14087     6,218 items, 82 times the usual 76 …
        critical  03-15 10:28  520001   14087     highest unit price 1,275 GBP, 76 time…
        critical  03-15 10:28  520578   14087     average unit price 7 G… [kmeans alone]
        critical  03-15 10:28  \u{1b}[2J日本語  14087     -4,0… [bisecting-kmeans alone]
        ");
    }

    #[test]
    fn a_payment_is_one_line() {
        let ratio = "1/1,000 or less of what is usual at this merchant (usually 0.3 to 3 times); also 7 payments in the hour \
                     before; usually at most 2";
        let verdicts = [
            verdict("8dad34a6f58e7ec2", ratio, &["kmeans", "bisecting-kmeans"]),
            verdict("8dad34a6f58e7ec3", "amount 1,200 EUR, 44 times the median 27", &["zscore"]),
        ];
        insta::assert_snapshot!(shown("transactions", WIDTH, &verdicts), @r"
        severity  time         record            customer  why
        critical  03-15 10:28  8dad34a6f58e7ec2  14087     1/1,000 or less of what is usual at this merchan…
        critical  03-15 10:28  8dad34a6f58e7ec3  14087     amount 1,200 EUR, 44 times the me… [zscore alone]
        ");
    }

    proptest! {
        /// No verdict makes a line that a terminal would break, whatever its records hold.
        #[test]
        fn no_line_is_too_wide(
            (key, customer) in ("\\PC{0,60}", "(日|\\PC){0,40}"),
            reason in "([a-z ]{0,9}|日本|;|\\(|🙂|\\PC|\n){0,60}",
            time in "(\\PC|日){0,30}|2010-03-15T10:28:00Z",
            found in proptest::collection::vec("(\\PC|日){0,20}", 0..4),
            (severity, width) in (proptest::option::of(0usize..4), 60usize..=WIDTH),
        ) {
            for pipeline in ["invoices", "transactions"] {
                let found: Vec<&str> = found.iter().map(String::as_str).collect();
                let mut verdict = verdict(&key, &reason, &found);
                verdict.severity = severity.map(|level| Severity::ALL[level]);
                verdict.customer_id = Some(customer.clone());
                verdict.first_timestamp.clone_from(&time);
                for line in shown(pipeline, width, &[verdict]).split('\n') {
                    prop_assert!(line.width() <= width, "{} columns: {:?}", line.width(), line);
                }
            }
        }
    }
}
