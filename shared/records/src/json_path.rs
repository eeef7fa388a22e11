//! Where a value stands in a JSON record: `merchant.id`, `items[0].sku`, `headers["x.y"]`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Most steps of a path: JSON is read as deep as 127.
const MOST_STEPS: usize = 32;

/// The way from a record to a value in it. The first step names a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To a field of an object.
    Field(String),
    /// To an item of an array, from 0.
    Item(usize),
}

/// A text is no path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a path: write merchant.id for a field in an object, items[0].sku for one in the first item of an array, and \
     [\"x.y\"] for a name with a dot; at most {MOST_STEPS} steps"
)]
pub struct NotAPath(String);

impl JsonPath {
    /// The field of a record that is called `name`.
    pub fn field(name: &str) -> Self {
        Self(vec![Step::Field(name.to_owned())])
    }

    /// Its steps, at least one.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether one of the two values lies in the other, or is the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }

    /// The value inside of this one.
    pub fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl FromStr for JsonPath {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        let (mut steps, mut rest) = (Vec::new(), text.trim());
        while !rest.is_empty() {
            let (step, after) = first_step(rest, steps.is_empty()).ok_or_else(|| NotAPath(text.to_owned()))?;
            steps.push(step);
            rest = after;
        }
        let is_path = matches!(steps.first(), Some(Step::Field(_))) && steps.len() <= MOST_STEPS;
        if is_path { Ok(Self(steps)) } else { Err(NotAPath(text.to_owned())) }
    }
}

/// The step that `text` begins with, and what follows. Every name but the first comes after a dot.
fn first_step(text: &str, is_first: bool) -> Option<(Step, &str)> {
    if let Some(inside) = text.strip_prefix("[\"") {
        let (name, rest) = inside.split_once("\"]")?;
        return Some((Step::Field(name.to_owned()), rest));
    }
    if let Some(inside) = text.strip_prefix('[') {
        let (number, rest) = inside.split_once(']')?;
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        return Some((Step::Item(number.parse().ok().filter(|_| is_number)?), rest));
    }
    let text = if is_first { text } else { text.strip_prefix('.')? };
    let (name, rest) = text.split_at(text.find(['.', '[']).unwrap_or(text.len()));
    (!name.is_empty() && !name.contains([']', '"'])).then(|| (Step::Field(name.to_owned()), rest))
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(number) => write!(f, "[{number}]")?,
                Step::Field(name) if name.trim() != name || name.is_empty() || name.contains(['.', '[', ']', '"']) => {
                    write!(f, "[\"{name}\"]")?;
                }
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_read() {
        let field = |name: &str| Step::Field(name.to_owned());
        for (text, steps) in [
            ("amount", vec![field("amount")]),
            (" merchant.id ", vec![field("merchant"), field("id")]),
            ("items[0].sku", vec![field("items"), Step::Item(0), field("sku")]),
            ("a[1][22]", vec![field("a"), Step::Item(1), Step::Item(22)]),
            (r#"["x.y"].z["[0]"]"#, vec![field("x.y"), field("z"), field("[0]")]),
            ("first name.ü", vec![field("first name"), field("ü")]),
        ] {
            assert_eq!(text.parse().map(|JsonPath(steps)| steps), Ok(steps), "{text}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "[0]", "a[", "a[]", "a[-1]", "a[+1]", "a[x]", "a]", "a[0]b", "a\"b"] {
            assert!(bad.parse::<JsonPath>().is_err(), "{bad}");
        }
        assert!("a.".repeat(40).trim_end_matches('.').parse::<JsonPath>().is_err());
    }

    #[test]
    fn values_lie_in_each_other_or_do_not() {
        let path = |text: &str| text.parse::<JsonPath>().unwrap();
        assert!(path("a.b").overlaps(&path("a")) && path("a").overlaps(&path("a.b[0]")));
        assert!(!path("a.b").overlaps(&path("a.c")) && !path("a[0]").overlaps(&path("a[1].b")));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            first in "[a-z.\\[]{1,5}",
            steps in prop::collection::vec(prop_oneof![
                "[a-z .\\]]{0,5}".prop_map(Step::Field),
                (0..100usize).prop_map(Step::Item),
            ], 0..6),
        ) {
            let path = JsonPath([Step::Field(first)].into_iter().chain(steps).collect());
            prop_assert_eq!(path.to_string().parse::<JsonPath>(), Ok(path));
        }

        #[test]
        fn no_text_makes_a_path_panic(text in ".{0,20}") {
            let _ = text.parse::<JsonPath>();
        }
    }
}
