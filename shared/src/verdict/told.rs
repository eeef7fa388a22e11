//! A feature in words: its value beside what is usual.

use super::figures::{clock, figure, times, weekday};
use crate::pipeline::{Measure, Reading};

/// A feature of an entity, to be put in words: numbers are in the user's units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    pub name: &'a str,
    pub reading: &'a Reading,
    pub value: f64,
    /// Whether what the value was made of may have been smaller: it is the smallest of its kind.
    pub is_least: bool,
    /// A value that is normal.
    pub usual: f64,
    /// The 5th and the 95th percentile of the history, where the model knows them.
    pub range: Option<(f64, f64)>,
}

impl Told<'_> {
    /// Its value, compared with what is usual.
    pub fn phrase(&self) -> String {
        match self.reading.measure {
            Measure::Number => self.number(),
            Measure::Ratio => self.ratio(),
            Measure::Hour => self.named("at", clock),
            Measure::DayOfWeek => self.named("on a", |day| weekday(day).to_owned()),
            Measure::Flag => self.flag(),
        }
    }

    /// `4,000 items, 44 times the usual 91 (usual 12 to 400)`, `7 payments in an hour; usually at most 2`
    fn number(&self) -> String {
        let value = self.with_unit(self.value);
        let many =
            times(self.value, self.usual).map(|many| format!("{value}, {many} the usual {}", figure(self.usual)));
        let Some((low, high)) = self.range.map(|(low, high)| (figure(low), figure(high))) else {
            let usual = if self.usual == 0.0 { "none".to_owned() } else { figure(self.usual) };
            return many.unwrap_or_else(|| format!("{value}; usually {usual}"));
        };
        match many {
            _ if low == high && high == "0" => format!("{value}; usually none"),
            _ if low == high => format!("{value}; usually {high}"),
            _ if low == "0" => format!("{value}; usually at most {high}"),
            Some(many) if !self.is_about_usual() => format!("{many} (usual {low} to {high})"),
            _ => format!("{value} (usual {low} to {high})"),
        }
    }

    /// `1/1,000 or less of what is usual at this merchant (usually 0.3 to 3 times)`
    fn ratio(&self) -> String {
        let what = self.reading.label.as_deref().unwrap_or("what is usual");
        let mut many = times(self.value, 1.0).unwrap_or_else(|| format!("{} times", figure(self.value)));
        if self.is_least {
            many = many.replace(" of", " or less of");
        }
        let name = if self.reading.label.is_none() { format!("{}: ", self.name) } else { String::new() };
        let unit = self.reading.unit.as_ref().map_or_else(String::new, |unit| format!(" {unit}"));
        let range = self
            .range
            .map_or_else(String::new, |(low, high)| format!(" (usually {} to {} times)", figure(low), figure(high)));
        format!("{name}{many} {what}{unit}{range}")
    }

    /// `first line at 03:00 (usual 08:00 to 17:00)`
    fn named(&self, before: &str, name: impl Fn(f64) -> String) -> String {
        let label = self.reading.label.clone().unwrap_or_else(|| format!("{} {before}", self.name));
        let value = name(self.value);
        let unit = self.reading.unit.as_ref().map_or_else(String::new, |unit| format!(" {unit}"));
        match self.range.map(|(low, high)| (name(low), name(high))) {
            Some((low, high)) if low == high => format!("{label} {value}{unit} (usually {low})"),
            Some((low, high)) => format!("{label} {value}{unit} (usual {low} to {high})"),
            None => format!("{label} {value}{unit} (usually {})", name(self.usual)),
        }
    }

    /// `a new merchant`
    fn flag(&self) -> String {
        let what = self.reading.label.as_deref().unwrap_or(self.name);
        if self.value >= 0.5 { what.to_owned() } else { format!("not {what}") }
    }

    /// A value with its label and unit.
    pub fn with_unit(&self, value: f64) -> String {
        let value = figure(value);
        let unit = self.reading.unit.as_ref().map(|unit| if value == "1" { of_one(unit) } else { unit.clone() });
        match (&self.reading.label, unit) {
            (None, Some(unit)) => format!("{value} {unit}"),
            (Some(label), Some(unit)) => format!("{label} {value} {unit}"),
            (label, None) => format!("{} {value}", label.as_deref().unwrap_or(self.name)),
        }
    }

    /// So near to the usual value that the times of it say nothing.
    fn is_about_usual(&self) -> bool {
        let ratio = self.value / self.usual;
        (0.505..1.95).contains(&ratio)
    }
}

