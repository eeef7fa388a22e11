//! The features of records that are scored one by one: of the record itself, and of what came before it for one of its
//! keys.
//!
//! The language is small and closed:
//!
//! ```text
//! feature  = value | log1p(value) | log(value)
//! value    = column | hour(datetime) | day_of_week(datetime)
//!          | sin(hour(datetime)) | cos(hour(datetime)) | sin(day_of_week(datetime)) | cos(day_of_week(datetime))
//!          | count() by key over span
//!          | sum(column) | mean(column) | std(column) | min(column) | max(column) by key over span
//!          | ratio(column) | deviation(column) by key over span
//!          | seconds_since_last() by key
//!          | distance(latitude, longitude) | speed(latitude, longitude) by key
//!          | is_new(column) by key
//! ```
//!
//! A window leaves the record itself out, unless `including this` follows its span. `log` is for ratios: half as much and
//! twice as much are equally far from 1, and less than a thousandth counts as a thousandth.

use records::schema::{Column, ColumnType};
use records::time::{LONGEST_SPAN, Millis, format_span, parse_span};

use super::panes::{Keeps, Layout, SHORTEST_WINDOW};

/// A feature of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordFeature {
    /// Its name.
    pub name: String,
    /// What is done with it at last.
    pub(super) shape: Transform,
    /// Of what.
    pub(super) quantity: Quantity,
    expression: String,
}

/// What kind of number a feature measures, before its transformation: this decides how people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A number of its own kind: an amount, a count, a speed.
    Number,
    /// How many times the mean of earlier records.
    Ratio,
    /// The hour of a day, 0 to 24.
    Hour,
    /// The day of a week, 0 for Monday to 6 for Sunday.
    DayOfWeek,
    /// 1 for yes, 0 for no.
    Flag,
}

impl RecordFeature {
    /// The expression that it was read from, with single blanks.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The transformation of what the feature measures.
    pub fn transform(&self) -> Transform {
        self.shape
    }

    /// The kind of number that it measures.
    pub fn measure(&self) -> Measure {
        match self.quantity {
            Quantity::Cycle { cycle: Cycle::Hour, shape: Shape::Plain, .. } => Measure::Hour,
            Quantity::Cycle { cycle: Cycle::DayOfWeek, shape: Shape::Plain, .. } => Measure::DayOfWeek,
            Quantity::Window { of: WindowQuantity::Of { statistic: Statistic::Ratio, .. }, .. } => Measure::Ratio,
            Quantity::IsNew { .. } => Measure::Flag,
            _ => Measure::Number,
        }
    }
}

/// What is done with a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// Nothing.
    Nothing,
    /// The logarithm of one more than it.
    Log1p,
    /// Its logarithm; what is less than a thousandth counts as a thousandth.
    Log,
}

impl Transform {
    /// The smallest number whose logarithm is taken.
    pub const LEAST: f64 = 1e-3;

    pub(super) fn of(self, value: f64) -> f64 {
        match self {
            Self::Nothing => value,
            Self::Log1p => value.ln_1p(),
            Self::Log => value.max(Self::LEAST).ln(),
        }
    }

    /// The quantity of which `value` was made; of what counts as a thousandth, a thousandth. The inverse rises with `value`.
    pub fn inverse(self, value: f64) -> f64 {
        match self {
            Self::Nothing => value,
            Self::Log1p => value.exp_m1(),
            Self::Log => value.exp(),
        }
    }
}

/// What a feature measures; indices are of columns, of relations, and of what a relation keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    Number(usize),
    Cycle { column: usize, cycle: Cycle, shape: Shape },
    Window { relation: usize, window: usize, of: WindowQuantity, including: bool },
    SecondsSinceLast { relation: usize },
    Distance { relation: usize },
    Speed { relation: usize },
    IsNew { relation: usize, companion: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cycle {
    Hour,
    DayOfWeek,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    Sine,
    Cosine,
}

/// Of a window; `column` is the place among the relation's number columns, `input` among those of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowQuantity {
    Count,
    Of { column: usize, input: usize, statistic: Statistic },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statistic {
    Sum,
    Mean,
    Std,
    Min,
    Max,
    Ratio,
    Deviation,
}

impl Statistic {
    /// Whether it follows from the sum and the number of the values.
    fn is_of_sum(self) -> bool {
        matches!(self, Self::Sum | Self::Mean | Self::Ratio)
    }
}

const STATISTICS: [(&str, Statistic); 7] = [
    ("sum", Statistic::Sum),
    ("mean", Statistic::Mean),
    ("std", Statistic::Std),
    ("min", Statistic::Min),
    ("max", Statistic::Max),
    ("ratio", Statistic::Ratio),
    ("deviation", Statistic::Deviation),
];

/// A key whose past is remembered, and what of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    /// Index of the text column that names the key.
    pub key: usize,
    pub(super) layout: Layout,
    /// Number columns that are summed up.
    pub(super) numbers: Vec<usize>,
    /// Text columns whose values are remembered.
    pub(super) companions: Vec<usize>,
    /// Latitude and longitude.
    pub(super) place: Option<(usize, usize)>,
}

