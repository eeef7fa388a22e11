//! What the stream threads of a process know of each other.
//!
//! Each thread is a member of the group by itself. Two things are for all of them to decide. With `--until-end`, a thread that has
//! read its partitions to their ends does not leave: the group would give them to the others, which would begin with them anew. The
//! threads close what is open once all have come to their ends, and leave together. And a thread that can restore none of its
//! partitions ends the process only where no other one has anything to read.
//!
//! For both it matters whether a thread without partitions, or with few, is about to get some. Where the threads together have all
//! partitions of the topic, nothing can come. Else the group is asked: nothing is on its way where every partition has an owner,
//! and each thread has what the group says that it has.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::kafka::client::group_members::GroupMember;

/// How often the group is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How far a stream thread is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is something to do, or may be.
    #[default]
    Busy,
    /// No partition is its own.
    Idle,
    /// These are its partitions, and they are read to their ends, as far as their state could be restored.
    AtEnd(Vec<i32>),
    /// These are its partitions; the state of none can be restored, and to try again would change nothing.
    Stuck(Vec<i32>),
    /// What was open is closed and committed; whether that is so of every partition, or the state of some could not be restored.
    Closed { is_whole: bool },
    /// Nothing is left to do.
    Done,
}

/// What follows from how far the threads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// They go on.
    GoOn,
    /// All have come to their ends, after so many records; whether that is certain without asking the group.
    End { records: u64, is_certain: bool },
    /// The end was decided.
    Closing,
    /// None has anything to read, for good; whether that is certain without asking the group.
    Stuck { is_certain: bool },
}

/// The stream threads of a process, as one of them sees the others.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    threads: Arc<Mutex<Threads>>,
    count: usize,
    own: usize,
    /// Whether the others know that this one is busy: that is asked after every record.
    is_busy: Cell<bool>,
}

#[derive(Debug)]
struct Threads {
    all: Vec<Thread>,
    /// How many partitions the topic has.
    partitions: usize,
    is_closing: bool,
    asked_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Thread {
    standing: Standing,
    records: u64,
    /// What the group calls it.
    member: Option<String>,
    /// Whether what was open of each of its partitions is closed, once it is.
    is_whole: bool,
    work: Option<Work>,
}

/// What a thread did from its first record to its last commit.
#[derive(Debug, Clone, Copy)]
struct Work {
    records: u64,
    began: Instant,
    /// When nothing was left to read.
    read: Instant,
    ended: Instant,
}

impl Peers {
    /// So many threads of a topic with so many partitions, as the first of them sees them.
    pub(crate) fn new(threads: usize, partitions: usize) -> Self {
        let count = threads.max(1);
        let all = (0..count).map(|_| Thread::default()).collect();
        let threads = Threads { all, partitions, is_closing: false, asked_at: None };
        Self { threads: Arc::new(Mutex::new(threads)), count, own: 0, is_busy: Cell::new(true) }
    }

    /// The same, as another thread sees them; they are counted from 0.
    pub(crate) fn of_thread(&self, thread: usize) -> Self {
        Self { own: thread.min(self.count - 1), is_busy: Cell::new(true), ..self.clone() }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether there are any others.
    pub(crate) fn are_there(&self) -> bool {
        self.count > 1
    }

    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how far this thread is, after how many records, and what the group calls it.
    pub(crate) fn note(&self, standing: Standing, records: u64, member: Option<String>) {
        self.is_busy.set(standing == Standing::Busy);
        let mut threads = self.lock();
        let thread = &mut threads.all[self.own];
        if let Standing::Closed { is_whole } = standing {
            thread.is_whole = is_whole;
        }
        (thread.standing, thread.records, thread.member) = (standing, records, member);
    }

    /// Says that this thread has something to do, unless the others know that.
    pub(crate) fn note_busy(&self) {
        if !self.is_busy.get() {
            self.note(Standing::Busy, 0, None);
        }
    }

    /// What follows from how far all are.
    pub(crate) fn outlook(&self) -> Outlook {
        self.lock().outlook()
    }

    /// Decides the end, if all have still come to theirs; whether it is decided.
    pub(crate) fn close(&self) -> bool {
        let mut threads = self.lock();
        threads.is_closing = matches!(threads.outlook(), Outlook::End { .. } | Outlook::Closing);
        threads.is_closing
    }

    /// Whether it is time for this thread to ask the group: one of them does, every now and then.
    pub(crate) fn may_ask(&self) -> bool {
        let mut threads = self.lock();
        let is_time = threads.asked_at.is_none_or(|asked_at| asked_at.elapsed() >= ASK_EVERY);
        if is_time {
            threads.asked_at = Some(Instant::now());
        }
        is_time
    }

    /// Whether no partition is on its way to any of the threads, by what the group says of its members.
    pub(crate) fn are_settled(&self, members: &[GroupMember]) -> bool {
        self.lock().are_settled(members)
    }

    /// Whether all have closed what was open, and have nothing left to do where that is asked.
    pub(crate) fn have_met(&self, are_done: bool) -> bool {
        let has_met = |thread: &Thread| match thread.standing {
            Standing::Done => true,
            Standing::Closed { .. } => !are_done,
            _ => false,
        };
        self.lock().all.iter().all(has_met)
    }

    /// Whether what was open of every partition is closed and committed, once all have met.
    pub(crate) fn are_whole(&self) -> bool {
        self.lock().all.iter().all(|thread| thread.is_whole)
    }

    /// Whether this thread has nothing left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.lock().all[self.own].standing == Standing::Done
    }

