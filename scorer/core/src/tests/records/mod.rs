//! Records that are scored one by one.

mod changelog;
mod growth;
mod hops;
mod order;
mod scoring;
mod standby;
mod zscore;

use shared::time::format_timestamp;

use super::*;

/// A moment of 2020.
const START: i64 = 1_600_000_000_000;

const COLUMNS: &str = r#"["id", "user", "shop", "amount:float", "at:datetime"]"#;

fn text(features: &str, entity: &str, history: &str) -> String {
    format!(
        r#"
        name = "small"
        input = {{ topic = "in", columns = {COLUMNS}, datetime_formats = ["rfc3339"] }}
        entity = {{ key = "id", customer = "user", {entity} }}
        history = {{ {history} }}
        outputs.erroneous = "bad"
        detectors = [{{ name = "kmeans", algorithm = "kmeans", topic = "out" }}]
        [features]
        {features}
        "#
    )
}

fn read(features: &str, entity: &str, history: &str) -> Pipeline {
    Pipeline::parse(&text(features, entity, history), "small.toml").unwrap()
}

/// With more detectors than one of clusters, each followed by a comma.
fn with_windows(features: &str, entity: &str, history: &str, detectors: &str) -> Pipeline {
    let text = text(features, entity, history).replace("detectors = [", &format!("detectors = [{detectors} "));
    Pipeline::parse(&text, "small.toml").unwrap()
}

const FEATURES: &str = r#"
    amount = "amount"
    count = "count() by user over 1m"
    mean = "mean(amount) by user over 1h"
    deviation = "deviation(amount) by shop over 1h"
    since = "seconds_since_last() by user"
    new = "is_new(shop) by user"
"#;

fn small(entity: &str, history: &str) -> Arc<Pipeline> {
    Arc::new(read(FEATURES, entity, history))
}

/// The same with a label in the column of the shop, and in a header.
fn labelled(history: &str) -> Arc<Pipeline> {
    let features = r#"count = "count() by user over 1m""#;
    let text = format!("label = {{ column = \"shop\", header = \"label\" }}\n{}", text(features, "", history));
    Arc::new(Pipeline::parse(&text, "small.toml").unwrap())
}

/// A record: its key, when it was and what Kafka says of that, and the rest.
#[derive(Debug, Clone)]
struct Row {
    key: String,
    at: i64,
    kafkas: i64,
    payload: String,
}

fn row(key: impl ToString, (user, shop): (u8, u8), amount: f64, at: i64) -> Row {
    let key = key.to_string();
    let payload = format!("{key},user {user},shop {shop},{amount},{}", format_timestamp(at));
    Row { key, at, kafkas: at, payload }
}

/// Drives a core with one partition.
struct Driver {
    core: Core,
    out: Vec<Output>,
    offset: i64,
}

impl Driver {
    fn new(pipeline: &Arc<Pipeline>) -> Self {
        let mut core = Core::sharing(pipeline.clone(), Recovery::Changelog, origin_of(pipeline));
        core.apply(Input::Assigned { partition: 0, start: Start::Fresh }, &mut Vec::new());
        Self { core, out: Vec::new(), offset: 0 }
    }

    /// A file has no second clock.
    fn of_file(pipeline: &Arc<Pipeline>) -> Self {
        Self { core: Core::new(pipeline.clone()), ..Self::new(pipeline) }
    }

    fn apply(&mut self, input: Input<'_>) {
        self.core.apply(input, &mut self.out);
        let counters = self.core.counters();
        assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
    }

    fn send(&mut self, row: &Row) {
        let record = Record::new(0, self.offset, row.kafkas, row.payload.as_bytes());
        self.offset += 1;
        self.apply(Input::Record(record));
    }

    fn judge(mut self, rows: &[Row]) -> Self {
        rows.iter().for_each(|row| self.send(row));
        self.apply(Input::End);
        self
    }

    fn closed(&self) -> Vec<&ClosedEntity> {
        self.out
            .iter()
            .filter_map(|output| if let Output::Closed(entity) = output { Some(entity) } else { None })
            .collect()
    }

    fn keys(&self) -> Vec<&str> {
        self.closed().iter().map(|entity| &*entity.summary.key).collect()
    }

