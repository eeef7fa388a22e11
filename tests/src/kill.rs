//! The kill test: instances are killed at random moments under load, again and again, and started again at once;
//! nothing may be lost and nothing duplicated.

use std::time::Duration;

use crate::{Kafka, Running, Sender, Subject, Trial, wait_for};

/// The records of a round are spread over this span, and the moment of the kill lies in it.
const SPAN: Duration = Duration::from_millis(800);

/// The fewest records of a round: load for the whole span.
const FEWEST: usize = 2_000;

/// How long a group that was hit may take until it commits again.
const PATIENCE: Duration = Duration::from_secs(120);

/// How to test.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Of what.
    pub subject: Subject,
    /// How often an instance is killed.
    pub rounds: usize,
    /// How many instances there are.
    pub instances: usize,
    /// Of the moments, and of who is hit.
    pub seed: u64,
    /// Whether the scorer commits its offsets outside of its transactions, which has to be found out.
    pub mutate: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Records sent.
    pub records: u64,
    /// Messages that are missing, of all output topics.
    pub lost: usize,
    /// Messages that are there too often.
    pub duplicated: usize,
    /// How often a partition came back from what its instance had kept on disk.
    pub from_snapshots: usize,
}

/// Runs the test; `None` where the real data are missing and tests may be skipped. Progress and one line a topic go to the
/// standard output.
pub fn run(plan: &Plan) -> Option<Outcome> {
    let partitions = plan.subject.partitions(if plan.instances == 1 { 3 } else { 6 });
    let trial = Trial::of(plan.subject, Kafka::start(), partitions)?;
    println!("seed {}", plan.seed);
    let mut test = KillTest {
        plan,
        sender: trial.sender(),
        instances: (0..plan.instances).map(|number| start(&trial, plan, number)).collect(),
        random: Random(plan.seed),
        trial: &trial,
        from_snapshots: 0,
    };
    for round in 1..=plan.rounds {
        test.round();
        if round == plan.rounds.div_ceil(2) && !plan.mutate {
            test.leave_a_snapshot();
        }
        if round % 10 == 0 || round == plan.rounds {
            let committed = trial.group.total().unwrap_or_default();
            println!("round {round} of {}: {committed} of {} records committed", plan.rounds, test.sender.sent());
        }
    }
    Some(test.outcome())
}

struct KillTest<'a> {
    plan: &'a Plan,
    trial: &'a Trial,
    sender: Sender,
    instances: Vec<Running>,
    random: Random,
    from_snapshots: usize,
}

impl KillTest<'_> {
    /// Sends records, kills an instance at a random moment meanwhile, starts it again, and waits until the group works.
    fn round(&mut self) {
        let share = self.sender.in_file().map_or(0, |records| records.div_ceil(self.plan.rounds));
        let records = share.max(FEWEST);
        let before = wait_for("the committed offsets", PATIENCE, || self.trial.group.total());
        let Self { plan, trial, sender, instances, random, from_snapshots } = self;
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send_over(records, SPAN));
            std::thread::sleep(Duration::from_millis(random.below(SPAN.as_millis() as u64)));
            expect_alive(instances);
            let hit = random.below(instances.len() as u64) as usize;
            let instance = instances.remove(hit);
            *from_snapshots += restored_from_snapshots(&instance);
            instance.kill();
            // One in four comes back without what it kept on disk.
            if random.below(4) == 0 {
                trial.forget(&name(hit));
            }
            instances.insert(hit, start(trial, plan, hit));
        });
        if plan.mutate {
            return;
        }
        wait_for("the group to commit further", PATIENCE, || {
            expect_alive(instances);
            trial.group.total().filter(|total| *total > before)
        });
    }

    /// Restarts an instance in good order, once it has something to leave: kills that come find that on disk.
    fn leave_a_snapshot(&mut self) {
        let mut instance = self.instances.remove(0);
        // Before it has its partitions it may not even listen to signals.
        instance.wait_for_log("restored");
        self.sender.send_over(FEWEST, SPAN / 4);
        self.trial.group.wait_until_consumed();
        self.from_snapshots += restored_from_snapshots(&instance);
        let (run, _) = instance.terminate();
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let mut back = start(self.trial, self.plan, 0);
        back.wait_for_log("restored");
        self.instances.insert(0, back);
    }

    fn outcome(mut self) -> Outcome {
        self.from_snapshots += self.instances.iter().map(restored_from_snapshots).sum::<usize>();
        let differences = self.trial.conclude(&mut self.sender, self.instances, !self.plan.mutate);
        differences.iter().for_each(|difference| println!("{difference}"));
        let lost = differences.iter().map(|difference| difference.lost.len()).sum();
        let duplicated = differences.iter().map(|difference| difference.duplicated.len()).sum();
        Outcome { records: self.sender.sent(), lost, duplicated, from_snapshots: self.from_snapshots }
    }
}

fn start(trial: &Trial, plan: &Plan, number: usize) -> Running {
    let name = name(number);
    let who = ["--instance-id", &name];
    if plan.mutate {
        let broken = ["--mutation", "offsets-outside-transaction"];
        return trial.broken_instance(&name, &[who, broken].concat());
    }
    trial.instance(&name, &who)
}

fn restored_from_snapshots(instance: &Running) -> usize {
    instance.log("restored").iter().filter(|restored| restored["source"] == "snapshot").count()
}

fn name(number: usize) -> String {
    format!("i{number}")
}

fn expect_alive(instances: &mut [Running]) {
    assert!(!instances.iter_mut().any(Running::has_ended), "an instance ended by itself");
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