/// Most columns whose pasts are kept: which of them a part of the state is of is written in one byte.
pub(super) const MOST_KEYS: usize = 1 << 8;

/// Reads features; columns are found, and problems told, by the one who knows the file.
pub(super) struct FeatureReader<'a, E> {
    pub columns: &'a [Column],
    /// The column with this name, for the feature with that name.
    pub resolve: &'a dyn Fn(&str, &str) -> Result<usize, E>,
    /// What is wrong with the feature with this name.
    pub problem: &'a dyn Fn(&str, String) -> E,
}

/// A feature, with its key and span still to be found among all of them.
struct Draft {
    name: String,
    expression: String,
    shape: Transform,
    body: Body,
}

enum Body {
    Own(Quantity),
    Past { key: usize, of: PastQuantity },
}

enum PastQuantity {
    Window { span: Millis, including: bool, of: Option<(usize, Statistic)> },
    SecondsSinceLast,
    Distance((usize, usize)),
    Speed((usize, usize)),
    IsNew(usize),
}

/// Which past a feature looks at.
#[derive(Default, Clone, Copy)]
struct Tail<'a> {
    key: Option<&'a str>,
    span: Option<&'a str>,
    including: bool,
}

impl<E> FeatureReader<'_, E> {
    /// The features, and the keys whose past they need, in the order of their first mention.
    pub(super) fn read(&self, declared: &[(String, String)]) -> Result<(Vec<RecordFeature>, Vec<Relation>), E> {
        let drafts = declared.iter().map(|(name, text)| self.draft(name, text)).collect::<Result<Vec<_>, E>>()?;
        let mut relations: Vec<Relation> = Vec::new();
        for draft in &drafts {
            let Body::Past { key, .. } = draft.body else { continue };
            if relations.iter().all(|relation| relation.key != key) {
                if relations.len() == MOST_KEYS {
                    let key = &self.columns[key].name;
                    return self
                        .fail(&draft.name, format!("`{key}` is one key too many: at most {MOST_KEYS} columns may be"));
                }
                relations.push(self.relation(key, &drafts)?);
            }
        }
        let features = drafts.into_iter().map(|draft| finish(draft, &relations)).collect();
        Ok((features, relations))
    }

    /// All that any feature needs of the past of `key`.
    fn relation(&self, key: usize, drafts: &[Draft]) -> Result<Relation, E> {
        let (mut spans, mut numbers, mut companions, mut place) = (Vec::new(), Vec::new(), Vec::new(), None);
        let mut spread_out = Vec::new();
        for Draft { name, body, .. } in drafts {
            let Body::Past { key: of_key, of } = body else { continue };
            match of {
                _ if *of_key != key => {}
                PastQuantity::Window { span, of, .. } => {
                    spans.push(*span);
                    numbers.extend(of.map(|(column, _)| column));
                    spread_out.extend(of.filter(|(_, statistic)| !statistic.is_of_sum()).map(|(column, _)| column));
                }
                PastQuantity::Distance(here) | PastQuantity::Speed(here) => {
                    if *place.get_or_insert(*here) != *here {
                        let key = &self.columns[key].name;
                        return Err((self.problem)(name, format!("`{key}` has a place already, of other columns")));
                    }
                }
                PastQuantity::IsNew(column) => companions.push(*column),
                PastQuantity::SecondsSinceLast => {}
            }
        }
        for columns in [&mut numbers, &mut companions] {
            columns.sort_unstable();
            columns.dedup();
        }
        let keeps = |column: &usize| if spread_out.contains(column) { Keeps::All } else { Keeps::Sum };
        let layout = Layout::new(spans, numbers.iter().map(keeps).collect());
        Ok(Relation { key, layout, numbers, companions, place })
    }

    fn draft(&self, name: &str, text: &str) -> Result<Draft, E> {
        let expression = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (shape, inner) = match whole_call(&expression) {
            Some(("log1p", inner)) => (Transform::Log1p, inner),
            Some(("log", inner)) => (Transform::Log, inner),
            _ => (Transform::Nothing, expression.as_str()),
        };
        let body = self.body(name, text, inner)?;
        let may_be_negative =
            |column: usize| self.columns[column].range.0.is_nan() || self.columns[column].range.0 < 0.0;
        let is_signed = match body {
            Body::Own(Quantity::Cycle { shape, .. }) => shape != Shape::Plain,
            Body::Own(Quantity::Number(column)) => may_be_negative(column),
            Body::Past { of: PastQuantity::Window { of: Some((column, statistic)), .. }, .. } => match statistic {
                Statistic::Std => false,
                Statistic::Deviation => true,
                _ => may_be_negative(column),
            },
            _ => false,
        };
        if shape != Transform::Nothing && is_signed {
            let problem = "a logarithm is of values that are never negative: give the column a min in [input.ranges]";
            return self.fail(name, format!("`{text}`: {problem}"));
        }
        Ok(Draft { name: name.to_owned(), shape, body, expression: expression.clone() })
    }

    fn body(&self, name: &str, text: &str, inner: &str) -> Result<Body, E> {
        let unreadable = |why: &str| {
            self.fail(
                name,
                format!(
                    "`{text}` is no feature of a record{why}: write a number column, hour(timestamp), mean(amount) by \
                     user_id over 7d, or another of the forms in docs/features.md"
                ),
            )
        };
        let Some((head, tail)) = split(inner) else { return unreadable("") };
        let Some(tail) = tail_of(tail) else { return unreadable("") };
        let Some((function, arguments)) = whole_call(head) else {
            if tail.key.is_some() {
                return unreadable(", because a column by itself has no past");
            }
            return Ok(Body::Own(Quantity::Number(self.number(name, head)?)));
        };
        if let Some((cycle, shape, column)) = cycle_of(function, arguments) {
            if tail.key.is_some() {
                return unreadable(", because a record's own time has no past");
            }
            let column = self.typed(name, column, ColumnType::Datetime, "datetime")?;
            return Ok(Body::Own(Quantity::Cycle { column, cycle, shape }));
        }
        let statistic = STATISTICS.iter().find(|(known, _)| *known == function).map(|(_, found)| *found);
        let is_window = statistic.is_some() || function == "count";
        let is_known = is_window || ["seconds_since_last", "distance", "speed", "is_new"].contains(&function);
        let Some(key) = tail.key.filter(|_| is_known) else {
            let why = if is_known { ", because `by` and a column are missing" } else { "" };
            return unreadable(why);
        };
        let key = self.text(name, key)?;
        if !is_window {
            if tail.span.is_some() {
                return unreadable(", because it has no window");
            }
            let of = match (function, &arguments.split(',').map(str::trim).collect::<Vec<_>>()[..]) {
                ("seconds_since_last", [""]) => PastQuantity::SecondsSinceLast,
                ("distance", [latitude, longitude]) => PastQuantity::Distance(self.place(name, latitude, longitude)?),
                ("speed", [latitude, longitude]) => PastQuantity::Speed(self.place(name, latitude, longitude)?),
                ("is_new", [column]) => PastQuantity::IsNew(self.text(name, column)?),
                _ => return unreadable(""),
            };
            return Ok(Body::Past { key, of });
        }
        let Some(span) = tail.span else { return unreadable(", because `over` and a span are missing") };
        let Some(span) = parse_span(span).filter(|span| *span >= SHORTEST_WINDOW) else {
            let (shortest, longest) = (format_span(SHORTEST_WINDOW), format_span(LONGEST_SPAN));
            let problem =
                format!("`{span}` is no span of at least {shortest}, such as \"1h\" or \"30d\", and at most {longest}");
            return self.fail(name, problem);
        };
        let of = match (statistic, arguments) {
            (None, "") => None,
            (Some(statistic), column) => Some((self.number(name, column)?, statistic)),
            (None, _) => return unreadable(", because count() is of records"),
        };
        Ok(Body::Past { key, of: PastQuantity::Window { span, including: tail.including, of } })
    }

    fn place(&self, name: &str, latitude: &str, longitude: &str) -> Result<(usize, usize), E> {
        Ok((self.number(name, latitude)?, self.number(name, longitude)?))
    }

    fn number(&self, name: &str, column: &str) -> Result<usize, E> {
        let index = (self.resolve)(name, column)?;
        match self.columns[index].kind {
            ColumnType::Integer | ColumnType::Float => Ok(index),
            _ => self.fail(name, format!("`{column}` is not of type int or float")),
        }
    }

    fn text(&self, name: &str, column: &str) -> Result<usize, E> {
        self.typed(name, column, ColumnType::Text, "text")
    }

    fn typed(&self, name: &str, column: &str, kind: ColumnType, called: &str) -> Result<usize, E> {
        let index = (self.resolve)(name, column)?;
        if self.columns[index].kind == kind {
            Ok(index)
        } else {
            self.fail(name, format!("`{column}` is not of type {called}"))
        }
    }

    fn fail<T>(&self, name: &str, problem: String) -> Result<T, E> {
        Err((self.problem)(name, problem))
    }
}