/// The unit of one: `items` is `item` then.
fn of_one(unit: &str) -> String {
    let (word, rest) = unit.split_at(unit.find(' ').unwrap_or(unit.len()));
    match word.strip_suffix('s') {
        Some(one) if one.len() > 2 && !one.ends_with('s') => format!("{one}{rest}"),
        _ => unit.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::{Pipeline, Transform};

    /// A feature of a pipeline that ships, with a value of the detector's and what is usual, in the detector's units.
    fn phrase(pipeline: &str, feature: &str, value: f64, usual: f64, range: Option<(f64, f64)>) -> String {
        let pipeline = Pipeline::load(pipeline).unwrap();
        let index = pipeline.feature_names().iter().position(|name| name == feature).unwrap();
        let reading = &pipeline.readings[index];
        let range = range.map(|(low, high)| (reading.read(low), reading.read(high)));
        let (read, is_least) = (reading.read(value), reading.is_at_least_value(value));
        Told { name: feature, reading, value: read, is_least, usual: reading.read(usual), range }.phrase()
    }

    #[test]
    fn features_of_invoices_are_read_in_their_units() {
        let of = |feature, value, usual, range| phrase("invoices", feature, value, usual, range);
        let items = Some((12.0, 400.0));
        says(of("NumberItems", 4000.0, 91.0, items), "4,000 items, 44 times the usual 91 (usual 12 to 400)");
        says(of("NumberItems", 4000.0, 91.0, None), "4,000 items, 44 times the usual 91");
        says(of("NumberItems", 1.0, 91.0, items), "1 item, 1/91 of the usual 91 (usual 12 to 400)");
        says(of("NumberItems", 120.0, 91.0, items), "120 items (usual 12 to 400)");
        says(of("NumberItems", -5.0, 91.0, items), "-5 items (usual 12 to 400)");
        says(of("NumberItems", -5.0, 91.0, None), "-5 items; usually 91");
        let price = Some((0.85, 8.25));
        let said = "average unit price 145 GBP, 46.8 times the usual 3.1 (usual 0.85 to 8.25)";
        says(of("AvgUnitPrice", 145.0, 3.1, price), &said.replace("46.8", "47"));
        says(of("Time", 3.0, 12.4, Some((8.0, 17.0))), "first line in the hour from 03:00 (usual 08:00 to 17:00)");
        says(of("Time", 3.0, 12.0, None), "first line in the hour from 03:00 (usually 12:00)");
    }

    /// Logarithms are undone.
    #[test]
    fn features_of_payments_are_read_in_their_units() {
        let of = |feature, value: f64, usual, range| phrase("transactions", feature, value, usual, range);
        let ratio = Some((0.3f64.ln(), 3f64.ln()));
        says(
            of("RatioToMerchant", 0.001f64.ln(), -0.25, ratio),
            "1/1,000 or less of what is usual at this merchant (usually 0.3 to 3 times)",
        );
        says(
            of("RatioToMerchant", 0.05f64.ln(), -0.25, ratio),
            "1/20 of what is usual at this merchant (usually 0.3 to 3 times)",
        );
        says(
            of("RatioToUser", 44f64.ln(), 0.0, ratio),
            "44 times what is usual for this user (usually 0.3 to 3 times)",
        );
        says(of("RatioToUser", 44f64.ln(), 0.0, None), "44 times what is usual for this user");
        let count = Some((0.0, 2f64.ln_1p()));
        says(of("PaymentsInHour", 7f64.ln_1p(), 0.0, count), "7 payments in the hour before; usually at most 2");
        says(of("PaymentsInHour", 7f64.ln_1p(), 0.0, Some((0.0, 0.0))), "7 payments in the hour before; usually none");
        says(of("PaymentsInHour", 7f64.ln_1p(), 0.0, None), "7 payments in the hour before; usually none");
        let speed = Some((0.0, 60f64.ln_1p()));
        says(of("Speed", 5100f64.ln_1p(), 1.0, speed), "5,100 km/h since the last payment; usually at most 60");
    }

    #[test]
    fn a_feature_of_which_the_file_says_nothing_has_its_name() {
        let told = |measure, transform, value| {
            let reading = Reading { label: None, unit: None, measure, transform };
            Told { name: "X", reading: &reading, value, is_least: false, usual: 2.0, range: Some((1.0, 4.0)) }.phrase()
        };
        says(told(Measure::Number, Transform::Nothing, 40.0), "X 40, 20 times the usual 2 (usual 1 to 4)");
        says(told(Measure::Ratio, Transform::Log, 40.0), "X: 40 times what is usual (usually 1 to 4 times)");
        says(told(Measure::Hour, Transform::Nothing, 23.5), "X at 23:30 (usual 01:00 to 04:00)");
        says(told(Measure::DayOfWeek, Transform::Nothing, 6.0), "X on a Sunday (usual Tuesday to Friday)");
        says(told(Measure::Flag, Transform::Nothing, 1.0), "X");
        says(told(Measure::Flag, Transform::Nothing, 0.0), "not X");
    }

    fn says(found: String, expected: &str) {
        assert_eq!(found, expected);
    }

    proptest! {
        /// Whatever numbers there are, a sentence is a short line.
        #[test]
        fn any_numbers_make_a_phrase(value in any::<f64>(), usual in any::<f64>(), low in any::<f64>(), high in any::<f64>()) {
            for pipeline in ["invoices", "transactions"] {
                for feature in Pipeline::load(pipeline).unwrap().feature_names() {
                    let text = phrase(pipeline, &feature, value, usual, Some((low, high)));
                    prop_assert!(text.len() < 200 && !text.contains('\n') && !text.contains("NaN"), "{}", text);
                }
            }
        }
    }
}
