//! One bound for the memory of a stream, and how it is divided: the program with its models, the queues of the clients, the
//! batches in flight, and the state, which the partitions share.
//!
//! A partition's part is the same however many partitions an instance has at the moment: it is what is left when one
//! instance has all of them. What a partition gives up at its limit changes results, and these must not depend on which
//! instances are alive. Nor do they depend on the number of stream threads: these share what one of them would have for its
//! queues and batches.

use shared::memory::Size;
use thiserror::Error;

const MIB: u64 = 1 << 20;

/// The program with its models, threads and connections, and the clients that read internal topics.
const PROGRAM: u64 = 80 * MIB;

/// A snapshot that is made beside the stream: the client that reads the changelog, and the changes that wait. Where less is
/// allowed in all, snapshots are made at the end only.
const SNAPSHOT: u64 = 96 * MIB;
const LEAST_FOR_SNAPSHOTS: u64 = 1024 * MIB;

/// The client that follows changelogs for standby copies. The copies themselves are of partitions that an instance does not
/// have, and there is room for the state of all.
const STANDBY: u64 = 32 * MIB;

/// How often a partition is in memory once more while its snapshot is made: as it is read, and as it is then.
const COPIES_OF_SNAPSHOT: u64 = 2;

/// Of what is left for the state, the part that the partitions may hold, (2, 3): memory that was given back lies in pieces,
/// and what is read back is in memory twice for a moment.
const USABLE: (u64, u64) = (2, 3);

/// The least that a partition's state is of use with.
const LEAST_STATE: u64 = 4 * MIB;

/// Fetched records.
const FETCHED: Part = Part { of: 16, least: 16 * MIB, most: 128 * MIB };
/// Records that are sent and not acknowledged.
const PRODUCED: Part = Part { of: 16, least: 16 * MIB, most: 256 * MIB };
/// Batches in flight: what follows from records, until it is committed.
const IN_FLIGHT: Part = Part { of: 4, least: 32 * MIB, most: 1024 * MIB };

/// The least of fetched records, of records that are sent, and of batches in flight, that a stream thread is of use with.
const LEAST_FETCHED: u64 = 4 * MIB;
const LEAST_PRODUCED: u64 = 8 * MIB;
const LEAST_IN_FLIGHT: u64 = 8 * MIB;

/// A producer has half of its part for records, and takes none that is larger than that.
const RECORDS_A_PART: u64 = 2;

/// The connections and stacks of a further stream thread.
const THREAD: u64 = 8 * MIB;

/// How much something takes at least; and more, one part in `of` of what there is beyond the least of everything.
struct Part {
    of: u64,
    least: u64,
    most: u64,
}

impl Part {
    fn bytes(&self, beyond: u64) -> u64 {
        (self.least + beyond / self.of).min(self.most)
    }
}

/// How much each part of a stream may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The queues of each consumer and each producer.
    pub queues: ClientQueues,
    /// All batches in flight.
    pub in_flight: usize,
    /// The state of a partition.
    pub state: usize,
    /// Whether there is room to make snapshots beside the stream.
    pub are_snapshots_beside: bool,
}

/// Bytes of the queues of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientQueues {
    /// Records that a consumer has fetched, with what the client keeps of each.
    pub fetched: usize,
    /// Records that a producer was given, with what the client keeps of each.
    pub produced: usize,
}

impl Default for ClientQueues {
    /// Where nothing bounds them.
    fn default() -> Self {
        Self { fetched: FETCHED.most as usize, produced: PRODUCED.most as usize }
    }
}

/// Less is allowed than a stream needs.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error(
    "--max-memory {} is too little for a topic with {partitions} partitions: use --max-memory {} or more",
    Size(*allowed), Size(*needed).typed()
)]
pub struct TooLittleMemory {
    /// Bytes that are allowed.
    pub allowed: u64,
    /// The smallest number of bytes that would do.
    pub needed: u64,
    /// The partitions that the state is of.
    pub partitions: u32,
}

/// Bytes of what keeps standby copies, beside these.
pub fn of_standbys(standbys: usize) -> u64 {
    if standbys > 0 { STANDBY } else { 0 }
}

impl MemoryPlan {
    /// The parts of `allowed` bytes for a stream whose topic has so many partitions; where records are repartitioned first,
    /// that takes clients and batches of its own.
    ///
    /// # Errors
    /// [`TooLittleMemory`].
    pub fn new(allowed: u64, partitions: u32, is_repartitioned: bool) -> Result<Self, TooLittleMemory> {
        let times = if is_repartitioned { 2 } else { 1 };
        let partitions = partitions.max(1);
        let least = times * (FETCHED.least + PRODUCED.least + IN_FLIGHT.least);
        let of_state = |copies: u64| copies * LEAST_STATE / USABLE.0 * USABLE.1;
        let needed = (PROGRAM + least + of_state(u64::from(partitions))).next_multiple_of(MIB);
        if allowed < needed {
            return Err(TooLittleMemory { allowed, needed, partitions });
        }
        let [fetched, produced, in_flight] = [FETCHED, PRODUCED, IN_FLIGHT].map(|part| part.bytes(allowed - needed));
        let with_snapshots = u64::from(partitions) + COPIES_OF_SNAPSHOT;
        let (mut left, mut copies) =
            (allowed - PROGRAM - times * (fetched + produced + in_flight), u64::from(partitions));
        let are_snapshots_beside = allowed >= LEAST_FOR_SNAPSHOTS && left >= SNAPSHOT + of_state(with_snapshots);
        if are_snapshots_beside {
            (left, copies) = (left - SNAPSHOT, with_snapshots);
        }
        let state = left / USABLE.1 * USABLE.0 / copies;
        Ok(Self {
            queues: ClientQueues { fetched: fetched as usize, produced: produced as usize },
            in_flight: in_flight as usize,
            state: state as usize,
            are_snapshots_beside,
        })
    }

