//! What options are set to, for people who ask.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use crate::choice::Chosen;
use crate::environment::variable_of;
use crate::source::Source;
use crate::values::takes_several;
use crate::{Program, is_setting};

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its long name.
    pub name: String,
    /// Its values, without secrets; none where the program decides.
    pub values: Vec<String>,
    /// Whether it may have several.
    pub is_list: bool,
    /// Who said so.
    pub source: Source,
}

/// Every option of a command, in the order of its declaration.
pub(crate) fn all(command: &Command, matches: &ArgMatches, chosen: &[Chosen], program: &Program) -> Vec<Setting> {
    let settings = command.get_arguments().filter(|arg| is_setting(arg));
    settings
        .filter_map(|arg| {
            let (id, name) = (arg.get_id().as_str(), arg.get_long()?);
            let source = match chosen.iter().find(|chosen| chosen.name == name) {
                Some(chosen) => chosen.source.clone(),
                None => match matches.value_source(id) {
                    Some(ValueSource::CommandLine) => Source::CommandLine,
                    Some(ValueSource::EnvVariable) => {
                        let variable = arg.get_env().map(|variable| variable.to_string_lossy().into_owned());
                        Source::Environment(variable.unwrap_or_else(|| variable_of(name)))
                    }
                    _ => Source::Default,
                },
            };
            let raw = matches.try_get_raw(id).ok().flatten();
            let values =
                raw.into_iter().flatten().map(|value| shown(name, &value.to_string_lossy(), program)).collect();
            Some(Setting { name: name.to_owned(), values, is_list: takes_several(arg), source })
        })
        .collect()
}

/// A value, with no secret in it.
fn shown(name: &str, value: &str, program: &Program) -> String {
    if program.secrets.contains(&name) {
        return "***".to_owned();
    }
    if program.secret_pairs.contains(&name) {
        return match value.split_once('=') {
            Some((key, _)) => format!("{key}=***"),
            None => "***".to_owned(),
        };
    }
    value.to_owned()
}
