//! From what stands in the environment or in a file to what would have been typed.

use std::ffi::OsString;

use clap::{Arg, ArgAction};
use toml::Value;

use crate::Failure;

/// What separates the values of an option that may be repeated, in its variable.
const SEPARATOR: char = ';';

/// What a source says of an option.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Given {
    Text(String),
    Boolean(bool),
    Several(Vec<String>),
}

impl Given {
    /// What a variable says.
    pub(crate) fn of_variable(arg: &Arg, text: String) -> Self {
        if takes_several(arg) {
            let parts = text.split(SEPARATOR).map(str::trim).filter(|part| !part.is_empty());
            Self::Several(parts.map(str::to_owned).collect())
        } else {
            Self::Text(text)
        }
    }

    /// What a file says; `None` for a table, which no option takes.
    pub(crate) fn of_file(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(Self::Boolean(*value)),
            Value::Array(values) => values.iter().map(text_of).collect::<Option<Vec<_>>>().map(Self::Several),
            value => text_of(value).map(Self::Text),
        }
    }

    /// The arguments that say the same on a command line. An option that is off has none.
    ///
    /// # Errors
    /// What would be right, when the option takes nothing of this kind.
    pub(crate) fn arguments(self, arg: &Arg, name: &str, place: &str) -> Result<Vec<OsString>, Failure> {
        let bare = |is_on: bool| if is_on { vec![OsString::from(format!("--{name}"))] } else { Vec::new() };
        let valued = |value: &str| OsString::from(format!("--{name}={value}"));
        if is_flag(arg) {
            return match self {
                Self::Boolean(is_on) => Ok(bare(is_on)),
                Self::Text(text) if ["true", "1"].contains(&text.as_str()) => Ok(bare(true)),
                Self::Text(text) if ["false", "0"].contains(&text.as_str()) => Ok(bare(false)),
                _ => Err(Failure::Given(format!("{place}: --{name} is on or off: use true or false"))),
            };
        }
        match self {
            Self::Boolean(is_on) if is_optional(arg) => Ok(bare(is_on)),
            Self::Boolean(value) => Ok(vec![valued(&value.to_string())]),
            Self::Text(text) => Ok(vec![valued(&text)]),
            Self::Several(values) if takes_several(arg) => Ok(values.iter().map(|value| valued(value)).collect()),
            Self::Several(_) => Err(Failure::Given(format!("{place}: --{name} takes one value, not a list"))),
        }
    }
}

pub(crate) fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse)
}

/// Whether an option may be repeated, or takes several values.
pub(crate) fn takes_several(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) || arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}

/// Whether the option may stand without a value.
fn is_optional(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.min_values() == 0)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        Value::Datetime(time) => Some(time.to_string()),
        Value::Array(_) | Value::Table(_) => None,
    }
}
