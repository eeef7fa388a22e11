//! How the features of entities of several lines are written.

use records::schema::{Column, ColumnType};

use super::{Aggregate, Feature, Operand, Operator};

/// An expression that was read but whose column was not looked up yet.
#[derive(Debug)]
struct ParsedFeature {
    name: String,
    aggregate: Aggregate,
    operand: ParsedOperand,
}

/// What an aggregate is taken of, by the names of columns.
#[derive(Debug, PartialEq)]
enum ParsedOperand {
    Lines,
    /// A column, or two with an operator between them: the columns' names decide.
    Values(String),
    Hour(String),
    DayOfWeek(String),
    /// A column, and the text that one kind of lines has there.
    Is(String, String),
}

pub(super) const AGGREGATES: [(&str, Aggregate); 10] = [
    ("mean", Aggregate::Mean),
    ("median", Aggregate::Median),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("sum", Aggregate::Sum),
    ("first", Aggregate::First),
    ("last", Aggregate::Last),
    ("count", Aggregate::Count),
    ("count_distinct", Aggregate::CountDistinct),
    ("share", Aggregate::Share),
];

const OPERATORS: [(char, Operator); 4] =
    [('+', Operator::Plus), ('-', Operator::Minus), ('*', Operator::Times), ('/', Operator::By)];

impl Feature {
    /// Reads `aggregate(column)`, `aggregate(hour(column))`, `aggregate(day_of_week(column))`, `aggregate(column * column)`,
    /// `share(column = 'kind')` or `count()` for lines with `columns`. A column is found by `resolve`, given its name.
    ///
    /// # Errors
    /// That of `resolve`, or what `problem` makes of what is wrong with the expression.
    pub fn read<E>(
        name: &str,
        expression: &str,
        columns: &[Column],
        resolve: impl Fn(&str) -> Result<usize, E>,
        problem: impl Fn(String) -> E,
    ) -> Result<Self, E> {
        let ParsedFeature { name, aggregate, operand } = ParsedFeature::parse(name, expression).map_err(&problem)?;
        let number = |column: &str| {
            let index = resolve(column)?;
            let is_number = matches!(columns[index].kind, ColumnType::Integer | ColumnType::Float);
            if is_number { Ok(index) } else { Err(problem(format!("`{column}` is not of type int or float"))) }
        };
        let moment = |column: &str| match resolve(column)? {
            index if columns[index].kind == ColumnType::Datetime => Ok(index),
            _ => Err(problem(format!("`{column}` is not of type datetime"))),
        };
        let any = |column: &str| -> Result<Operand, E> {
            let index = resolve(column)?;
            Ok(match columns[index].kind {
                ColumnType::Text => Operand::Text(index),
                ColumnType::Datetime => Operand::Moment(index),
                ColumnType::Integer | ColumnType::Float => Operand::Number(index),
            })
        };
        let operand = match operand {
            ParsedOperand::Lines => Operand::Lines,
            ParsedOperand::Hour(column) => Operand::Hour(moment(&column)?),
            ParsedOperand::DayOfWeek(column) => Operand::DayOfWeek(moment(&column)?),
            // A column may have a sign in its name.
            ParsedOperand::Values(text) => match arithmetic(&text) {
                Some((left, operator, right)) if columns.iter().all(|column| column.name != text) => {
                    Operand::Arithmetic(number(left)?, operator, number(right)?)
                }
                _ if aggregate == Aggregate::CountDistinct => any(&text)?,
                _ => Operand::Number(number(&text)?),
            },
            ParsedOperand::Is(column, kind) => match resolve(&column)? {
                index if columns[index].kind == ColumnType::Text => Operand::Is(index, kind),
                _ => return Err(problem(format!("`{column}` is not of type text"))),
            },
        };
        Ok(Self { name, aggregate, operand })
    }

    /// The expression that was read, without white space.
    pub fn expression(&self, columns: &[Column]) -> String {
        let function = AGGREGATES.iter().find(|(_, known)| *known == self.aggregate).map_or("", |(name, _)| name);
        let name = |column: usize| columns[column].name.as_str();
        match self.operand {
            Operand::Lines => format!("{function}()"),
            Operand::Number(column) | Operand::Text(column) | Operand::Moment(column) => {
                format!("{function}({})", name(column))
            }
            Operand::Is(column, ref kind) => format!("{function}({}='{kind}')", name(column)),
            Operand::Hour(column) => format!("{function}(hour({}))", name(column)),
            Operand::DayOfWeek(column) => format!("{function}(day_of_week({}))", name(column)),
            Operand::Arithmetic(left, operator, right) => {
                let sign = OPERATORS.iter().find(|(_, known)| *known == operator).map_or(' ', |(sign, _)| *sign);
                format!("{function}({}{sign}{})", name(left), name(right))
            }
        }
    }
}

impl ParsedFeature {
    fn parse(name: &str, expression: &str) -> Result<Self, String> {
        let unreadable = || {
            format!(
                "`{expression}` is no feature: write mean, median, min, max, sum, first or last of a column or of two, as \
                 in mean(UnitPrice) or sum(Quantity * UnitPrice); or count(), count_distinct(StockCode) or \
                 share(Country = 'Spain')"
            )
        };
        let (function, argument) = call(expression).ok_or_else(unreadable)?;
        let aggregate =
            AGGREGATES.iter().find(|(known, _)| *known == function).map(|(_, found)| *found).ok_or_else(unreadable)?;
        let operand = match aggregate {
            Aggregate::Share => ParsedOperand::kind(argument),
            _ => ParsedOperand::parse(argument),
        };
        let operand = operand.ok_or_else(unreadable)?;
        if (aggregate == Aggregate::Count) != (operand == ParsedOperand::Lines) {
            return Err(unreadable());
        }
        Ok(Self { name: name.to_owned(), aggregate, operand })
    }
}

