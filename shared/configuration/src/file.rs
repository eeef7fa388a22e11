//! The file of `--config`.

use std::path::Path;

use clap::Command;
use toml::{Table, Value};

use crate::{Failure, is_setting};

/// What a file says: options for all commands, and a table for each command that has options of its own.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    /// Its name, for messages.
    pub(crate) name: String,
    table: Table,
}

impl ConfigFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is not TOML. No value is repeated: it may be a secret.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Given(format!("cannot read the file of --config, {name}: {error}")))?;
        let table = text.parse::<Table>().map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Failure::Given(format!("{name}, line {line}: {}", error.message().trim_end()))
        })?;
        Ok(Self { name, table })
    }

    /// Whether every key names an option or a command.
    ///
    /// # Errors
    /// The first key that does not, with the nearest one that would.
    pub(crate) fn check(&self, declared: &Command) -> Result<(), Failure> {
        let names = options_of_all(declared);
        self.check_table(&self.table, declared, &names, "")
    }

    fn check_table(&self, table: &Table, command: &Command, names: &[String], place: &str) -> Result<(), Failure> {
        for (key, value) in table {
            let inner = command.find_subcommand(key);
            match (value, inner) {
                (Value::Table(table), Some(inner)) => {
                    self.check_table(table, inner, &options_of(inner), &format!("{place}{key}."))?;
                }
                (Value::Table(_), None) if names.contains(key) => {
                    return Err(Failure::Given(format!("{}: {place}{key} is an option, and not a table", self.name)));
                }
                _ if names.contains(key) => {}
                _ => {
                    let commands = command.get_subcommands().map(|command| command.get_name().to_owned());
                    let known: Vec<String> = names.iter().cloned().chain(commands).collect();
                    return Err(Failure::Given(self.unknown(key, place, &known)));
                }
            }
        }
        Ok(())
    }

    fn unknown(&self, key: &str, place: &str, known: &[String]) -> String {
        let likeness = |name: &String| strsim::jaro_winkler(key, name);
        let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let hint = match nearest {
            Some(nearest) if likeness(nearest) > 0.7 => format!("did you mean `{nearest}`?"),
            _ => "keys are the long names of options, as `--help` shows them".to_owned(),
        };
        format!("{}: there is no option `{place}{key}`; {hint}", self.name)
    }

    /// What it says of an option, and its key: in the first of these tables that has it.
    pub(crate) fn find(&self, tables: &[Vec<&str>], option: &str) -> Option<(String, &Value)> {
        tables.iter().find_map(|path| {
            let inner = path.iter().try_fold(&self.table, |table, name| table.get(*name)?.as_table())?;
            // A command may be named as an option is.
            let value = inner.get(option).filter(|value| !value.is_table())?;
            let key = path.iter().copied().chain([option]).collect::<Vec<_>>().join(".");
            Some((key, value))
        })
    }
}

/// The options of a command.
fn options_of(command: &Command) -> Vec<String> {
    command.get_arguments().filter(|arg| is_setting(arg)).filter_map(|arg| Some(arg.get_long()?.to_owned())).collect()
}

/// The options of a command and of all below it.
pub(crate) fn options_of_all(command: &Command) -> Vec<String> {
    let mut options = options_of(command);
    options.extend(command.get_subcommands().flat_map(options_of_all));
    options.sort_unstable();
    options.dedup();
    options
}
