//! When the records were written that were read last: how far behind in time a partition is.

/// By partition, when the record that was read last was written, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct ReadTimes(Vec<Option<i64>>);

impl ReadTimes {
    /// Notes a record. Partitions are numbered from 0 on without gaps.
    pub(crate) fn on_record(&mut self, partition: i32, written: i64) {
        let Ok(place) = usize::try_from(partition) else { return };
        if place >= self.0.len() {
            self.0.resize(place + 1, None);
        }
        self.0[place] = Some(written);
    }

    /// How long ago the oldest of these was written, in seconds; 0 where no partition is behind, and `None` where nothing of
    /// those that are was read yet.
    pub(crate) fn lag_seconds(&self, behind: impl Iterator<Item = i32>, now: i64) -> Option<f64> {
        let (mut oldest, mut is_behind) = (None, false);
        for partition in behind {
            is_behind = true;
            let written = usize::try_from(partition).ok().and_then(|place| *self.0.get(place)?);
            oldest = [oldest, written].into_iter().flatten().min();
        }
        // The clocks of other machines may be ahead of ours.
        let age = |written: i64| now.saturating_sub(written).max(0) as f64 / 1000.0;
        if is_behind { oldest.map(age) } else { Some(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_that_of_the_partition_that_is_behind_most() {
        let mut times = ReadTimes::default();
        let lag = |times: &ReadTimes, behind: &[i32]| times.lag_seconds(behind.iter().copied(), 100_000);
        assert_eq!((lag(&times, &[]), lag(&times, &[0])), (Some(0.0), None));
        times.on_record(2, 60_000);
        times.on_record(0, 95_000);
        times.on_record(0, 99_000);
        assert_eq!(lag(&times, &[0]), Some(1.0));
        assert_eq!(lag(&times, &[0, 1, 2]), Some(40.0));
        times.on_record(-1, 0);
        times.on_record(1, 200_000);
        assert_eq!(lag(&times, &[1]), Some(0.0), "written by a clock that is ahead");
    }
}
