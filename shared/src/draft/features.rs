//! Features that suit what was found.

use std::collections::HashSet;

use records::sniff::roles::{Roles, Shape, Time};
use records::sniff::{About, Findings};
use records::time::{Millis, format_span};

use super::names::Names;
use super::section::{Section, toml_key, toml_text};
use super::shortened;

const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;

/// The longest label.
const MOST_LABEL: usize = 60;

/// Whether no number of a column that was seen is negative.
pub(super) fn is_positive(findings: &Findings, column: usize) -> bool {
    findings.columns[column].numbers.is_some_and(|numbers| numbers.min >= 0.0)
}

/// The columns that features take the logarithm of: they must not become negative.
pub(super) fn not_negative(findings: &Findings) -> Vec<usize> {
    let Roles { shape, amount, others, .. } = &findings.roles;
    if *shape != Shape::Records {
        return Vec::new();
    }
    amount.iter().chain(others).copied().filter(|column| is_positive(findings, *column)).collect()
}

/// A span of real time in the time of the records, where a column counts hours.
pub(super) fn scaled(time: &Time, span: Millis) -> String {
    format_span((span / time.scale).max(1000))
}

pub(super) fn section(findings: &Findings, names: &Names) -> Section {
    let (form, features) = match findings.roles.shape {
        Shape::Sessions { .. } => (
            "of all lines of a key: mean, median, min, max, sum, first, last of a column, of hour(column) or of a * b; count(), \
             count_distinct(column), share(column = 'kind')",
            of_sessions(findings, names),
        ),
        Shape::Records => {
            ("of the record and of earlier records; docs/features.md lists the forms", of_records(findings, names))
        }
    };
    let mut seen = HashSet::new();
    let lines: String = features
        .into_iter()
        .filter(|feature| seen.insert(feature.name.clone()))
        .map(|feature| format!("{} = {}\n", toml_key(&feature.name), feature.value()))
        .collect();
    Section::about(findings, About::Features, format!("[features]                    # {form}\n{lines}"))
}

/// A feature, and how reasons name it.
struct Feature {
    name: String,
    expression: String,
    label: Option<String>,
    unit: Option<&'static str>,
}

impl Feature {
    fn new(name: impl Into<String>, expression: impl Into<String>) -> Self {
        Self { name: name.into(), expression: expression.into(), label: None, unit: None }
    }

    fn label(self, label: impl AsRef<str>) -> Self {
        Self { label: Some(shortened(label.as_ref(), MOST_LABEL)), ..self }
    }

