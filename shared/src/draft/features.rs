//! Features that suit what was found.

use std::collections::HashSet;

use records::sniff::roles::{Roles, Shape, Time};
use records::sniff::{About, Findings};
use records::time::{Millis, format_span};

use super::names::Names;
use super::text::{Section, toml_key, toml_text};

const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;

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
            "of all lines of a key: mean, min, max, sum, first, last of a column or of hour(column); count()",
            of_sessions(findings, names),
        ),
        Shape::Records => {
            ("of the record and of earlier records; the README lists the forms", of_records(findings, names))
        }
    };
    let mut seen = HashSet::new();
    let lines: String = features
        .into_iter()
        .filter(|(name, _)| seen.insert(name.clone()))
        .map(|(name, expression)| format!("{} = {}\n", toml_key(&name), toml_text(&expression)))
        .collect();
    Section::about(findings, About::Features, format!("[features]                    # {form}\n{lines}"))
}

fn of_sessions(findings: &Findings, names: &Names) -> Vec<(String, String)> {
    let roles = &findings.roles;
    let of = |prefix: &str, aggregate: &str, column: usize| {
        let name = names.get(column);
        (format!("{prefix}{}", capitalized(name)), format!("{aggregate}({name})"))
    };
    let mut features = Vec::new();
    for column in roles.price.into_iter().chain(roles.others.iter().copied()) {
        features.extend([of("Avg", "mean", column), of("Min", "min", column), of("Max", "max", column)]);
    }
    if let Some(column) = roles.amount {
        features.extend([of("Total", "sum", column), of("Max", "max", column)]);
    }
    if let Some(time) = roles.time.as_ref().filter(|time| time.dates.has_time) {
        features.push(("Time".to_owned(), format!("first(hour({}))", names.get(time.column))));
    }
    match roles.quantity {
        Some(column) => features.push(("NumberItems".to_owned(), format!("sum({})", names.get(column)))),
        None => features.push(("NumberLines".to_owned(), "count()".to_owned())),
    }
    features
}

fn of_records(findings: &Findings, names: &Names) -> Vec<(String, String)> {
    let roles = &findings.roles;
    let (Some(time), Some(amount)) = (&roles.time, roles.amount) else { return Vec::new() };
    let number = names.get(amount);
    let has_sign = !is_positive(findings, amount);
    let span = |real: Millis| scaled(time, real);
    let own = if has_sign { number.to_owned() } else { format!("log1p({number})") };
    let mut features = vec![("Amount".to_owned(), own)];
    let usual = |key: usize| {
        let key = names.get(key);
        let name = |what: &str| format!("{what}{}", capitalized(key));
        if has_sign {
            (name("DeviationOf"), format!("deviation({number}) by {key} over {}", span(90 * DAY)))
        } else {
            (name("RatioToUsualOf"), format!("log(ratio({number}) by {key} over {})", span(30 * DAY)))
        }
    };
    let count = |key: usize| {
        let key = names.get(key);
        // Where a date is only a day, or a time counts hours, an hour holds nothing.
        let is_fine = time.scale == 1 && (time.dates.has_time || time.dates.formats == ["unix_s"]);
        let (what, real) = if is_fine { ("Hour", HOUR) } else { ("Day", DAY) };
        (format!("CountIn{what}Of{}", capitalized(key)), format!("log1p(count() by {key} over {})", span(real)))
    };
    features.extend(roles.customer.map(usual));
    features.extend(roles.merchant.map(usual));
    features.extend(roles.customer.or(roles.merchant).map(count));
    if let (Some(customer), Some((latitude, longitude)), 1, true) =
        (roles.customer, roles.place, time.scale, time.dates.has_time)
    {
        let (north, east) = (names.get(latitude), names.get(longitude));
        features.push(("Speed".to_owned(), format!("log1p(speed({north}, {east}) by {})", names.get(customer))));
    }
    if roles.customer.or(roles.merchant).is_none() && time.dates.has_time {
        for function in ["sin", "cos"] {
            let name = names.get(time.column);
            features.push((format!("Hour{}", capitalized(function)), format!("{function}(hour({name}))")));
        }
    }
    for &column in &roles.others {
        let name = names.get(column);
        let own = if is_positive(findings, column) { format!("log1p({name})") } else { name.to_owned() };
        features.push((capitalized(name), own));
    }
    features
}

fn capitalized(name: &str) -> String {
    let upper = |part: &str| {
        let mut chars = part.chars();
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    };
    name.split('_').map(upper).collect()
}