fn finish(draft: Draft, relations: &[Relation]) -> RecordFeature {
    let Draft { name, expression, shape, body } = draft;
    let quantity = match body {
        Body::Own(quantity) => quantity,
        Body::Past { key, of } => {
            let place = |list: &[usize], column: usize| list.iter().position(|&known| known == column).unwrap_or(0);
            let relation = relations.iter().position(|relation| relation.key == key).unwrap_or(0);
            let kept = &relations[relation];
            match of {
                PastQuantity::Window { span, including, of } => Quantity::Window {
                    relation,
                    window: kept.layout.windows().iter().position(|&known| known == span).unwrap_or(0),
                    of: of.map_or(WindowQuantity::Count, |(input, statistic)| WindowQuantity::Of {
                        column: place(&kept.numbers, input),
                        input,
                        statistic,
                    }),
                    including,
                },
                PastQuantity::SecondsSinceLast => Quantity::SecondsSinceLast { relation },
                PastQuantity::Distance(_) => Quantity::Distance { relation },
                PastQuantity::Speed(_) => Quantity::Speed { relation },
                PastQuantity::IsNew(column) => Quantity::IsNew { relation, companion: place(&kept.companions, column) },
            }
        }
    };
    RecordFeature { name, shape, quantity, expression }
}

fn cycle_of<'a>(function: &str, arguments: &'a str) -> Option<(Cycle, Shape, &'a str)> {
    let cycle = |function: &str| match function {
        "hour" => Some(Cycle::Hour),
        "day_of_week" => Some(Cycle::DayOfWeek),
        _ => None,
    };
    if let Some(cycle) = cycle(function) {
        return Some((cycle, Shape::Plain, arguments));
    }
    let shape = match function {
        "sin" => Shape::Sine,
        "cos" => Shape::Cosine,
        _ => return None,
    };
    let (inner, column) = whole_call(arguments)?;
    Some((cycle(inner)?, shape, column))
}

