//! The kill test: under load, instances are killed and stopped, at random moments and right before and after each call of
//! a transaction, again and again; so is the broker. Nothing may be lost and nothing duplicated.

use std::time::{Duration, Instant};

use crate::{Clock, Kafka, Running, Sender, Subject, Trial, wait_for};

/// The records of a round are spread over this span, and the moment of a random kill lies in it.
const SPAN: Duration = Duration::from_millis(800);

/// How often a look is taken meanwhile.
const STEP: Duration = Duration::from_millis(80);

/// The fewest records of a round: load for the whole span.
const FEWEST: usize = 2_000;

/// What is in the file is sent within so many rounds.
const ROUNDS_OF_FILE: usize = 10;

/// Records of a step once a wait has taken longer than a span: enough that every partition goes on. However long a group takes,
/// what came out of the test can be compared in memory.
const TRICKLE: usize = 50;

/// How long a group that was hit may take until it commits again.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a group of the classic protocol waits for a member that does not answer: it is out of the group then. Of others
/// the broker says so, see kafka.sh.
const SESSION: &str = "session.timeout.ms=6000";

/// How long the broker waits for a transaction of an instance that does not go on. One with several threads stops in the middle of
/// more than one of them.
const TRANSACTION: &str = "transaction.timeout.ms=6000";

/// The calls before and after which a kill is aimed.
const MOMENTS: [&str; 9] = [
    "before:read",
    "before:begin",
    "after:begin",
    "before:send",
    "before:offsets",
    "after:offsets",
    "before:commit",
    "after:commit",
    "before:read:500",
];

/// Every this many rounds an instance comes back after others took over its partitions.
const ZOMBIE_EVERY: usize = 10;

/// Where there are standby copies: every this many rounds an instance stays away until others have taken over.
const FAILOVER_EVERY: usize = 4;

/// What an instance says once it has read a changelog to its end.
const COPIED: &str = "a standby copy is up to date";

/// The guarantees that can be broken, as `--mutation` of `scorer-faults` names them.
pub const MUTATIONS: [&str; 7] = [
    "offsets-outside-transaction",
    "state-outside-transaction",
    "results-outside-transaction",
    "no-fence",
    "tag-ignored",
    "snapshot-trusted",
    "standby-trusted",
];

/// Who hands out the partitions of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// One of its instances.
    Classic,
    /// The broker.
    Consumer,
}

impl GroupProtocol {
    /// The one that `--group-protocol` calls so.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "classic" => Some(Self::Classic),
            "consumer" => Some(Self::Consumer),
            _ => None,
        }
    }

    /// How an instance is started.
    const fn options(self) -> [&'static str; 2] {
        match self {
            Self::Classic => ["-X", SESSION],
            Self::Consumer => ["--group-protocol", "consumer"],
        }
    }
}

/// How to test.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Of what.
    pub subject: Subject,
    /// By which clock.
    pub clock: Clock,
    /// Who hands out partitions.
    pub group_protocol: GroupProtocol,
    /// How many threads each instance has.
    pub threads: usize,
    /// How often something happens to the group.
    pub rounds: usize,
    /// How many instances there are.
    pub instances: usize,
    /// How many of them keep a copy of what another one owns.
    pub standbys: usize,
    /// Of the moments, and of who is hit.
    pub seed: u64,
    /// The guarantee that the scorer breaks, which has to be found out.
    pub mutation: Option<&'static str>,
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
    /// How often an instance did what it should have refused, or could not go on.
    pub unsound: usize,
    /// How often a partition came back from what its instance had kept on disk.
    pub from_snapshots: usize,
    /// How often it came back from a copy that its instance had kept.
    pub from_standbys: usize,
}

impl Outcome {
    /// Whether every guarantee was kept.
    pub fn is_exact(&self) -> bool {
        self.lost + self.duplicated + self.unsound == 0
    }
}

