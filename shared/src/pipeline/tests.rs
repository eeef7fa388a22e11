use records::schema::Envelope;

use super::*;

const INVOICES: &str = include_str!("../../../resources/pipelines/invoices.toml");

fn problem(changed: &str) -> String {
    Pipeline::parse(changed, "test.toml").expect_err("the file is wrong").to_string()
}

fn replaced(from: &str, to: &str) -> String {
    assert!(INVOICES.contains(from), "the shipped file has `{from}`");
    INVOICES.replacen(from, to, 1)
}

/// The pipeline with this key under `[input.csv]`.
fn csv(key: &str) -> String {
    replaced("[input.aliases]", &format!("[input.csv]\n{key}\n\n[input.aliases]"))
}

#[test]
fn the_pipelines_that_ship_are_valid() {
    for shipped::Shipped { name, .. } in PIPELINES {
        let pipeline = Pipeline::load(name).unwrap();
        assert_eq!(pipeline.name, name);
        let has_words = |reading: &Reading| reading.label.is_some() || reading.unit.is_some();
        assert!(pipeline.readings.iter().all(has_words), "{name}: each feature has words for reasons");
        assert!(!pipeline.fields.is_empty(), "{name}: verdicts say what they are about");
    }
    for name in ["invoices", "invoices-spark"] {
        let pipeline = Pipeline::load(name).unwrap();
        assert_eq!(pipeline.feature_names(), ["AvgUnitPrice", "MinUnitPrice", "MaxUnitPrice", "Time", "NumberItems"]);
        assert_eq!(
            pipeline.output_topics(),
            ["facturas_erroneas", "cancelaciones", "anomalias_kmeans", "anomalias_bisect_kmeans"]
        );
    }
    let spark = Pipeline::load("invoices-spark").unwrap();
    assert!(spark.detectors.iter().all(|d| d.scaling == Scaling::None && d.threshold == ThresholdPolicy::Top(2000)));
    let min_shares = |name: &str| -> Vec<Option<f64>> {
        Pipeline::load(name).unwrap().detectors.iter().map(|spec| spec.algorithm.min_share()).collect()
    };
    assert_eq!((min_shares("invoices"), min_shares("invoices-spark")), (vec![Some(0.02); 2], vec![Some(0.0); 2]));
    assert_eq!(min_shares("transactions"), [Some(DEFAULT_MIN_SHARE); 2], "where the file says nothing");
}

#[test]
fn numbers_that_features_read_are_needed() {
    let pipeline = Pipeline::load("invoices").unwrap();
    let needed: Vec<&str> =
        pipeline.schema.columns.iter().filter(|column| column.needed).map(|column| column.name.as_str()).collect();
    assert_eq!(needed, ["InvoiceNo", "Quantity", "UnitPrice"]);
}

/// The pipeline in JSON with these lines under `[input.json]`.
fn json(lines: &str) -> String {
    let section = format!("[input.json]\n{lines}\n\n[input.aliases]");
    replaced("[input.aliases]", &section).replace("format = \"csv\"", "format = \"json\"")
}

#[test]
fn json_has_envelopes_arrays_and_paths() {
    let lines = "envelope = \"connect\"\nrecords = \"list[0].items\"\nconvert = [\"UnitPrice\"]\n[input.json.paths]\n\
        UnitPrice = \"price.value\"\nCountry = \"$.from.country\"";
    let schema = Pipeline::parse(&json(lines), "test.toml").unwrap().schema;
    assert_eq!((schema.json.envelope, schema.json.records.is_some()), (Some(Envelope::Connect), true));
    let column = |name: &str| schema.columns.iter().find(|column| column.name == name).unwrap();
    assert_eq!((column("UnitPrice").place().as_str(), column("UnitPrice").converts), ("price.value", true));
    assert_eq!((column("Country").place().as_str(), column("Country").is_of_message), ("$.from.country", true));
    for (lines, says) in [
        ("envelope = \"cdc\"", "[input.json] envelope: there is no envelope `cdc`: use \"connect\" or \"debezium\""),
        ("records = \"a..b\"", "[input.json] records: `a..b` is not a path"),
        ("convert = [\"Price\"]", "[input.json] convert: there is no column `Price`"),
        ("paths = { UnitPrice = \"[0]\" }", "[input.json.paths] UnitPrice: `[0]` is not a path"),
        ("paths = { Country = \"$.country\" }", "there is nothing around it"),
        ("paths = { Country = \"a.b\", UnitPrice = \"a\" }", "`UnitPrice` and `Country` are the same value"),
        ("paths = { Country = \"Price\" }", "the columns `Country` and `UnitPrice` are the same value"),
        ("path = {}", "unknown field `path`"),
    ] {
        let said = problem(&json(lines)).replace(
            "the columns `Country` and `UnitPrice` are the same value, or",
            "the columns `UnitPrice` and `Country` are the same value, or",
        );
        let says = says.replace("the columns `Country` and `UnitPrice`", "the columns `UnitPrice` and `Country`");
        assert!(said.contains(&says), "{lines}: {said}");
    }
    assert!(
        problem(&json("").replace("format = \"json\"", "format = \"csv\"")).contains("[input.json]: is for format")
    );
}

