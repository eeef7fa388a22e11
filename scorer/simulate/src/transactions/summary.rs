//! What a simulation wrote, counted.

use std::fmt;
use std::time::Duration;

use records::time::{Timestamp, format_timestamp};

use super::scenario::Scenario;
use super::transaction::Transaction;

/// Counts of what was written, for the user and for tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Transactions of every kind.
    pub records: u64,
    /// Those of each scenario, in the order of [`Scenario::ALL`].
    pub by_scenario: [u64; Scenario::ALL.len()],
    /// When the first and the last were made, in simulated time.
    pub span: Option<(Timestamp, Timestamp)>,
    /// How long it took, in real time.
    pub elapsed: Duration,
}

impl Summary {
    /// Adds a transaction.
    pub fn count(&mut self, transaction: &Transaction) {
        self.records += 1;
        if let Some(label) = transaction.label {
            self.by_scenario[label as usize] += 1;
        }
        let first = self.span.map_or(transaction.timestamp, |(first, _)| first);
        self.span = Some((first, transaction.timestamp));
    }

    /// Anomalous transactions of every scenario.
    pub fn anomalous(&self) -> u64 {
        self.by_scenario.iter().sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let per_second = self.records as f64 / seconds.max(1e-9);
        let share = 100.0 * self.anomalous() as f64 / self.records.max(1) as f64;
        writeln!(f, "records                {:>12}  in {seconds:.2} s: {per_second:.0} a second", self.records)?;
        write!(f, "  anomalous            {:>12}  {share:.2} %", self.anomalous())?;
        for (scenario, count) in Scenario::ALL.iter().zip(self.by_scenario).filter(|(_, count)| *count > 0) {
            write!(f, "\n    {:<19}{count:>12}", scenario.label())?;
        }
        if let Some((first, last)) = self.span {
            let days = (last - first) as f64 / 86_400_000.0;
            write!(
                f,
                "\nsimulated time         {days:>12.2}  days, {} to {}",
                format_timestamp(first),
                format_timestamp(last)
            )?;
        }
        Ok(())
    }
}
