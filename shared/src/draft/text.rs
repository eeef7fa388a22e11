//! The sections of a drafted pipeline file.

use std::fmt::Write;

use records::dialect::{Dialect, NULLS, NumberStyle, shown_delimiter};
use records::schema::{Envelope, InputFormat, MessageShape, RecordsAt};
use records::sniff::profile::{Kind, Profile};
use records::sniff::roles::{Roles, Shape};
use records::sniff::{About, Findings, Writing, csv};
use records::time::format_span;

use super::names::Names;
use super::section::{Section, toml_key, toml_list, toml_text};
use super::{Request, features, shortened};

/// `[input]` and what is below it.
pub(super) fn input(findings: &Findings, request: &Request, names: &Names, uses: &[Option<String>]) -> Vec<Section> {
    let (format, order) = match findings.writing.format() {
        InputFormat::Csv => ("csv", "    # on the topic, records have no header, and their fields are in this order\n"),
        // What is drafted is read without a registry.
        InputFormat::Json | InputFormat::Avro | InputFormat::Protobuf => ("json", ""),
    };
    let what = if findings.roles.shape == Shape::Records { "" } else { ": one line of an entity" };
    let mut text = format!("[input]                       # a record{what}\nformat = \"{format}\"\n");
    if findings.writing == Writing::Table {
        text = text.replace("\"json\"\n", "\"json\"               # on the topic; or \"csv\"\n");
    }
    let _ = writeln!(text, "topic = {}", toml_text(&request.topic));
    let _ = writeln!(
        text,
        "columns = [                   # name, name:int, name:float, name:datetime; one that ends with ? may be absent"
    );
    text.push_str(order);
    for (index, column) in findings.columns.iter().enumerate() {
        let declared = toml_text(&declared(findings, names, index)) + ",";
        let what = uses[index].clone().unwrap_or_else(|| "not read".to_owned());
        let example = shortened(&column.example, 40);
        let such_as = if example.is_empty() { String::new() } else { format!("; such as {example}") };
        let _ = writeln!(text, "    {declared:<26}# {what}{such_as}");
    }
    text.push_str("]\n");
    let mut sections = vec![Section::about(findings, About::Input, text)];
    sections.extend(dates(findings));
    if let Writing::Csv(dialect) = &findings.writing {
        sections.extend(dialect_section(dialect));
    }
    sections.extend(json_sections(findings, names));
    let aliases: String = (0..findings.columns.len())
        .filter(|index| findings.columns[*index].path.is_none())
        .filter_map(|index| {
            let alias = names.alias(index)?;
            Some(format!("{} = {}\n", toml_key(names.get(index)), toml_list([alias])))
        })
        .collect();
    if !aliases.is_empty() {
        sections.push(Section::plain(format!(
            "[input.aliases]               # what columns are called in files\n{aliases}"
        )));
    }
    let ranges: String = features::not_negative(findings)
        .into_iter()
        .map(|index| format!("{} = {{ min = 0.0 }}\n", toml_key(names.get(index))))
        .chain(findings.roles.place.into_iter().flat_map(|(latitude, longitude)| {
            [(latitude, 90), (longitude, 180)].map(|(index, most)| {
                format!("{} = {{ min = -{most}.0, max = {most}.0 }}\n", toml_key(names.get(index)))
            })
        }))
        .collect();
    if !ranges.is_empty() {
        sections.push(Section::plain(format!(
            "[input.ranges]                # a record with a number outside its range is erroneous\n{ranges}"
        )));
    }
    sections
}

/// A column as a pipeline file declares it.
fn declared(findings: &Findings, names: &Names, index: usize) -> String {
    let (roles, column, name) = (&findings.roles, &findings.columns[index], names.get(index));
    let is_time = roles.time.as_ref().is_some_and(|time| time.column == index);
    let is_read = is_read(roles, index);
    let is_name = [roles.key, roles.customer, roles.merchant].contains(&Some(index)) || is_label(roles, index);
    let kind = match column.kind {
        _ if is_time => ":datetime",
        _ if is_name => "",
        Kind::Integer if is_whole(roles, index, column) => ":int",
        Kind::Integer | Kind::Float => ":float",
        _ => "",
    };
    let may_be_absent = if is_read && !is_label(roles, index) { "" } else { "?" };
    format!("{name}{kind}{may_be_absent}")
}

/// Amounts may have a fraction, though none has been seen.
fn is_whole(roles: &Roles, index: usize, column: &Profile) -> bool {
    column.kind == Kind::Integer && ![roles.amount, roles.price].contains(&Some(index))
}

fn is_label(roles: &Roles, index: usize) -> bool {
    roles.shape == Shape::Records && roles.label.as_ref().is_some_and(|label| label.column == index)
}