    /// How many stream threads there is room for, at least one, where the largest record that they send has so many bytes.
    pub fn most_threads(&self, largest_record: usize) -> usize {
        let of_fetched = self.queues.fetched as u64 / LEAST_FETCHED;
        let of_produced = self.queues.produced as u64 / (RECORDS_A_PART * largest_record as u64).max(LEAST_PRODUCED);
        let of_batches = (self.in_flight as u64 + THREAD) / (LEAST_IN_FLIGHT + THREAD);
        of_fetched.min(of_produced).min(of_batches).max(1) as usize
    }

    /// The part of each of so many stream threads, which together take what this plan has for one. The state is not theirs but
    /// that of partitions, and stays as it is.
    pub fn of_each(&self, threads: usize) -> Self {
        let threads = threads.max(1);
        let ClientQueues { fetched, produced } = self.queues;
        let of_threads = (threads - 1) * THREAD as usize;
        Self {
            queues: ClientQueues { fetched: fetched / threads, produced: produced / threads },
            in_flight: self.in_flight.saturating_sub(of_threads) / threads,
            ..*self
        }
    }

    /// Where nothing says how much there is.
    pub fn unbounded() -> Self {
        let (queues, in_flight) = (ClientQueues::default(), IN_FLIGHT.most as usize);
        Self { queues, in_flight, state: usize::MAX, are_snapshots_beside: true }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_size_that_an_error_names_can_be_typed_and_is_enough() {
        let error = MemoryPlan::new(MIB, 8, false).unwrap_err().to_string();
        let named = error.split("use --max-memory ").nth(1).unwrap().split(" or more").next().unwrap();
        let plan = MemoryPlan::new(named.parse::<Size>().unwrap().0, 8, false).unwrap();
        assert!(plan.state >= LEAST_STATE as usize, "{error}: {plan:?}");
    }

    #[test]
    fn most_of_much_memory_is_for_the_state() {
        let plan = MemoryPlan::new(16 << 30, 4, false).unwrap();
        // Four partitions, and two copies of one.
        assert!(6 * plan.state > 9 << 30, "{plan:?}");
    }

    #[test]
    fn there_is_room_for_few_threads_in_little_memory() {
        let least = MemoryPlan::new(0, 4, false).unwrap_err().needed;
        let threads = |allowed: u64| MemoryPlan::new(allowed, 4, false).unwrap().most_threads(1 << 20);
        assert_eq!((threads(least), MemoryPlan::unbounded().most_threads(1 << 20)), (2, 32));
        assert!(threads(2 << 30) >= 8, "{}", threads(2 << 30));
        assert_eq!(MemoryPlan::unbounded().most_threads(16 << 20), 8, "each takes a record of this size");
    }

    proptest! {
        #[test]
        fn threads_share_what_one_would_have(more in 0u64..(64 << 30), partitions in 1u32..2_000) {
            let needed = MemoryPlan::new(0, partitions, false).unwrap_err().needed;
            let plan = MemoryPlan::new(needed + more, partitions, false).unwrap();
            prop_assert_eq!(plan.of_each(1), plan);
            for threads in 2..=plan.most_threads(1 << 20) {
                let each = plan.of_each(threads);
                prop_assert_eq!((each.state, each.are_snapshots_beside), (plan.state, plan.are_snapshots_beside));
                prop_assert!(threads * each.queues.fetched <= plan.queues.fetched);
                prop_assert!(threads * each.queues.produced <= plan.queues.produced);
                prop_assert!(threads * each.in_flight + (threads - 1) * THREAD as usize <= plan.in_flight);
                let least = [LEAST_FETCHED, LEAST_PRODUCED, LEAST_IN_FLIGHT].map(|bytes| bytes as usize);
                let parts = [each.queues.fetched, each.queues.produced, each.in_flight];
                prop_assert!(parts.iter().zip(least).all(|(part, least)| *part >= least), "{threads}: {each:?}");
            }
        }

        #[test]
        fn the_parts_are_never_more_than_is_allowed(
            more in 0u64..(64 << 30), partitions in 1u32..2_000, is_repartitioned in any::<bool>()
        ) {
            let needed = MemoryPlan::new(0, partitions, is_repartitioned).unwrap_err().needed;
            let plan = MemoryPlan::new(needed + more, partitions, is_repartitioned).unwrap();
            let times = if is_repartitioned { 2 } else { 1 };
            let clients = plan.queues.fetched + plan.queues.produced;
            let more_copies = if plan.are_snapshots_beside { COPIES_OF_SNAPSHOT } else { 0 };
            let snapshot = if plan.are_snapshots_beside { SNAPSHOT } else { 0 };
            let state = (plan.state as u64 * (u64::from(partitions) + more_copies)).div_ceil(USABLE.0) * USABLE.1;
            let all = PROGRAM + snapshot + times * (clients + plan.in_flight) as u64 + state;
            prop_assert!(all <= needed + more, "{plan:?}");
            prop_assert!(plan.state as u64 >= LEAST_STATE);
        }
    }
}
