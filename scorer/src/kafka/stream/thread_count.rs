//! How many stream threads run.

use std::fmt;

use shared::memory::Size;

/// How many stream threads run, and why not as many as were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadCount {
    asked: usize,
    run: usize,
    /// Why these are not the same.
    why: Option<String>,
    /// How many hops have as many.
    n_hops: usize,
}

impl ThreadCount {
    /// As many as are asked for, but none without a partition of its topic, and none that there is no room for in so many bytes
    /// of memory.
    pub(super) fn new(
        asked: usize,
        (topic, partitions): (&str, usize),
        (room, max_memory): (usize, Option<u64>),
    ) -> Self {
        let asked = asked.max(1);
        let run = asked.min(partitions).min(room).max(1);
        let why = if run == asked {
            None
        } else if partitions <= room {
            Some(format!("topic `{topic}` has {}", counted(partitions, "partition")))
        } else {
            let memory = max_memory.map_or_else(String::new, |bytes| format!(" in {} of memory", Size(bytes)));
            Some(format!("there is no room for more{memory}"))
        };
        Self { asked, run, why, n_hops: 1 }
    }

    /// The same where records take so many hops, of which each has as many threads.
    pub(super) fn in_each_of(self, n_hops: usize) -> Self {
        Self { n_hops, ..self }
    }

    /// How many run.
    pub fn run(&self) -> usize {
        self.run
    }
}

impl fmt::Display for ThreadCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, run, why, n_hops } = self;
        let runs = if *run == 1 { "runs" } else { "run" };
        let hops = if *n_hops > 1 { format!(" in each of {n_hops} hops") } else { String::new() };
        match why {
            None => write!(f, "{} {runs}{hops}", counted(*run, "thread")),
            Some(why) => write!(f, "{run} of {asked} threads {runs}{hops}, because {why}"),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_thread_runs_without_a_partition_or_without_memory() {
        let said = |asked, partitions, room| {
            let count = ThreadCount::new(asked, ("x", partitions), (room, Some(512 << 20)));
            assert!(count.run() <= asked.max(1) && count.run() <= partitions && count.run() <= room);
            count.to_string()
        };
        assert_eq!(said(4, 2, 8), "2 of 4 threads run, because topic `x` has 2 partitions");
        assert_eq!(said(4, 1, 8), "1 of 4 threads runs, because topic `x` has 1 partition");
        assert_eq!(said(4, 8, 3), "3 of 4 threads run, because there is no room for more in 512 MiB of memory");
        assert_eq!(said(4, 8, 8), "4 threads run");
        assert_eq!([said(1, 8, 8), said(0, 1, 1)], ["1 thread runs", "1 thread runs"]);
    }

    #[test]
    fn each_hop_has_as_many_threads() {
        let said = |asked| ThreadCount::new(asked, ("x", 2), (8, None)).in_each_of(2).to_string();
        assert_eq!(said(2), "2 threads run in each of 2 hops");
        assert_eq!(said(4), "2 of 4 threads run in each of 2 hops, because topic `x` has 2 partitions");
    }
}
