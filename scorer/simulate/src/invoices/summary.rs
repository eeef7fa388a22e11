//! What a simulation wrote, counted.

use std::collections::BTreeMap;
use std::fmt;

use super::anomaly::Anomaly;
use super::simulation::Day;

/// Counts of what was written, for the user and for tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records, malformed ones included, without the header.
    pub lines: u64,
    /// Distinct invoice numbers, cancellations included.
    pub invoices: u64,
    /// Invoices whose number starts with `C`.
    pub cancellations: u64,
    /// Anomalous invoices, which is to say labels, by kind.
    pub anomalies: BTreeMap<Anomaly, u64>,
    /// Lines that cannot be parsed.
    pub malformed_lines: u64,
    /// Invoices without a customer.
    pub missing_customers: u64,
}

impl Summary {
    /// Adds a day.
    pub fn count(&mut self, day: &Day) {
        for invoice in &day.invoices {
            self.invoices += 1;
            self.cancellations += u64::from(invoice.cancels);
            self.missing_customers += u64::from(invoice.customer.is_none());
            if let Some(anomaly) = invoice.anomaly {
                *self.anomalies.entry(anomaly).or_default() += 1;
            }
            for line in &invoice.lines {
                self.lines += 1;
                self.malformed_lines += u64::from(line.flaw.is_some());
            }
        }
    }

    /// Anomalous invoices of every kind.
    pub fn anomalous(&self) -> u64 {
        self.anomalies.values().sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "lines              {:>9}", self.lines)?;
        writeln!(f, "  malformed        {:>9}", self.malformed_lines)?;
        writeln!(f, "invoices           {:>9}", self.invoices)?;
        writeln!(f, "  cancellations    {:>9}", self.cancellations)?;
        writeln!(f, "  without customer {:>9}", self.missing_customers)?;
        write!(f, "  anomalous        {:>9}", self.anomalous())?;
        for (anomaly, count) in &self.anomalies {
            write!(f, "\n    {:<15}{count:>9}", anomaly.label())?;
        }
        Ok(())
    }
}
