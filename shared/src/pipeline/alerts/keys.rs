//! Which keys and names mean something.

use crate::pipeline::PipelineError;
use crate::pipeline::checker::Checker;
use crate::pipeline::file::nearest;

/// Fails at a key that means nothing beside this kind.
pub(super) fn only_own(
    checker: &Checker<'_>,
    place: &dyn Fn(&str) -> String,
    given: &[(&str, bool)],
    own: &[&str],
    kind: &str,
) -> Result<(), PipelineError> {
    match given.iter().find(|(key, is_given)| *is_given && !own.contains(key)) {
        Some((key, _)) => {
            let own = if own.is_empty() { "no keys of its own".to_owned() } else { own.join(", ") };
            checker.error(&place(key), format!("means nothing with {kind}, which has {own}"))
        }
        None => Ok(()),
    }
}

pub(super) fn known(
    checker: &Checker<'_>,
    place: &str,
    wanted: &[String],
    what: &str,
    names: &[&str],
) -> Result<(), PipelineError> {
    match wanted.iter().find(|name| !names.contains(&name.as_str())) {
        Some(name) => checker.error(place, unknown(name, what, names)),
        None => Ok(()),
    }
}

pub(super) fn unknown(name: &str, what: &str, names: &[&str]) -> String {
    let hint = match nearest(name, names) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if names.is_empty() => "the file has none".to_owned(),
        None => format!("there are {}", names.join(", ")),
    };
    format!("there is no {what} `{name}`; {hint}")
}