    fn reasons(&self) -> Vec<String> {
        let reasons = |output: &Output| match output {
            Output::Erroneous(Erroneous::Line { reasons, .. } | Erroneous::Entity { reasons, .. }) => {
                Some(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
            _ => None,
        };
        self.out.iter().filter_map(reasons).collect()
    }
}

fn origin_of(pipeline: &Pipeline) -> Origin {
    Origin { topic: pipeline.topic.clone(), partitions: 1, layout: pipeline.state_layout(), topic_id: None }
}

/// What a changelog holds after compaction.
type Changelog = BTreeMap<Vec<u8>, Vec<u8>>;

fn commit(core: &mut Core, changelog: &mut Changelog) {
    for record in core.take_changes().into_iter().flat_map(|changes| changes.records) {
        match record.value {
            Some(value) => changelog.insert(record.key, value),
            None => changelog.remove(&record.key),
        };
    }
}

fn restored(pipeline: &Pipeline, changelog: &Changelog) -> Option<Restored> {
    let mut reader = StateReader::new(pipeline, origin_of(pipeline));
    for (key, value) in changelog {
        reader.take(pipeline, key, Some(value)).unwrap();
    }
    reader.head()?;
    Some(reader.finish(pipeline).unwrap())
}

fn as_changelog(records: impl IntoIterator<Item = StateRecord>) -> Changelog {
    let mut changelog = Changelog::new();
    for StateRecord { key, value } in records {
        assert!(changelog.insert(key, value.unwrap()).is_none(), "each key once");
    }
    changelog
}

/// What was found of each record, to the bit.
fn found(driver: &Driver) -> Vec<(String, Vec<u64>)> {
    let bits = |entity: &&ClosedEntity| entity.features.iter().map(|value| value.to_bits()).collect();
    let mut found: Vec<_> =
        driver.closed().iter().map(|entity| (format!("{:?}", entity.summary), bits(entity))).collect();
    found.sort();
    found
}

/// Rows in the order of their times, some at the same; some months, often seconds apart.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let step = prop_oneof![4 => 0i64..3, 4 => 0i64..5_000, 2 => 0i64..100_000, 1 => Just(10 * 86_400_000)];
    let amount = prop_oneof![(0u8..4).prop_map(f64::from), 0.0f64..1e4];
    proptest::collection::vec((0u8..5, 0u8..3, amount, step), 1..80).prop_map(|steps| {
        let mut at = START;
        let row = |(index, (user, shop, amount, step)): (usize, (u8, u8, f64, i64))| {
            at += step;
            row(format!("k{}", (index * 7) % 100), (user, shop), amount, at)
        };
        steps.into_iter().enumerate().map(row).collect()
    })
}

/// The record as if it were of two months before.
fn old(of: &Row) -> Row {
    let at = of.at - 60 * 86_400_000;
    Row { at, payload: of.payload.replace(&format_timestamp(of.at), &format_timestamp(at)), ..of.clone() }
}

/// Rows as they come from the world: out of order, twice, broken, from the future, from long ago.
fn world() -> impl Strategy<Value = Vec<Row>> {
    (rows(), proptest::collection::vec((0u8..20, 0i64..25_000, 0usize..80), 80)).prop_map(|(rows, fates)| {
        let mut arrivals: Vec<Row> = Vec::new();
        for (row, &(fate, delay, other)) in rows.iter().zip(&fates) {
            let mut row = Row { kafkas: row.at + if fate < 10 { delay } else { 0 }, ..row.clone() };
            match fate {
                0 => arrivals.push(rows[other % rows.len()].clone()),
                1 => row.payload = "broken".to_owned(),
                2 => row.kafkas = row.at - 400_000,
                3 => row = Row { kafkas: row.kafkas, ..old(&row) },
                _ => {}
            }
            arrivals.push(row);
        }
        arrivals.sort_by_key(|row| row.kafkas);
        arrivals
    })
}

/// Pipelines that remember in different ways: by either clock, with records that wait or not, and with little room.
fn settings() -> impl Strategy<Value = Arc<Pipeline>> {
    let clock = prop_oneof![Just(""), Just(r#"clock = "at","#)];
    let room =
        proptest::sample::select(vec!["", "max_state_bytes = 300", "max_state_bytes = 1500", "max_state_bytes = 3000"]);
    let history = prop_oneof![Just(r#"memory = "30d""#), Just(r#"memory = "1h", lateness = "10s""#)];
    let windows = prop_oneof![Just(String::new()), Just(zscore::detectors())];
    (clock, room, history, windows).prop_map(|(clock, room, history, windows)| {
        Arc::new(with_windows(FEATURES, &format!("{clock} {room}"), history, &windows))
    })
}