/// Runs the test; `None` where the real data are missing and tests may be skipped. Progress and one line a topic go to the
/// standard output.
pub fn run(plan: &Plan) -> Option<Outcome> {
    let wanted = if plan.instances == 1 { 3 } else { 6 };
    let partitions = plan.subject.partitions(wanted.max(u32::try_from(plan.threads).unwrap()));
    let trial = Trial::of(plan.subject, plan.clock, Kafka::start(), partitions)?;
    println!("seed {}", plan.seed);
    let mut test = KillTest {
        plan,
        sender: trial.sender(),
        instances: Vec::new(),
        random: Random(plan.seed),
        trial: &trial,
        started: 0,
        from_snapshots: 0,
        from_standbys: 0,
    };
    let result = test.rounds();
    if let Err(Unsound(why)) = &result {
        assert!(plan.mutation.is_some(), "{why}");
        println!("{why}");
    }
    Some(test.outcome(result.is_err()))
}

/// A sound scorer does not do this.
struct Unsound(String);

/// What happens to an instance, or to all of them.
#[derive(Debug, Clone, Copy)]
enum Hit {
    Kill,
    /// A kill right before or after a call.
    AimedKill,
    Pause,
    BrokerPause,
}

/// An instance; its name, which is also that of its folder, is its own for as long as the test runs.
struct Instance {
    name: String,
    running: Running,
}

struct KillTest<'a> {
    plan: &'a Plan,
    trial: &'a Trial,
    sender: Sender,
    instances: Vec<Instance>,
    random: Random,
    started: usize,
    from_snapshots: usize,
    from_standbys: usize,
}

