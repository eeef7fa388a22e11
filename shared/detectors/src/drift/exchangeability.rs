//! The test of one detector's scores.

use super::martingale::Martingale;
use super::reference::Cells;

/// P-values that are uniform and independent if scores of the training and of the stream are exchangeable: each score is ranked among
/// those of the training and all of the stream before it.
///
/// Scores are known by their cells. How likely a score is in one follows from how many of those before it are (the urn of Eggenberger
/// and Pólya 1923), beginning with those of the training. Its place within the cell is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Urn {
    counts: Vec<u64>,
    total: u64,
}

impl Urn {
    /// The urn with the values of the training.
    pub fn new(cells: &Cells) -> Self {
        let counts = cells.weights().to_vec();
        Self { total: counts.iter().sum(), counts }
    }

    /// The p-value of a score in a cell: small for high scores. `uniform`, between 0 and 1, is its place in the cell. The score counts
    /// from then on. One in no cell is passed over.
    pub fn take(&mut self, cell: usize, uniform: f64) -> Option<f64> {
        let own = *self.counts.get(cell)?;
        let above: u64 = self.counts[cell + 1..].iter().sum();
        let p_value = (above as f64 + uniform * own as f64) / self.total as f64;
        self.counts[cell] += 1;
        self.total += 1;
        Some(p_value)
    }
}

/// That a stream is no longer like the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// How many scores there were when it was raised.
    pub after: u64,
    /// How many of them were before the change, as far as can be said: the capital was lowest then.
    pub unchanged: u64,
    /// The time of the first score after that.
    pub since: i64,
    /// The time of the score that raised it.
    pub raised: i64,
}

/// The test of one detector's scores.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreTest {
    urn: Urn,
    martingale: Martingale,
    /// The decimal logarithm of the capital that is an alarm.
    level: f64,
    n: u64,
    lowest: f64,
    unchanged: u64,
    /// The time of the first score after the capital was lowest.
    since: Option<i64>,
    alarm: Option<Alarm>,
}

impl ScoreTest {
    /// A test of scores that fall in these cells: it ever raises an alarm with a probability of at most `alpha` while they are like
    /// those of the training.
    pub fn new(cells: &Cells, alpha: f64) -> Self {
        Self {
            urn: Urn::new(cells),
            martingale: Martingale::default(),
            level: -alpha.log10(),
            n: 0,
            lowest: 0.0,
            unchanged: 0,
            since: None,
            alarm: None,
        }
    }

    /// Takes the next score: its cell, where it lies in it (between 0 and 1), and its time. `true` where it raises the alarm, which is
    /// raised once.
    pub fn add(&mut self, cell: usize, uniform: f64, time: i64) -> bool {
        let Some(p_value) = self.urn.take(cell, uniform) else { return false };
        self.n += 1;
        let since = *self.since.get_or_insert(time);
        self.martingale.add(p_value);
        let evidence = self.martingale.log10();
        let is_raised = self.alarm.is_none() && evidence >= self.level;
        if is_raised {
            self.alarm = Some(Alarm { after: self.n, unchanged: self.unchanged, since, raised: time });
        }
        if evidence <= self.lowest {
            (self.lowest, self.unchanged, self.since) = (evidence, self.n, None);
        }
        is_raised
    }

    /// How many scores there were.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The decimal logarithm of the capital: of the evidence against "like the training".
    pub fn evidence(&self) -> f64 {
        self.martingale.log10()
    }

    /// The alarm, once it is raised.
    pub fn alarm(&self) -> Option<Alarm> {
        self.alarm
    }
}