    /// Notes that this thread has committed everything, after so many records and so many seconds since the first of them, and had
    /// read everything after `read_seconds`. The last one gets the records of all, and the seconds since the first of all.
    pub(crate) fn on_drained(&self, records: u64, seconds: f64, read_seconds: f64) -> Option<(u64, f64, f64)> {
        if !self.are_there() {
            return Some((records, seconds, read_seconds));
        }
        let span = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let ended = Instant::now();
        let began = ended.checked_sub(span(seconds)).unwrap_or(ended);
        let read = began + span(read_seconds);
        let mut threads = self.lock();
        threads.all[self.own].work = Some(Work { records, began, read, ended });
        let all: Option<Vec<Work>> = threads.all.iter().map(|thread| thread.work).collect();
        let all = all?;
        let began = all.iter().map(|work| work.began).min()?;
        let (read, ended) = (all.iter().map(|work| work.read).max()?, all.iter().map(|work| work.ended).max()?);
        let since = |moment: Instant| moment.duration_since(began).as_secs_f64();
        Some((all.iter().map(|work| work.records).sum(), since(ended), since(read)))
    }
}

impl Threads {
    fn outlook(&self) -> Outlook {
        if self.is_closing {
            return Outlook::Closing;
        }
        // What one has just given up, another may have already.
        let (mut at_end, mut stuck, mut records) = (BTreeSet::<i32>::new(), BTreeSet::<i32>::new(), 0);
        for thread in &self.all {
            records += thread.records;
            match &thread.standing {
                Standing::AtEnd(partitions) => at_end.extend(partitions),
                Standing::Stuck(partitions) => stuck.extend(partitions),
                Standing::Idle => {}
                Standing::Busy | Standing::Closed { .. } | Standing::Done => return Outlook::GoOn,
            }
        }
        match (at_end.len(), stuck.len()) {
            (1.., 0) => Outlook::End { records, is_certain: at_end.len() >= self.partitions },
            (0, 1..) => Outlook::Stuck { is_certain: stuck.len() >= self.partitions },
            _ => Outlook::GoOn,
        }
    }