impl KillTest<'_> {
    fn rounds(&mut self) -> Result<(), Unsound> {
        for _ in 0..self.plan.instances {
            self.started += 1;
            let instance = self.start(format!("i{}", self.started), None);
            self.instances.push(instance);
        }
        let half = self.plan.rounds.div_ceil(2);
        for round in 1..=self.plan.rounds {
            if round % ZOMBIE_EVERY == 2 {
                self.zombie()?
            } else if self.plan.standbys > 0 && round % FAILOVER_EVERY == 0 {
                self.failover()?
            } else {
                self.round()?
            }
            // Kills that come find on disk what was left there.
            if round == half {
                self.stop_all()?;
            }
            if round % 10 == 0 || round == self.plan.rounds {
                let committed = self.trial.group.total().unwrap_or_default();
                println!(
                    "round {round} of {}: {committed} of {} records committed",
                    self.plan.rounds,
                    self.sender.sent()
                );
            }
        }
        Ok(())
    }

    /// Something happens to the group under load, and it has to come back to work.
    fn round(&mut self) -> Result<(), Unsound> {
        let (hit, victim) = (self.random.hit(), self.random.below(self.instances.len() as u64) as usize);
        match hit {
            Hit::Kill => {
                let moment = self.random.within(SPAN);
                self.send_for(moment);
                self.replace(victim, None);
            }
            Hit::AimedKill => {
                self.arm(victim)?;
                self.send_until("the aimed kill", |test| test.instances[victim].running.has_ended())?;
                self.replace(victim, None);
            }
            Hit::Pause => {
                let pause = self.random.within(2 * SPAN);
                self.instances[victim].running.signal("STOP");
                self.send_for(pause);
                self.instances[victim].running.signal("CONT");
            }
            Hit::BrokerPause => {
                let pause = self.random.within(2 * SPAN);
                self.trial.kafka.signal_broker(1, "STOP");
                std::thread::sleep(pause);
                self.trial.kafka.signal_broker(1, "CONT");
            }
        }
        self.work_again()
    }

    /// An instance is killed and stays away until others have taken over its partitions, of which they have copies.
    fn failover(&mut self) -> Result<(), Unsound> {
        let victim = self.random.below(self.instances.len() as u64) as usize;
        self.send_until("every other instance to have a copy", |test| {
            let others = test.instances.iter().enumerate().filter(|(place, _)| *place != victim);
            others.map(|(_, other)| &other.running).all(|running| !running.log(COPIED).is_empty())
        })?;
        let Instance { name, running } = self.instances.remove(victim);
        self.note(&running);
        running.kill();
        self.work_again()?;
        let instance = self.start(name, None);
        self.instances.insert(victim, instance);
        self.work_again()
    }

    /// An instance stops in the middle of a transaction, others take over its partitions, and it comes back.
    fn zombie(&mut self) -> Result<(), Unsound> {
        let victim = self.random.below(self.instances.len() as u64) as usize;
        self.replace(victim, Some("signal:stop:before:send"));
        self.work_again()?;
        self.arm(victim)?;
        self.send_until("the stop in a transaction", |test| test.instances[victim].running.is_stopped())?;
        self.started += 1;
        let heir = self.start(format!("i{}", self.started), None);
        self.instances.push(heir);
        // Every partition moves on only once those of the stopped one are others'.
        self.work_again()?;
        let zombie = &self.instances[victim].running;
        let restored = zombie.log("restored").len();
        zombie.signal("CONT");
        // It learns that it was given up, and gets partitions again; or none, where there are enough others.
        let start = Instant::now();
        self.send_until("the zombie to go on", |test| {
            test.instances[victim].running.log("restored").len() > restored || start.elapsed() > 4 * SPAN
        })?;
        let zombie = self.instances.remove(victim);
        self.note(&zombie.running);
        zombie.running.kill();
        self.work_again()
    }

    /// From now on the moment counts at which an instance is to end. One that has just started does not know the signal yet.
    fn arm(&mut self, victim: usize) -> Result<(), Unsound> {
        self.send_until("an instance to have partitions", |test| {
            let running = &mut test.instances[victim].running;
            running.has_ended() || !running.log("restored").is_empty()
        })?;
        self.expect_alive()?;
        self.instances[victim].running.signal("USR1");
        Ok(())
    }

    /// Restarts all in good order, once there is something to leave. In between, the group's offsets are moved by hand,
    /// which has to be refused.
    fn stop_all(&mut self) -> Result<(), Unsound> {
        self.work_again()?;
        let names: Vec<String> = self.instances.iter().map(|instance| instance.name.clone()).collect();
        for Instance { name, running } in std::mem::take(&mut self.instances) {
            self.note(&running);
            let (run, _) = running.terminate();
            if run.code != Some(0) {
                return Err(Unsound(format!("{name} ended with {:?} after SIGTERM: {}", run.code, run.stderr)));
            }
        }
        self.refuse_moved_offsets(&names[0])?;
        for name in names {
            let instance = self.start(name, None);
            self.instances.push(instance);
        }
        self.work_again()
    }

    fn refuse_moved_offsets(&mut self, name: &str) -> Result<(), Unsound> {
        let group = &self.trial.group;
        let before = group.positions();
        let moved = group.move_to(&before, -1);
        let mut instance = self.start(name.to_owned(), None);
        // One that believes them goes on from there and commits.
        self.send_until("offsets that were moved by hand to be refused or believed", |test| {
            instance.running.has_ended() || test.trial.group.committed().is_ok_and(|now| now != moved)
        })?;
        if !instance.running.has_ended() {
            return Err(Unsound("offsets that were moved by hand were believed".to_owned()));
        }
        self.trial.group.move_to(&before, 0);
        Ok(())
    }

    /// Sends records for so long.
    fn send_for(&mut self, span: Duration) {
        let records = self.portion();
        let steps = span.as_millis().div_ceil(STEP.as_millis()).max(1) as u32;
        (0..steps).for_each(|_| self.sender.send_over(records, span / steps));
    }

    /// Sends records until something has happened.
    fn send_until(&mut self, what: &str, mut has_happened: impl FnMut(&mut Self) -> bool) -> Result<(), Unsound> {
        let (start, records) = (Instant::now(), self.portion());
        while !has_happened(self) {
            let waited = start.elapsed();
            if waited > PATIENCE {
                return Err(Unsound(format!("waited in vain for {what}")));
            }
            self.sender.send_over(if waited < SPAN { records } else { TRICKLE }, STEP);
        }
        Ok(())
    }

    /// The records of a step.
    fn portion(&self) -> usize {
        let share = self.sender.in_file().map_or(0, |records| records.div_ceil(self.plan.rounds.max(ROUNDS_OF_FILE)));
        share.max(FEWEST) / (SPAN.as_millis() / STEP.as_millis()) as usize
    }

    /// Waits until every partition is committed further.
    fn work_again(&mut self) -> Result<(), Unsound> {
        let before = wait_for("the committed offsets", PATIENCE, || self.trial.group.committed().ok());
        self.send_until("every partition to be committed further", |test| {
            let now = test.trial.group.committed();
            test.has_ended() || now.is_ok_and(|now| now.iter().zip(&before).all(|(now, before)| now > before))
        })?;
        self.expect_alive()
    }

    fn has_ended(&mut self) -> bool {
        self.instances.iter_mut().any(|instance| instance.running.has_ended())
    }

    fn expect_alive(&mut self) -> Result<(), Unsound> {
        for Instance { name, running } in &mut self.instances {
            if running.has_ended() {
                let stderr = running.stderr();
                let last = stderr.lines().last().unwrap_or_default();
                return Err(Unsound(format!("instance {name} ended by itself: {last}")));
            }
        }
        Ok(())
    }

    /// Kills an instance, if it still lives, and starts it again; one in four comes back without what it kept on disk.
    fn replace(&mut self, victim: usize, end: Option<&str>) {
        let Instance { name, running } = self.instances.remove(victim);
        self.note(&running);
        running.kill();
        if self.random.below(4) == 0 {
            self.trial.forget(&name);
        }
        let instance = self.start(name, end);
        self.instances.insert(victim, instance);
    }

    /// Starts an instance that ends at a moment that matters when it is told so.
    fn start(&mut self, name: String, end: Option<&str>) -> Instance {
        let moment = MOMENTS[self.random.below(MOMENTS.len() as u64) as usize];
        let aimed = format!("signal:kill:{moment}");
        let threads = self.plan.threads.to_string();
        let mut options = vec!["--instance-id", &name, "--end-at", end.unwrap_or(&aimed), "--threads", &threads];
        options.extend((self.plan.threads > 1).then_some(["-X", TRANSACTION]).into_iter().flatten());
        options.extend(self.plan.group_protocol.options());
        let standbys = self.plan.standbys.to_string();
        options.extend(["--standbys", &standbys]);
        options.extend(self.plan.mutation.map(|mutation| ["--mutation", mutation]).into_iter().flatten());
        let running = self.trial.broken_instance(&name, &options);
        Instance { name, running }
    }

    fn outcome(mut self, is_unsound: bool) -> Outcome {
        for instance in std::mem::take(&mut self.instances) {
            self.note(&instance.running);
            self.instances.push(instance);
        }
        let Self { from_snapshots, from_standbys, .. } = self;
        let records = self.sender.sent();
        if is_unsound {
            // What it would still publish says nothing.
            return Outcome { records, lost: 0, duplicated: 0, unsound: 1, from_snapshots, from_standbys };
        }
        let instances = self.instances.into_iter().map(|instance| instance.running).collect();
        let differences = self.trial.conclude(&mut self.sender, instances, self.plan.mutation.is_none());
        differences.iter().for_each(|difference| println!("{difference}"));
        let lost = differences.iter().map(|difference| difference.lost.len()).sum();
        let duplicated = differences.iter().map(|difference| difference.duplicated.len()).sum();
        Outcome { records, lost, duplicated, unsound: 0, from_snapshots, from_standbys }
    }

    /// Counts what an instance that is given up had its partitions from.
    fn note(&mut self, instance: &Running) {
        let restored = instance.log("restored");
        let from = |source: &str| restored.iter().filter(|restored| restored["source"] == source).count();
        self.from_snapshots += from("snapshot");
        self.from_standbys += from("standby");
    }
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

    fn within(&mut self, span: Duration) -> Duration {
        Duration::from_millis(self.below(span.as_millis() as u64))
    }

    fn hit(&mut self) -> Hit {
        match self.below(8) {
            0..2 => Hit::Kill,
            2..6 => Hit::AimedKill,
            6 => Hit::Pause,
            _ => Hit::BrokerPause,
        }
    }
}