/// The pipeline in Avro with these lines under `[input.registry]`.
fn avro(lines: &str) -> String {
    let section = format!("[input.registry]\n{lines}\n\n[input.aliases]");
    replaced("[input.aliases]", &section).replace("format = \"csv\"", "format = \"avro\"")
}

#[test]
fn records_that_name_schemas_need_a_registry_and_others_have_none() {
    let lines = "url = \"https://registry:8081/\"\nuser = \"u\"\npassword_env = \"SECRET\"\ntimeout = \"3s\"";
    let pipeline = Pipeline::parse(&avro(lines), "test.toml").unwrap();
    let registry = pipeline.registry.unwrap();
    assert_eq!((registry.url.as_str(), registry.timeout.as_secs()), ("https://registry:8081", 3));
    assert_eq!((registry.password, registry.give_up_after.as_secs()), (Some(Password::Variable("SECRET".into())), 300));
    assert!(pipeline.schema.schemas.is_some() && Pipeline::load("invoices").unwrap().schema.schemas.is_none());
    for (lines, says) in [
        ("", "[input.registry] url: must be an address that begins with https:// or http://"),
        ("url = \"registry:8081\"", "must be an address"),
        ("url = \"http://me:s3cret@registry\"", "[input.registry] url: must not hold a user or a password"),
        ("url = \"http://r\"\nuser = \"u\"", "user: goes with password_file or password_env"),
        ("url = \"http://r\"\npassword_file = \"f\"", "user: goes with password_file or password_env"),
        (
            "url = \"http://r\"\nuser = \"u\"\npassword_file = \"f\"\npassword_env = \"E\"",
            "stands beside password_file",
        ),
        ("url = \"http://r\"\ntimeout = \"soon\"", "[input.registry] timeout: `soon` is not a span of time"),
        ("url = \"http://r\"\npassword = \"x\"", "unknown field `password`"),
    ] {
        let said = problem(&avro(lines));
        assert!(said.contains(says) && !said.contains("s3cret"), "{lines}: {said}");
    }
    let without = problem(&replaced("format = \"csv\"", "format = \"protobuf\""));
    assert!(without.contains("[input.registry]: is needed"), "{without}");
    let with = problem(&avro("url = \"http://r\"").replace("format = \"avro\"", "format = \"json\""));
    assert!(with.contains("[input.registry]: is for format = \"avro\""), "{with}");
    let section = |format: &str, section: &str| {
        let text =
            avro("url = \"http://r\"").replace("[input.registry]", &format!("[input.{section}\n[input.registry]"));
        problem(&text.replace("format = \"avro\"", &format!("format = \"{format}\"")))
    };
    assert!(section("avro", "json]").contains("[input.json]: is for format = \"json\" or \"json-schema\": remove it"));
    assert!(
        section("avro", "avro]\nenvelope = \"connect\"")
            .contains("[input.avro] envelope: `connect` is of Kafka Connect's JSON")
    );
    assert!(
        section("protobuf", "protobuf]\nrecords = \"x\"").contains("[input.protobuf] records: is not for Protobuf")
    );
}