    fn are_settled(&self, members: &[GroupMember]) -> bool {
        let owned: BTreeSet<i32> = members.iter().flat_map(|member| member.partitions.iter().copied()).collect();
        let has_what_the_group_says = |thread: &Thread| {
            let own: &[i32] = match &thread.standing {
                Standing::AtEnd(partitions) | Standing::Stuck(partitions) => partitions,
                _ => &[],
            };
            let member = members.iter().find(|member| thread.member.as_ref() == Some(&member.id));
            member.is_some_and(|member| member.partitions == own)
        };
        owned.len() >= self.partitions && self.all.iter().all(has_what_the_group_says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two threads of a topic with so many partitions.
    fn two(partitions: usize) -> [Peers; 2] {
        let peers = Peers::new(2, partitions);
        [peers.of_thread(0), peers.of_thread(1)]
    }

    fn note(peers: &Peers, standing: Standing, records: u64) {
        peers.note(standing, records, Some(format!("m{}", peers.own)));
    }

    fn member(id: &str, partitions: &[i32]) -> GroupMember {
        GroupMember { id: id.to_owned(), name: id.to_owned(), partitions: partitions.to_vec() }
    }

    #[test]
    fn the_end_is_that_of_all_threads() {
        let [first, second] = two(3);
        note(&first, Standing::AtEnd(vec![0, 1]), 10);
        assert_eq!(first.outlook(), Outlook::GoOn, "the other one may have anything");
        assert!(!first.close());
        note(&second, Standing::AtEnd(vec![2]), 5);
        assert_eq!(first.outlook(), Outlook::End { records: 15, is_certain: true });
        note(&first, Standing::Busy, 0);
        assert!(!second.close(), "there is more to read");
        note(&first, Standing::AtEnd(vec![0, 1]), 11);
        assert!(second.close());
        note(&first, Standing::Busy, 0);
        assert_eq!(second.outlook(), Outlook::Closing, "it is decided once");
    }

    #[test]
    fn threads_leave_together() {
        let [first, second] = two(2);
        note(&first, Standing::Closed { is_whole: true }, 0);
        assert!(!first.have_met(false));
        note(&second, Standing::Closed { is_whole: false }, 0);
        assert!(first.have_met(false) && !first.have_met(true) && !first.are_whole());
        note(&first, Standing::Done, 0);
        assert!(second.have_met(false) && !second.have_met(true));
        note(&second, Standing::Done, 0);
        assert!(first.have_met(true) && first.is_done() && !first.are_whole(), "as it was when it was closed");
    }

    #[test]
    fn partitions_on_their_way_are_waited_for() {
        let [first, second] = two(4);
        note(&first, Standing::AtEnd(vec![0, 1]), 0);
        note(&second, Standing::Idle, 0);
        assert_eq!(first.outlook(), Outlook::End { records: 0, is_certain: false });
        let given_up = [member("m0", &[0, 1]), member("m1", &[])];
        assert!(!first.are_settled(&given_up), "nobody has 2 and 3 yet");
        let given = [member("m0", &[0, 1]), member("m1", &[2, 3])];
        assert!(!first.are_settled(&given), "the second thread has not heard of them yet");
        let of_another = [member("m0", &[0, 1]), member("m1", &[]), member("other", &[2, 3])];
        assert!(first.are_settled(&of_another));
        assert!(!first.are_settled(&[member("m0", &[0, 1]), member("other", &[2, 3])]), "it is no member yet");
        assert!(!first.are_settled(&[]), "the group is being rebalanced");
    }

    #[test]
    fn a_thread_that_is_stuck_ends_the_process_where_none_has_anything_to_read() {
        let [first, second] = two(2);
        note(&first, Standing::Stuck(vec![0]), 0);
        assert_eq!(first.outlook(), Outlook::GoOn);
        note(&second, Standing::AtEnd(vec![1]), 0);
        assert_eq!(first.outlook(), Outlook::GoOn, "more may come");
        note(&second, Standing::Idle, 0);
        assert_eq!(first.outlook(), Outlook::Stuck { is_certain: false });
        note(&second, Standing::Stuck(vec![1]), 0);
        assert_eq!(first.outlook(), Outlook::Stuck { is_certain: true });
    }

    #[test]
    fn the_last_thread_tells_of_the_work_of_all() {
        let alone = Peers::new(1, 4);
        assert_eq!(alone.on_drained(7, 1.5, 1.0), Some((7, 1.5, 1.0)));
        let [first, second] = two(2);
        assert_eq!(first.on_drained(7, 2.0, 1.75), None);
        let (records, seconds, read_seconds) = second.on_drained(4, 1.0, 0.5).unwrap();
        assert!((1.7..=seconds).contains(&read_seconds), "{read_seconds}: the first read longer");
        assert!(records == 11 && (2.0..3.0).contains(&seconds), "{records} {seconds}");
    }

    #[test]
    fn the_group_is_asked_by_one_thread_now_and_then() {
        let [first, second] = two(2);
        assert!(first.may_ask() && !second.may_ask());
    }
}