/// Splits `name(arguments)`, when the closing bracket is the one that belongs to the first.
fn whole_call(text: &str) -> Option<(&str, &str)> {
    let (function, rest) = text.split_once('(')?;
    let end = closing(rest)?;
    (rest[end + 1..].is_empty()).then(|| (function.trim(), rest[..end].trim()))
}

/// Splits a call or a column from the words after it.
fn split(text: &str) -> Option<(&str, &str)> {
    match text.split_once('(') {
        Some((function, rest)) => {
            let end = function.len() + 1 + closing(rest)? + 1;
            Some((&text[..end], text[end..].trim()))
        }
        None => Some(text.split_once(" by ").map_or((text, ""), |(column, _)| (column, &text[column.len() + 1..]))),
    }
}

/// Where the bracket that was opened before `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    text.bytes().position(|byte| {
        open += i32::from(byte == b'(') - i32::from(byte == b')');
        open == 0
    })
}

fn tail_of(text: &str) -> Option<Tail<'_>> {
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [] => Some(Tail::default()),
        ["by", key] => Some(Tail { key: Some(key), ..Tail::default() }),
        ["by", key, "over", span] => Some(Tail { key: Some(key), span: Some(span), including: false }),
        ["by", key, "over", span, "including", "this"] => {
            Some(Tail { key: Some(key), span: Some(span), including: true })
        }
        _ => None,
    }
}