#[test]
fn a_key_may_be_several_columns_or_a_number() {
    let key = |value: &str| Pipeline::parse(&replaced("key = \"InvoiceNo\"", &format!("key = {value}")), "test.toml");
    let named = |value: &str| {
        let pipeline = key(value).unwrap();
        let schema = &pipeline.schema;
        let needed: Vec<&str> = schema.columns.iter().filter(|it| it.needed).map(|it| it.name.as_str()).collect();
        (schema.columns[pipeline.entity.key].name.clone(), schema.n_fields(), needed.join(" "))
    };
    assert_eq!(named("[\"InvoiceNo\"]"), ("InvoiceNo".to_owned(), 8, "InvoiceNo Quantity UnitPrice".to_owned()));
    let both = ("InvoiceNo/Quantity".to_owned(), 8, "InvoiceNo Quantity UnitPrice".to_owned());
    assert_eq!(named("[\"InvoiceNo\", \"Quantity\"]"), both);
    assert_eq!(named("\"Quantity\"").0, "Quantity as text");
    let says = |value: &str| key(value).unwrap_err().to_string();
    assert!(says("\"UnitPrice\"").contains("[entity] key: `UnitPrice` must be a column of text, int or datetime"));
    assert!(says("[\"Country\", \"Country\"]").contains("`Country` stands twice"));
    assert!(says("[]").contains("names no column"));
    assert!(says("7").contains("`key` must be the name of a column, or a list of names"), "{}", says("7"));
    let without = problem(&replaced("key = \"InvoiceNo\"", ""));
    assert!(without.contains("[entity] key: is needed"), "{without}");
    let cards = Pipeline::load("creditcard").unwrap();
    assert!(cards.is_keyless() && cards.placed_by().is_empty());
    assert_eq!(cards.key_in_topic((2, 7), Some(1)), "creditcard-2-7-1");
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_valid_one() {
    let cases = [
        (
            replaced("session_gap =", "sesion_gap ="),
            "unknown key `sesion_gap` in [entity]; did you mean `session_gap`?",
        ),
        (replaced("[outputs]", "[output]"), "unknown key `output` in the file; did you mean `outputs`?"),
        (
            replaced("scaling = \"symlog\"", "scalling = \"symlog\""),
            "unknown key `scalling` in [[detectors]] number 1; did you mean `scaling`?",
        ),
        (replaced("datetime_formats", "zzz"), "unknown key `zzz` in [input]"),
    ];
    for (text, expected) in cases {
        assert_eq!(problem(&text), format!("test.toml: {expected}"));
    }
}

#[test]
fn each_wrong_value_is_one_sentence_that_says_where() {
    let cases = [
        (
            replaced("mean(UnitPrice)", "mean(UnitPrize)"),
            "[features] AvgUnitPrice: there is no column `UnitPrize`; did you mean `UnitPrice`?",
        ),
        (replaced("mean(UnitPrice)", "mode(UnitPrice)"), "[features] AvgUnitPrice: `mode(UnitPrice)` is no feature"),
        (
            replaced("mean(UnitPrice)", "share(Quantity = '1')"),
            "[features] AvgUnitPrice: `Quantity` is not of type text",
        ),
        (
            replaced("mean(UnitPrice)", "mean(Country)"),
            "[features] AvgUnitPrice: `Country` is not of type int or float",
        ),
        (replaced("\"40s\"", "\"40\""), "[entity] session_gap: `40` is not a span of time"),
        (replaced("# grace = \"25ms\"", "grace = \"0s\""), "[entity] grace: `0s` is not a span of time"),
        (replaced("# ahead = \"5m\"", "ahead = \"soon\""), "[entity] ahead: `soon` is not a span of time"),
        (replaced("key = \"InvoiceNo\"", "key = \"Nope\""), "[entity] key: there is no column `Nope`"),
        (replaced("UnitPrice:float", "UnitPrice:real"), "unknown type `real`"),
        (replaced("clock = \"record\"", "clock = \"Country\""), "[entity] clock: `Country` is not of type datetime"),
        (replaced("quantile = 0.99", "quantile = 99"), "quantile must be between 0 and 1"),
        (
            replaced("quantile = 0.99", "cost = { missed = 4, review = 4 }"),
            "threshold: cost: missed must be above review",
        ),
        (replaced("\nk = 8", "\nk = { elbow = 7, max = 20 }"), "elbow must be between 0 and 1"),
        (replaced("\"anomalias_kmeans\"", "\"purchases\""), "topics: `purchases` is used twice"),
        (replaced("format = \"csv\"", "format = \"xml\""), "[input] format: `xml` is not supported"),
        (replaced("\"%m/%d/%Y %H:%M\"", "\"%Q\""), "`%Q` does not name a date: use strftime's notation"),
        (csv("delimiter = \";;\""), "[input.csv] delimiter: must be one ASCII character"),
        (csv("delimiter = \"\\\"\""), "[input.csv]: delimiter, quote and comment must differ"),
        (csv("decimal = \";\""), "[input.csv] decimal: must be \".\" or \",\""),
        (csv("thousands = \".\""), "[input.csv] thousands: `.` is the decimal mark too"),
        (csv("thousands = \"x\""), "[input.csv] thousands: must be"),
        (csv("encoding = \"gbk\""), "[input.csv] encoding: `gbk` is not an encoding that is read"),
        (csv("separator = \";\""), "unknown field `separator`"),
        (
            csv("header = false").replace("format = \"csv\"", "format = \"json\""),
            "[input.csv]: is for format = \"csv\": remove it",
        ),
        (
            replaced("# timezone = \"Europe/London\"", "timezone = \"London\""),
            "[input] timezone: there is no time zone `London`",
        ),
        (replaced("window = \"8m\"", "window = \"90s\""), "must be a multiple of slide"),
        (replaced("\"1s\"", "\"0s\""), "[cancellations] idle_timeout: `0s` is not a span of time above zero"),
        (replaced("max_open = 1_000_000", "max_open = 0"), "[entity] max_open: must be above 0"),
        (replaced("max_lines = 100_000", "max_lines = 0"), "[entity] max_lines: must be above 0"),
        (replaced("max_key_bytes = 1024", "max_key_bytes = 0"), "[entity] max_key_bytes: must be above 0"),
        (replaced("max_lines = 100_000", "max_lines = -1"), "[entity]: invalid value: integer `-1`"),
        (
            replaced("max_state_bytes = 1_073_741_824", "max_state_bytes = 0"),
            "[entity] max_state_bytes: must be above 0",
        ),
        (replaced("max_record_bytes = 1_048_576", "max_record_bytes = 0"), "[input] max_record_bytes: must be above 0"),
        (
            replaced("algorithm = \"kmeans\"", "algorithm = \"dbscan\""),
            "`dbscan` is no algorithm; the algorithms are kmeans, bisecting-kmeans",
        ),
        (replaced("[entity]", "[entity"), "is not valid TOML"),
        (replaced("name = \"invoices\"", "name = \"../x\""), "`../x` is no name"),
        (replaced("min = 0.0", "min = 0.0, max = -1.0"), "min must not be above max"),
        (replaced("min = 0.0", "min = nan"), "`UnitPrice`: min must not be above max"),
        (replaced("min = 0.0", "min = 0.0, above = 0.0"), "`UnitPrice`: give min or above, not both"),
        (replaced("min = 0.0", "above = 1.0, max = 1.0"), "`UnitPrice`: above must be below max"),
        (replaced("min = 0.0", "above = inf"), "`UnitPrice`: above must be a number"),
        (
            replaced("[input.ranges]", "[input.missing]\nCountry = 1\n[input.ranges]"),
            "`Country` is not of type int or float",
        ),
        (replaced("[input.ranges]", "[input.missing]\nQuantity = 1.5\n[input.ranges]"), "use a whole number"),
        (
            replaced("[input.ranges]", "[input.missing]\nUnitPrice = -1\n[input.ranges]"),
            "must be in the column's range",
        ),
        (replaced("UnitPrice:float", "UnitPrice?:float"), "there is no column `UnitPrice`"),
        (
            replaced("window = \"8m\"", "window = \"106751991167d\""),
            "[cancellations] window: `106751991167d` is not a span of time above zero, such as \"40s\" or \"8m\", and at most 36500d",
        ),
        (replaced("slide = \"1m\"", "slide = \"1ms\""), "[cancellations] slide: must be at least a 1000th of window"),
        (
            replaced("\nk = 8", "\nk = { elbow = 0.7, max = 9223372036854775807 }"),
            "k, or its max, must be at most 10000",
        ),
        (replaced("\nk = 8", "\nk = 10001"), "k, or its max, must be at most 10000"),
        (replaced("min_share = 0.02", "min_share = 0.6"), "min_share must be between 0 and 0.5, such as 0.005"),
        (
            replaced("\nk = 8", "\ncalibration = \"random\"\nk = 8"),
            "calibration: is for threshold = { false_alarm_rate = ... }",
        ),
        (replaced("\nk = 8", "\nn_init = 1000000000\nk = 8"), "n_init times k, or its max, must be at most 1000000"),
    ];
    for (text, expected) in cases {
        let found = problem(&text);
        assert!(found.starts_with("test.toml") && found.contains(expected), "{found}\n  should say: {expected}");
    }
}

#[test]
fn a_limit_that_is_not_set_has_the_value_that_ships() {
    let limits = |text: &str| {
        let Pipeline { entity, scored, cancellations, schema, .. } = Pipeline::parse(text, "test.toml").unwrap();
        let Scored::Sessions(sessions) = scored else { panic!("invoices have lines") };
        let idle_timeout = cancellations.unwrap().idle_timeout;
        let max_key_bytes = schema.columns[entity.key].max_bytes;
        let of_records = (schema.max_record_bytes, max_key_bytes);
        (of_records, sessions.max_open, sessions.max_lines, entity.max_state_bytes, idle_timeout)
    };
    assert_eq!(limits(INVOICES), ((1_048_576, Some(1024)), 1_000_000, 100_000, 1_073_741_824, 1_000));
    let is_no_limit = |line: &&str| !line.starts_with("max_") && !line.starts_with("idle_timeout");
    let without: Vec<&str> = INVOICES.lines().filter(is_no_limit).collect();
    assert_eq!(without.len() + 6, INVOICES.lines().count());
    assert_eq!(limits(&without.join("\n")), limits(INVOICES));
}

/// What a message or the state repeats is bounded; what is only read may be as long as a record.
#[test]
fn texts_that_name_something_have_a_longest_length() {
    let bounded = |name: &str| -> Vec<String> {
        let pipeline = Pipeline::load(name).unwrap();
        let bounded = pipeline.schema.columns.iter().filter(|column| column.max_bytes == Some(1024));
        bounded.map(|column| column.name.clone()).collect()
    };
    assert_eq!(bounded("invoices"), ["InvoiceNo", "CustomerID", "Country"]);
    assert_eq!(bounded("transactions"), ["transaction_id", "user_id", "merchant_id"]);
}

#[test]
fn how_far_a_time_may_be_ahead_depends_on_the_clock_unless_the_file_says_it() {
    let pipeline = |text: &str| Pipeline::parse(text, "a test").unwrap();
    let shipped = pipeline(INVOICES);
    assert_eq!((shipped.entity.grace, shipped.clock_ahead()), (25, 5 * 60_000));
    assert_eq!(shipped.with_event_clock().unwrap().clock_ahead(), 2 * 86_400_000);
    let set = replaced("# ahead = \"5m\"", "ahead = \"1h\"").replace("# grace = \"25ms\"", "grace = \"3s\"");
    let set = pipeline(&set);
    assert_eq!((set.entity.grace, set.clock_ahead()), (3_000, 3_600_000));
    assert_eq!(set.with_event_clock().unwrap().clock_ahead(), 3_600_000);
}

#[test]
fn the_state_layout_says_what_the_state_of_an_entity_depends_on() {
    let layout = Pipeline::load("invoices").unwrap().state_layout();
    let expected = "\
key InvoiceNo
clock record
session_gap 40000 ms
remember 600000 ms
feature AvgUnitPrice=mean(UnitPrice)
feature MinUnitPrice=min(UnitPrice)
feature MaxUnitPrice=max(UnitPrice)
feature Time=first(hour(InvoiceDate))
feature NumberItems=sum(Quantity)
field Country=Country
field total=sum(Quantity*UnitPrice)
required CustomerID
required InvoiceDate
required Country
customer CustomerID
cancellations C window 480000 ms slide 60000 ms";
    assert_eq!(layout, expected);
    assert_eq!(layout, Pipeline::load("invoices").unwrap().state_layout());
    assert_eq!(layout, Pipeline::load("invoices-spark").unwrap().state_layout(), "detectors have no part in it");
}

#[test]
fn another_meaning_of_the_state_is_another_layout() {
    let layout = |text: &str| Pipeline::parse(text, "test.toml").unwrap().state_layout();
    let changes = [
        ("mean(UnitPrice)", "last(UnitPrice)"),
        ("mean(UnitPrice)", "mean(Quantity)"),
        ("AvgUnitPrice =", "Price ="),
        ("sum(Quantity)", "count()"),
        ("\"InvoiceDate\", \"Country\"]", "\"Country\", \"InvoiceDate\"]"),
        ("\"InvoiceDate\", \"Country\"]", "\"InvoiceDate\"]"),
        ("customer = \"CustomerID\"", "customer = \"Country\""),
        ("key = \"InvoiceNo\"", "key = \"StockCode\""),
        ("clock = \"record\"", "clock = \"InvoiceDate\""),
        ("\"40s\"", "\"41s\""),
        ("fields = [\"Country\",", "fields = ["),
        ("total = sum(Quantity *", "total = max(Quantity *"),
        ("\"10m\"", "\"11m\""),
        ("key_prefix = \"C\"", "key_prefix = \"D\""),
        ("window = \"8m\"", "window = \"9m\""),
        ("slide = \"1m\"", "slide = \"2m\""),
    ];
    for (from, to) in changes {
        assert_ne!(layout(&replaced(from, to)), layout(INVOICES), "{from} to {to}");
    }
    let currency = with(CURRENCY, "", "");
    assert_ne!(layout(&currency), layout(INVOICES));
    assert_ne!(layout(&with(CURRENCY, "EUR", "CHF")), layout(&currency));
    assert_eq!(layout(&with(CURRENCY, "0.92", "0.93")), layout(&currency), "rates change every day");
    for (from, to) in [("max_open = 1_000_000", "max_open = 7"), ("\"1s\"", "\"2s\""), ("= 0.99", "= 0.9")] {
        assert_eq!(layout(&replaced(from, to)), layout(INVOICES), "{from} to {to}");
    }
}

#[test]
fn the_definition_is_of_what_features_depend_on() {
    let definition = |text: &str| Pipeline::parse(text, "test.toml").unwrap().definition;
    assert_eq!(definition(INVOICES).len(), 8);
    let others = [
        "mean(UnitPrice)|last(UnitPrice)",
        "\"40s\"|\"41s\"",
        "{ min = 0.0 }|{ min = 1.0 }",
        "\"Quantity:int\"|\"Quantity:float\"",
    ];
    for (from, to) in others.map(|change| change.split_once('|').unwrap()) {
        assert_ne!(definition(&replaced(from, to)), definition(INVOICES), "{from} to {to}");
    }
    for (from, to) in [
        ("= 0.99", "= 0.9"),
        ("unit = \"items\"", "unit = \"pieces\""),
        ("clock = \"record\"", "clock = \"InvoiceDate\""),
    ] {
        assert_eq!(definition(&replaced(from, to)), definition(INVOICES), "{from} to {to}");
    }
    assert_eq!(definition(&with(CURRENCY, "0.92", "0.93")), definition(&with(CURRENCY, "", "")));
    assert_ne!(definition(&with(CURRENCY, "", "")), definition(INVOICES));
}

#[test]
fn fields_are_columns_and_expressions() {
    let fields = r#"fields = ["Country", "total = sum(Quantity * UnitPrice)"]"#;
    let names = |fields_of: &str| {
        let pipeline = Pipeline::parse(&replaced(fields, &format!("fields = {fields_of}")), "test.toml").unwrap();
        let accumulated = pipeline.session_accumulated()[pipeline.n_features()..].iter();
        let numbers: Vec<String> = accumulated.map(|number| number.expression(&pipeline.schema.columns)).collect();
        (pipeline.fields.names().map(str::to_owned).collect::<Vec<_>>().join(" "), numbers.join(" "))
    };
    let both = |names: &str, numbers: &str| (names.to_owned(), numbers.to_owned());
    assert_eq!(
        names(r#"["Country", "n = Quantity", "UnitPrice"]"#),
        both("Country n UnitPrice", "first(Quantity) first(UnitPrice)")
    );
    assert_eq!(names(r#"["each = UnitPrice / Quantity"]"#), both("each", "first(UnitPrice/Quantity)"));
    assert_eq!(
        names(r#"["count()", "at = InvoiceDate", "h=max(hour(InvoiceDate))"]"#),
        both("count() at h", "count() max(hour(InvoiceDate))")
    );
    assert_eq!(
        names(r#"["share(Country = 'Spain')", "codes (all) = count_distinct(StockCode)", "m = median(UnitPrice)"]"#),
        both(
            "share(Country = 'Spain') codes (all) m",
            "share(Country='Spain') count_distinct(StockCode) median(UnitPrice)"
        )
    );
    assert_eq!(names("[]"), both("", ""));
    for (bad, expected) in [
        (r#"["Contry"]"#, "there is no column `Contry`; did you mean `Country`?"),
        (r#"["Country", "Country"]"#, "`Country` stands twice"),
        (r#"["total = sum(Quantity * Country)"]"#, "`Country` is not of type int or float"),
        (r#"["total = sum(Quantity"]"#, "is no feature"),
        (r#"["total = "]"#, "is no field"),
        (r#"[" = Country"]"#, "is no field"),
    ] {
        let text = replaced(fields, &format!("fields = {bad}"));
        let error = Pipeline::parse(&text, "test.toml").unwrap_err().to_string();
        assert!(error.starts_with("test.toml: [outputs] fields: ") && error.contains(expected), "{bad}: {error}");
    }
}

#[test]
fn words_and_versions_are_checked() {
    for (from, to, expected) in [
        ("unit = \"items\"", "unit = \" \"", "[features.NumberItems] unit: must be words of a sentence"),
        ("unit = \"items\"", "label = \"a\\nb\"", "[features.NumberItems] label: must be words of a sentence"),
        (
            "unit = \"items\"",
            "reading = \"hours\"",
            "[features.NumberItems] reading: `hours` is no reading: use number, ratio, hour",
        ),
        (
            "unit = \"items\"",
            "units = \"items\"",
            "unknown key `units` in [features.NumberItems]; did you mean `unit`?",
        ),
        ("expression = \"sum(Quantity)\", ", "", "[features.NumberItems]: missing field `expression`"),
        ("# schema = 1 ", "schema = 3 ", "[outputs] schema: there is no version 3: use 1 or 2"),
        ("# verdicts = \"verdicts\"", "verdicts = \"purchases\"", "`purchases` is used twice"),
    ] {
        let error = Pipeline::parse(&replaced(from, to), "test.toml").unwrap_err().to_string();
        assert!(error.starts_with("test.toml: ") && error.contains(expected), "{to}: {error}");
    }
    let both = replaced("# verdicts = \"verdicts\"", "verdicts = \"together\"").replace("# schema = 1 ", "schema = 1 ");
    let pipeline = Pipeline::parse(&both, "test.toml").unwrap();
    assert_eq!((pipeline.verdict_schema, pipeline.output_topics().contains(&"together")), (VerdictSchema::V1, true));
}

#[test]
fn a_pipeline_that_is_not_there_is_named() {
    let unknown = Pipeline::load("invoces").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "no pipeline `invoces`: it is neither a file nor one of invoices, invoices-spark, transactions, fraud-handbook, online-retail, paysim, sparkov, creditcard"
    );
    assert!(
        Pipeline::load("no/such.toml").unwrap_err().to_string().starts_with("cannot read pipeline file no/such.toml")
    );
}

#[test]
fn a_format_is_csv_where_none_is_named() {
    let format = |text: &str| Pipeline::parse(text, "test.toml").unwrap().schema.format;
    assert_eq!(format(INVOICES), InputFormat::Csv);
    assert_eq!(format(&replaced("format = \"csv\"", "")), InputFormat::Csv);
    assert_eq!(format(&replaced("format = \"csv\"", "format = \"json\"")), InputFormat::Json);
}

#[test]
fn the_name_of_a_file_tells_the_format_of_its_records() {
    let format = |name: &str| InputFormat::of_file(Path::new(name));
    for name in ["a.jsonl", "a.ndjson", "b.c/a.JSON", "a.csv.jsonl", "a.jsonl.gz", "a.ndjson.GZ"] {
        assert_eq!(format(name), Some(InputFormat::Json), "{name}");
    }
    for name in ["a.csv", "a.CSV", "a.jsonl.csv", "a.csv.gz"] {
        assert_eq!(format(name), Some(InputFormat::Csv), "{name}");
    }
    for name in ["a", "-", "", "a.gz", "a.txt", "a.jsonl/b", ".jsonl", "..", "/"] {
        assert_eq!(format(name), None, "{name}");
    }
}

#[test]
fn a_question_mark_makes_a_column_optional() {
    let text = replaced("\"Description\"", "\"Description?\"").replace("UnitPrice:float", "UnitPrice:float?");
    let pipeline = Pipeline::parse(&text, "test.toml").unwrap();
    let optional: Vec<&str> =
        pipeline.schema.columns.iter().filter(|column| column.optional).map(|column| column.name.as_str()).collect();
    assert_eq!(optional, ["Description", "UnitPrice"]);
    assert_eq!(pipeline.schema.columns[5].kind, ColumnType::Float);
    assert!(pipeline.schema.columns[5].needed, "a feature reads it");
}

#[test]
fn above_is_a_least_value_that_is_left_out() {
    let range =
        |entry: &str| Pipeline::parse(&replaced("min = 0.0", entry), "test.toml").unwrap().schema.columns[5].range;
    assert_eq!(range("above = 0.0"), (5e-324, f64::INFINITY));
    assert_eq!(range("above = 1.0, max = 2.0"), (1.0 + f64::EPSILON, 2.0));
    assert_eq!(range("min = 1, max = 1"), (1.0, 1.0));
}

const CURRENCY: &str = "
[currency]
column = \"Country\"
amount = \"UnitPrice\"
base = \"EUR\"
rates = { USD = 0.92, GBP = 1.17 }
";

const LABEL: &str = "
[label]
column = \"Description\"
header = \"label\"
normal = [\"fine\"]
";

fn with(section: &str, from: &str, to: &str) -> String {
    assert!(section.contains(from), "the section has `{from}`");
    format!("{INVOICES}{}", section.replacen(from, to, 1))
}

#[test]
fn amounts_have_rates_to_the_base() {
    assert!(Pipeline::parse(INVOICES, "test.toml").unwrap().schema.currency.is_none());
    let currency = Pipeline::parse(&with(CURRENCY, "", ""), "test.toml").unwrap().schema.currency.clone().unwrap();
    assert_eq!((currency.column, currency.amount), (7, 5));
    assert_eq!(["EUR", "USD", "JPY", ""].map(|name| currency.rate(name)), [Some(1.0), Some(0.92), None, None]);
    let cases = [
        ("\"Country\"", "\"Contry\"", "[currency] column: there is no column `Contry`; did you mean `Country`?"),
        ("\"Country\"", "\"Quantity\"", "[currency] column: `Quantity` must be a text column"),
        ("\"UnitPrice\"", "\"Quantity\"", "[currency] amount: `Quantity` must be of type float"),
        ("\"UnitPrice\"", "\"Price\"", "[currency] amount: there is no column `Price`"),
        ("\"EUR\"", "\"\"", "[currency] base: `` is no currency"),
        ("0.92", "0", "[currency] rates USD: 0 must be a number above 0"),
        ("0.92", "-1.0", "[currency] rates USD: -1 must be a number above 0"),
        ("0.92", "nan", "[currency] rates USD: NaN must be a number above 0"),
        ("0.92", "inf", "[currency] rates USD: inf must be a number above 0"),
        ("0.92", "\"1\"", "[currency]: invalid type: string"),
        ("USD", "EUR", "[currency] rates EUR: is the base"),
        ("USD", "\" USD\"", "[currency] rates  USD: is no currency"),
        ("rates", "rate", "unknown key `rate` in [currency]; did you mean `rates`?"),
        ("base = \"EUR\"", "", "[currency]: missing field `base`"),
    ];
    for (from, to, expected) in cases {
        let found = problem(&with(CURRENCY, from, to));
        assert!(found.contains(expected), "{found}\n  should say: {expected}");
    }
}

#[test]
fn a_label_that_is_not_normal_is_a_scenario() {
    let label = |section: &str| Pipeline::parse(section, "test.toml").unwrap().label;
    assert!(label(INVOICES).is_none());
    let custom = label(&with(LABEL, "", "")).unwrap();
    assert_eq!((custom.column, custom.header.as_deref()), (Some(2), Some("label")));
    assert_eq!(custom.scenario(Some(" fine ")), None);
    assert_eq!(custom.scenario(Some("normal")), Some("normal"));
    let default = label(&with(LABEL, "normal = [\"fine\"]", "")).unwrap();
    for normal in [None, Some(""), Some("  "), Some("0"), Some("normal")] {
        assert_eq!(default.scenario(normal), None, "{normal:?}");
    }
    assert_eq!(default.scenario(Some("card_testing ")), Some("card_testing"));
}

#[test]
fn a_label_has_a_place_and_nothing_reads_it() {
    let cases = [
        ("\"Description\"", "\"Descriptoin\"", "[label] column: there is no column `Descriptoin`; did you mean"),
        ("\"Description\"", "\"Quantity\"", "[features] NumberItems: `Quantity` is the column of [label]"),
        ("\"Description\"", "\"InvoiceDate\"", "[label] column: `InvoiceDate` must not be a datetime"),
        ("\"Description\"", "\"InvoiceNo\"", "[entity] key: `InvoiceNo` is the column of [label]"),
        ("header = \"label\"", "header = \"\"", "[label] header: must not be empty"),
        ("normal", "normals", "unknown key `normals` in [label]; did you mean `normal`?"),
    ];
    for (from, to, expected) in cases {
        let found = problem(&with(LABEL, from, to));
        assert!(found.contains(expected), "{found}\n  should say: {expected}");
    }
    let nowhere = problem(&format!("{INVOICES}[label]\nnormal = []\n"));
    assert!(nowhere.contains("[label]: needs `column`, `header` or both"), "{nowhere}");
    let read = problem(&(with(LABEL, "Description", "Country") + CURRENCY));
    assert!(read.contains("[currency] column: `Country` is the column of [label]"), "{read}");
}
