//! What waits for its windows, of a topic that has grown: each record goes to where those of its key go from then on.
//!
//! Of the partitions that a new one gets keys from, some may have judged more windows than others. The new one goes on after
//! the windows that all of them have judged. What was said of keys by later ones goes with the keys, and holds.

use shared::time::Timestamp;
use shared::zscore::WindowSummary;

use super::pane::{Pane, Waiting};
use super::{JudgedWindow, ZScore, ZScores, summary_bytes};
use crate::growth::{Growth, GrowthError};

impl ZScores {
    /// The keys of all that waits.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let panes = self.detectors.iter().flat_map(|detector| detector.panes.values());
        panes.flat_map(Pane::records).map(|waiting| &*waiting.by)
    }

    /// Puts what waits in the partitions of before, by number, into those of now, in which nothing waits.
    pub fn carry_over(old: Vec<Self>, new: &mut [&mut Self], growth: &Growth<'_>) -> Result<(), GrowthError> {
        let through = |from: &Self, index: usize| from.detectors[index].judged_through;
        for (to, zscores) in (0..).zip(new.iter_mut()) {
            for (index, detector) in zscores.detectors.iter_mut().enumerate() {
                let feeders = (0..).zip(&old).filter(|(from, _)| growth.feeds(*from, to));
                let earliest = feeders.map(|(_, from)| through(from, index)).min();
                detector.judged_through = earliest.unwrap_or(Timestamp::MIN);
            }
        }
        for (from, zscores) in (0..).zip(old) {
            for (index, detector) in zscores.detectors.into_iter().enumerate() {
                for waiting in detector.panes.into_values().flat_map(Pane::into_records) {
                    let to = growth.place(from, &waiting.by)?;
                    new[to as usize].detectors[index].carry_in(waiting.carried(from, to));
                }
                for (end, judged) in detector.judged {
                    for (by, summary) in judged.summaries {
                        let to = growth.place(from, &by)?;
                        new[to as usize].detectors[index].carry_summary_in(end, by, summary);
                    }
                }
            }
        }
        new.iter_mut().flat_map(|zscores| &mut zscores.detectors).for_each(ZScore::finish_carrying);
        Ok(())
    }
}

impl ZScore {
    fn carry_in(&mut self, waiting: Waiting) {
        let start = waiting.time.saturating_sub(waiting.time.rem_euclid(self.spec.slide));
        self.bytes += waiting.bytes();
        self.panes.entry(start).or_insert_with(|| Pane::new(i64::MAX)).add(waiting, i64::MAX);
    }

    fn carry_summary_in(&mut self, end: Timestamp, by: Box<str>, summary: WindowSummary) {
        let new = || JudgedWindow { summaries: Vec::new(), is_persisted: false };
        self.bytes += summary_bytes(&by);
        self.judged.entry(end).or_insert_with(new).summaries.push((by, summary));
    }

    /// Puts in order what came, and forgets what windows said of keys that wait for none any more.
    fn finish_carrying(&mut self) {
        let (slide, through) = (self.spec.slide, self.judged_through);
        let is_sealed = |start: Timestamp| start.saturating_add(slide) <= through;
        self.panes.iter_mut().filter(|(start, _)| is_sealed(**start)).for_each(|(_, pane)| pane.seal());
        self.judged.values_mut().for_each(JudgedWindow::put_in_order);
        self.forget();
    }
}

impl JudgedWindow {
    fn put_in_order(&mut self) {
        self.summaries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }

    /// What it says of its own keys, and what `others` say of theirs.
    pub(super) fn completed_by(mut self, mut others: Vec<(Box<str>, WindowSummary)>) -> Vec<(Box<str>, WindowSummary)> {
        others.retain(|(by, _)| self.of(by).is_none());
        self.summaries.append(&mut others);
        self.put_in_order();
        self.summaries
    }
}