    fn unit(self, unit: &'static str) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// What stands behind its name in the file.
    fn value(&self) -> String {
        let expression = toml_text(&self.expression);
        let label = self.label.as_ref().map(|label| format!(", label = {}", toml_text(label)));
        let unit = self.unit.map(|unit| format!(", unit = {}", toml_text(unit)));
        match (label, unit) {
            (None, None) => expression,
            (label, unit) => {
                format!("{{ expression = {expression}{}{} }}", label.unwrap_or_default(), unit.unwrap_or_default())
            }
        }
    }
}

fn of_sessions(findings: &Findings, names: &Names) -> Vec<Feature> {
    let roles = &findings.roles;
    let of = |prefix: &str, aggregate: &str, column: usize, word: &str| {
        let name = names.get(column);
        let feature = Feature::new(format!("{prefix}{}", capitalized(name)), format!("{aggregate}({name})"));
        feature.label(format!("{word} {name}"))
    };
    let mut features = Vec::new();
    for column in roles.price.into_iter().chain(roles.others.iter().copied()) {
        features.push(of("Avg", "mean", column, "average"));
        features.extend([of("Min", "min", column, "lowest"), of("Max", "max", column, "highest")]);
    }
    if let Some(column) = roles.amount {
        features.extend([of("Total", "sum", column, "total"), of("Max", "max", column, "highest")]);
    }
    if let Some(time) = roles.time.as_ref().filter(|time| time.dates.has_time) {
        let hour = Feature::new("Time", format!("first(hour({}))", names.get(time.column)));
        features.push(hour.label("first line in the hour from"));
    }
    features.push(match roles.quantity {
        Some(column) => Feature::new("NumberItems", format!("sum({})", names.get(column))).unit("items"),
        None => Feature::new("NumberLines", "count()").unit("lines"),
    });
    features
}

fn of_records(findings: &Findings, names: &Names) -> Vec<Feature> {
    let roles = &findings.roles;
    let (Some(time), Some(amount)) = (&roles.time, roles.amount) else { return Vec::new() };
    let number = names.get(amount);
    let has_sign = !is_positive(findings, amount);
    let span = |real: Millis| scaled(time, real);
    let own = |column: usize| {
        let name = names.get(column);
        if is_positive(findings, column) { format!("log1p({name})") } else { name.to_owned() }
    };
    let mut features = vec![Feature::new("Amount", own(amount)).label(number)];
    let usual = |key: usize| {
        let key = names.get(key);
        let name = |what: &str| format!("{what}{}", capitalized(key));
        let label = format!("what is usual for this {key}");
        if has_sign {
            let expression = format!("deviation({number}) by {key} over {}", span(90 * DAY));
            Feature::new(name("DeviationOf"), expression).label(format!("deviation from {label}"))
        } else {
            let expression = format!("log(ratio({number}) by {key} over {})", span(30 * DAY));
            Feature::new(name("RatioToUsualOf"), expression).label(label)
        }
    };
    let count = |key: usize| {
        let key = names.get(key);
        // Where a date is only a day, or a time counts hours, an hour holds nothing.
        let is_fine = time.scale == 1 && (time.dates.has_time || time.dates.formats == ["unix_s"]);
        let (what, real, unit) = if is_fine {
            ("Hour", HOUR, "records in the hour before")
        } else {
            ("Day", DAY, "records in the day before")
        };
        let expression = format!("log1p(count() by {key} over {})", span(real));
        Feature::new(format!("CountIn{what}Of{}", capitalized(key)), expression).unit(unit)
    };
    features.extend(roles.customer.map(usual));
    features.extend(roles.merchant.map(usual));
    features.extend(roles.customer.or(roles.merchant).map(count));
    if let (Some(customer), Some((latitude, longitude)), 1, true) =
        (roles.customer, roles.place, time.scale, time.dates.has_time)
    {
        let (north, east) = (names.get(latitude), names.get(longitude));
        let expression = format!("log1p(speed({north}, {east}) by {})", names.get(customer));
        features.push(Feature::new("Speed", expression).unit("km/h since the last record"));
    }
    if roles.customer.or(roles.merchant).is_none() && time.dates.has_time {
        for function in ["sin", "cos"] {
            let expression = format!("{function}(hour({}))", names.get(time.column));
            features.push(Feature::new(format!("Hour{}", capitalized(function)), expression));
        }
    }
    for &column in &roles.others {
        let name = names.get(column);
        features.push(Feature::new(capitalized(name), own(column)).label(name));
    }
    features
}

/// What verdicts repeat of an entity.
pub(super) fn fields(findings: &Findings, names: &Names) -> Vec<String> {
    let roles = &findings.roles;
    match roles.shape {
        Shape::Sessions { .. } => match (roles.quantity, roles.price, roles.amount) {
            (_, _, Some(amount)) => vec![format!("total = sum({})", names.get(amount))],
            (Some(quantity), Some(price), None) => {
                vec![format!("total = sum({} * {})", names.get(quantity), names.get(price))]
            }
            _ => Vec::new(),
        },
        Shape::Records => {
            roles.amount.into_iter().chain(roles.merchant).map(|column| names.get(column).to_owned()).collect()
        }
    }
}

fn capitalized(name: &str) -> String {
    let upper = |part: &str| {
        let mut chars = part.chars();
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    };
    name.split('_').map(upper).collect()
}