impl ParsedOperand {
    fn parse(argument: &str) -> Option<Self> {
        match call(argument) {
            Some(("hour", column)) if !column.is_empty() => Some(Self::Hour(column.to_owned())),
            Some(("day_of_week", column)) if !column.is_empty() => Some(Self::DayOfWeek(column.to_owned())),
            Some(_) => None,
            None if argument.is_empty() => Some(Self::Lines),
            None => Some(Self::Values(argument.to_owned())),
        }
    }

    /// Reads `column = 'kind'`; a kind is a text that a column can have.
    fn kind(argument: &str) -> Option<Self> {
        let (column, kind) = argument.strip_suffix('\'')?.split_once('\'')?;
        let column = column.trim_end().strip_suffix('=')?.trim_end();
        let is_text = !kind.is_empty() && kind.trim() == kind;
        (is_text && !column.is_empty()).then(|| Self::Is(column.to_owned(), kind.to_owned()))
    }
}

/// Splits `left * right`; `None` where no operator stands between two words, or more than one.
fn arithmetic(text: &str) -> Option<(&str, Operator, &str)> {
    let mut operators = text.char_indices().filter_map(|(at, sign)| {
        let operator = OPERATORS.iter().find(|(known, _)| *known == sign)?.1;
        Some((text[..at].trim(), operator, text[at + 1..].trim()))
    });
    let (first, second) = (operators.next()?, operators.next());
    (second.is_none() && !first.0.is_empty() && !first.2.is_empty()).then_some(first)
}

/// Splits `name(argument)`.
fn call(expression: &str) -> Option<(&str, &str)> {
    let (function, rest) = expression.trim().split_once('(')?;
    let argument = rest.trim_end().strip_suffix(')')?;
    Some((function.trim(), argument.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        ["UnitPrice:float", "InvoiceDate:datetime", "x", "Quantity:int", "unit-price:float"]
            .map(|it| it.parse().unwrap())
            .into()
    }

    fn read(expression: &str) -> Result<(Aggregate, Operand), String> {
        let columns = columns();
        let resolve = |name: &str| columns.iter().position(|column| column.name == name).ok_or(format!("no {name}"));
        let feature = Feature::read("f", expression, &columns, resolve, |problem| problem)?;
        assert_eq!(feature.expression(&columns).replace(' ', ""), expression.replace(' ', ""));
        Ok((feature.aggregate, feature.operand))
    }

    #[test]
    fn the_language_is_small_and_closed() {
        assert_eq!(read("mean(UnitPrice)"), Ok((Aggregate::Mean, Operand::Number(0))));
        assert_eq!(read(" first( hour( InvoiceDate ) ) "), Ok((Aggregate::First, Operand::Hour(1))));
        assert_eq!(read("last(day_of_week(InvoiceDate))"), Ok((Aggregate::Last, Operand::DayOfWeek(1))));
        assert_eq!(read("count()"), Ok((Aggregate::Count, Operand::Lines)));
        let product = Operand::Arithmetic(3, Operator::Times, 0);
        assert_eq!(read("sum(Quantity * UnitPrice)"), Ok((Aggregate::Sum, product.clone())));
        assert_eq!(read("sum(Quantity*UnitPrice)"), Ok((Aggregate::Sum, product.clone())));
        assert_eq!(read("median(Quantity*UnitPrice)"), Ok((Aggregate::Median, product.clone())));
        assert_eq!(read("count_distinct(Quantity*UnitPrice)"), Ok((Aggregate::CountDistinct, product)));
        assert_eq!(read("median(hour(InvoiceDate))"), Ok((Aggregate::Median, Operand::Hour(1))));
        for (column, operand) in
            [("x", Operand::Text(2)), ("InvoiceDate", Operand::Moment(1)), ("UnitPrice", Operand::Number(0))]
        {
            assert_eq!(read(&format!("count_distinct({column})")), Ok((Aggregate::CountDistinct, operand)));
        }
        let is = |kind: &str| Ok((Aggregate::Share, Operand::Is(2, kind.to_owned())));
        assert_eq!(read("share(x = 'a')"), is("a"));
        assert_eq!(read(" share( x='it's (=)' ) "), is("it's (=)"));
        assert_eq!(read("max(Quantity / UnitPrice)"), Ok((Aggregate::Max, Operand::Arithmetic(3, Operator::By, 0))));
        // A name with a sign in it is a name.
        assert_eq!(read("sum(unit-price)"), Ok((Aggregate::Sum, Operand::Number(4))));
        for bad in [
            "",
            "mean",
            "mean()",
            "mode(UnitPrice)",
            "median()",
            "median(x)",
            "median(InvoiceDate)",
            "count_distinct()",
            "count_distinct(y)",
            "count_distinct(minute(InvoiceDate))",
            "share(x)",
            "share()",
            "share(x = a)",
            "share(x = '')",
            "share(x = ' a')",
            "share(x = 'a' )b",
            "share(= 'a')",
            "share('a')",
            "share(x == a')",
            "share(y = 'a')",
            "share(Quantity = '1')",
            "mean(x = 'a')",
            "mean(UnitPrice",
            "count(UnitPrice)",
            "hour(InvoiceDate)",
            "mean(minute(InvoiceDate))",
            "mean(UnitPrice))(",
            "mean(x)",
            "sum(x * Quantity)",
            "sum(Quantity *)",
            "sum(* Quantity)",
            "sum(Quantity * UnitPrice * Quantity)",
            "count(Quantity * UnitPrice)",
            "first(hour(x))",
            "first(day_of_week(x))",
            "sum(hour(InvoiceDate) * Quantity)",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