/// Whether anything reads the column.
fn is_read(roles: &Roles, index: usize) -> bool {
    let is_session = roles.shape != Shape::Records;
    let numbers = [roles.amount, roles.quantity.filter(|_| is_session), roles.price].into_iter().flatten();
    let merchant = roles.merchant.filter(|_| !is_session);
    let time = roles.time.as_ref().map(|time| time.column);
    let places = roles.place.into_iter().flat_map(|(latitude, longitude)| [latitude, longitude]);
    let all = [roles.key, time, roles.customer, merchant].into_iter().flatten();
    all.chain(numbers).chain(places).chain(roles.others.iter().copied()).any(|read| read == index)
        || is_label(roles, index)
}

fn dates(findings: &Findings) -> Option<Section> {
    let time = findings.roles.time.as_ref()?;
    let formats = toml_list(&time.dates.formats);
    let mut text =
        format!("datetime_formats = {formats} # or rfc3339, unix_s, unix_ms, unix_us; the first that fits wins\n");
    if !time.dates.has_zone {
        text.push_str("# timezone = \"Europe/Madrid\"  # of dates that name none; UTC where nobody says\n");
    }
    Some(Section::about(findings, About::Dates, text))
}

/// `[input.csv]`, where it is not as usual.
fn dialect_section(dialect: &Dialect) -> Option<Section> {
    let usual = Dialect::default();
    let text_of = |byte: Option<u8>| byte.map_or_else(String::new, |byte| char::from(byte).to_string());
    let mut lines = Vec::new();
    let mut set = |key: &str, value: String| lines.push(format!("{key} = {value}\n"));
    if dialect.delimiter != usual.delimiter {
        // A tab is written as two characters.
        set(
            "delimiter",
            if dialect.delimiter == b'\t' {
                "\"\\t\"".to_owned()
            } else {
                toml_text(&shown_delimiter(dialect.delimiter))
            },
        );
    }
    if dialect.quote != usual.quote {
        set("quote", toml_text(&text_of(dialect.quote)));
    }
    if dialect.comment.is_some() {
        set("comment", toml_text(&text_of(dialect.comment)));
    }
    if !dialect.header {
        set("header", "false".to_owned());
    }
    if !dialect.encoding.is_utf8() {
        set("encoding", toml_text(&dialect.encoding.name().to_lowercase()));
    }
    let more = csv::more_nulls(dialect);
    if !more.is_empty() {
        set("null", toml_list(NULLS.iter().copied().chain(more)));
    }
    lines.extend(number_keys(dialect.texts.numbers).into_iter().map(|key| key + "\n"));
    (!lines.is_empty())
        .then(|| Section::plain(format!("[input.csv]                   # how it is written\n{}", lines.concat())))
}

/// What a message holds, for people.
pub(super) fn shape_words(shape: &MessageShape) -> String {
    let records = if shape.records.is_some() { "an array of objects each" } else { "an object each" };
    match shape.envelope {
        None => records.to_owned(),
        Some(Envelope::Connect) => format!("{records}, in Kafka Connect's envelope"),
        Some(Envelope::Debezium) => format!("{records}, a change event of Debezium"),
    }
}

/// `[input.json]`, where it is not as usual.
fn json_sections(findings: &Findings, names: &Names) -> Vec<Section> {
    let Writing::Json(shape) = &findings.writing else { return Vec::new() };
    let mut lines = Vec::new();
    match shape.envelope {
        None => {}
        Some(Envelope::Connect) => lines.push("envelope = \"connect\"\n".to_owned()),
        Some(Envelope::Debezium) => {
            lines.push("envelope = \"debezium\"       # deletions are counted, and are no records\n".to_owned())
        }
    }
    match &shape.records {
        None => {}
        Some(RecordsAt::Message) => {
            lines.push("records = \".\"                 # a message is an array of records\n".to_owned())
        }
        Some(RecordsAt::Path(path)) => lines.push(format!("records = {}\n", toml_text(&path.to_string()))),
    }
    let indices = || 0..findings.columns.len();
    let is_converted = |index: &usize| {
        let column = &findings.columns[*index];
        column.is_converted && column.is_number() && declared(findings, names, *index).contains(':')
    };
    let converted: Vec<&str> = indices().filter(is_converted).map(|index| names.get(index)).collect();
    if !converted.is_empty() {
        lines.push(format!("convert = {} # texts such as \"12.50\" are numbers\n", toml_list(converted)));
    }
    let paths: String = indices()
        .filter_map(|index| {
            let path = findings.columns[index].path.as_ref()?;
            Some(format!("{} = {}\n", toml_key(names.get(index)), toml_text(&path.to_string())))
        })
        .collect();
    let mut sections = Vec::new();
    if !lines.is_empty() {
        sections.push(Section::plain(format!("[input.json]                  # how it is written\n{}", lines.concat())));
    }
    if !paths.is_empty() {
        let title = "[input.json.paths]            # where columns stand that are no field of the record itself\n";
        sections.push(Section::plain(format!("{title}{paths}")));
    }
    sections
}

