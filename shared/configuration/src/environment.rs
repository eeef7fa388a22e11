//! Variables of the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::Failure;

/// What the names of all variables begin with.
const PREFIX: &str = "ATALAYA_";

/// The variables of this product that are set, by their names. One that is empty is not set.
pub(crate) type Variables = BTreeMap<String, OsString>;

/// The variable of an option: `ATALAYA_STATE_DIR` of `state-dir`.
pub fn variable_of(option: &str) -> String {
    format!("{PREFIX}{}", option.to_uppercase().replace('-', "_"))
}

pub(crate) fn of_program(environment: &[(OsString, OsString)]) -> Variables {
    let set = environment.iter().filter(|(_, value)| !value.is_empty());
    let named = set.filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.clone())));
    named.filter(|(name, _)| name.starts_with(PREFIX)).collect()
}

/// What the variable of an option is set to.
///
/// # Errors
/// When that is no text.
pub(crate) fn value_of(variables: &Variables, option: &str) -> Result<Option<String>, Failure> {
    let name = variable_of(option);
    let Some(value) = variables.get(&name) else { return Ok(None) };
    let text = value.to_str().ok_or_else(|| Failure::Given(format!("{name} is not in UTF-8")))?;
    Ok(Some(text.to_owned()))
}

/// Variables that are nearly named like an option. Others belong to somebody else: pipeline files may name any variable as the
/// place of a password.
pub(crate) fn doubts(variables: &Variables, options: &[String], of_others: &[&str], program: &str) -> Vec<String> {
    let of_options: Vec<String> = options.iter().map(|option| variable_of(option)).collect();
    let others: Vec<String> = of_others.iter().map(|option| variable_of(option)).collect();
    let config = variable_of(crate::CONFIG);
    let strange = variables.keys().filter(|name| ![&of_options, &others].iter().any(|known| known.contains(name)));
    strange
        .filter(|name| **name != config)
        .filter_map(|name| {
            let near =
                of_options.iter().chain([&config]).min_by_key(|known| strsim::damerau_levenshtein(name, known))?;
            (strsim::damerau_levenshtein(name, near) <= most_mistakes(name))
                .then(|| format!("{name} is set, and no option of {program} is named so; did you mean {near}?"))
        })
        .collect()
}

/// How many letters of a name may be wrong; short names are near to many others.
fn most_mistakes(name: &str) -> usize {
    match name.len() - PREFIX.len() {
        0..4 => 0,
        4..8 => 1,
        _ => 2,
    }
}