/// What `[input.csv]` says of numbers in this style, a line each; nothing of those that programs write.
pub(super) fn number_keys(style: NumberStyle) -> Vec<String> {
    let decimal = (style.decimal != NumberStyle::PLAIN.decimal)
        .then(|| format!("decimal = {}", toml_text(&style.decimal.to_string())));
    let thousands = style.thousands.map(|sign| format!("thousands = {}", toml_text(&sign.to_string())));
    let signs = style.currency_signs.then(|| "currency_signs = true".to_owned());
    [decimal, thousands, signs].into_iter().flatten().collect()
}

/// `[label]`.
pub(super) fn label(findings: &Findings, names: &Names) -> Option<Section> {
    let label = findings.roles.label.as_ref().filter(|_| findings.roles.shape == Shape::Records)?;
    let mut text = "[label]                       # for evaluation only; nothing is learned from it\n".to_owned();
    let _ = writeln!(text, "column = {}", toml_text(names.get(label.column)));
    let usual = |text: &String| ["", "0", "normal"].contains(&text.as_str());
    if !label.normal.iter().all(usual) {
        let normal = [""].into_iter().chain(label.normal.iter().map(String::as_str));
        let _ = writeln!(text, "normal = {}", toml_list(normal));
    }
    Some(Section::about(findings, About::Label, text))
}

/// `[entity]`, and the sections that go with it.
pub(super) fn entity(findings: &Findings, request: &Request, names: &Names) -> Vec<Section> {
    let roles = &findings.roles;
    let mut text = "[entity]                      # what is scored\n".to_owned();
    match roles.key {
        Some(key) => _ = writeln!(text, "key = {}", toml_text(names.get(key))),
        None => text.push_str("# key = \"...\"                 # without one, a record is named by where it stands\n"),
    }
    let time = roles.time.as_ref().map(|time| names.get(time.column));
    if let Shape::Sessions { gap } = roles.shape {
        let _ = writeln!(
            text,
            "session_gap = {:<16}# complete when no line has arrived for this long",
            toml_text(&format_span(gap))
        );
        text.push_str(
            "remember = \"10m\"              # a line that comes within this time after it is erroneous (late_line)\n",
        );
        text.push_str("clock = \"record\"              # Kafka's timestamp of the record; or a datetime column\n");
        if let Some(time) = time {
            let _ = writeln!(text, "required = {:<19}# an entity without it is erroneous", toml_list([time]));
        }
    } else {
        if roles.key.is_some() {
            text.push_str(
                "remember = \"10m\"              # a key that is repeated within this time is erroneous (duplicate_key)\n",
            );
        }
        let _ = writeln!(text, "clock = {:<22}# or \"record\": Kafka's timestamp", toml_text(time.unwrap_or("record")));
    }
    if let Some(customer) = roles.customer {
        let _ = writeln!(text, "customer = {:<19}# named in verdicts", toml_text(names.get(customer)));
    }
    let mut sections = vec![Section::about(findings, About::Entity, text)];
    match (roles.shape, &roles.time) {
        (Shape::Records, Some(time)) => {
            let memory = features::scaled(time, 30 * 86_400_000);
            let mut text = "[history]                     # what is remembered of earlier records\n".to_owned();
            let _ = writeln!(text, "memory = {}", toml_text(&memory));
            if time.dates.has_zone {
                text.push_str("ahead = \"5m\"                  # a record that is further ahead of Kafka's timestamp is erroneous\n");
            } else {
                text.push_str("ahead = \"1d\"                  # a date without a zone may seem hours ahead of Kafka's timestamp\n");
            }
            text.push_str("# lateness = \"10s\"            # wait this long for records that are out of order\n");
            sections.push(Section::plain(text));
        }
        (Shape::Sessions { .. }, _) => sections.extend(roles.cancelled.as_ref().map(|prefix| {
            Section::plain(format!(
                "[cancellations]               # counted, neither trained on nor scored\n\
                 key_prefix = {}\nwindow = \"8m\"\nslide = \"1m\"\ntopic = {}\n",
                toml_text(prefix),
                toml_text(&format!("{}_cancellations", request.topic))
            ))
        })),
        (Shape::Records, None) => {}
    }
    sections
}
