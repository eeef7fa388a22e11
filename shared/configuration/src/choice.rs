//! Which source has the word on each option.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::environment::{self, Variables, variable_of};
use crate::file::ConfigFile;
use crate::source::Source;
use crate::values::Given;
use crate::{Failure, Program, is_setting};

/// What one option is set to, beside the command line.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Its long name.
    pub(crate) name: String,
    /// What would have been typed; nothing for a flag that is off.
    pub(crate) arguments: Vec<OsString>,
    /// Where that stands.
    pub(crate) source: Source,
    id: String,
    /// Whether it was said of this command, and not of all.
    is_own: bool,
}

/// All that there is to choose from.
pub(crate) struct Choice<'a> {
    pub(crate) program: &'a Program,
    /// The command's path; of the default command, nothing.
    pub(crate) path: &'a [String],
    pub(crate) command: &'a Command,
    pub(crate) typed: &'a ArgMatches,
    pub(crate) variables: &'a Variables,
    pub(crate) file: Option<&'a ConfigFile>,
}

impl Choice<'_> {
    /// What each option is set to that was not typed.
    ///
    /// # Errors
    /// A value that its option does not take.
    pub(crate) fn make(&self) -> Result<Vec<Chosen>, Failure> {
        type Look<'a> = fn(&Choice<'a>, &Arg, &str) -> Result<Option<Chosen>, Failure>;
        let sources: [Look<'_>; 2] = [Self::in_environment, Self::in_file];
        let mut chosen: Vec<Chosen> = Vec::new();
        for look in sources {
            let mut found = Vec::new();
            for (arg, name) in self.untyped().filter(|(_, name)| !is_among(name, &chosen)) {
                if let Some(candidate) = look(self, arg, name)? {
                    found.push(candidate);
                }
            }
            // What excludes something that has precedence was meant for other cases.
            found.retain(|candidate: &Chosen| !self.is_excluded(candidate, &chosen));
            chosen.extend(found);
        }
        let dropped: Vec<String> =
            chosen.iter().filter(|of| !self.is_wanted(of, &chosen)).map(|of| of.name.clone()).collect();
        chosen.retain(|of| !dropped.contains(&of.name));
        Ok(chosen)
    }

    fn untyped(&self) -> impl Iterator<Item = (&Arg, &str)> {
        let settings = self.command.get_arguments().filter(|arg| is_setting(arg));
        settings.filter(move |arg| !self.is_typed(arg)).filter_map(|arg| Some((arg, arg.get_long()?)))
    }

    fn source(&self, arg: &Arg) -> Option<ValueSource> {
        self.typed.value_source(arg.get_id().as_str())
    }

    fn is_typed(&self, arg: &Arg) -> bool {
        self.source(arg) == Some(ValueSource::CommandLine)
    }

    fn in_environment(&self, arg: &Arg, name: &str) -> Result<Option<Chosen>, Failure> {
        let Some(text) = environment::value_of(self.variables, name)? else { return Ok(None) };
        let variable = variable_of(name);
        let arguments = Given::of_variable(arg, text).arguments(arg, name, &variable)?;
        let source = Source::Environment(variable);
        Ok(Some(Chosen { name: name.to_owned(), arguments, source, id: arg.get_id().to_string(), is_own: false }))
    }

    fn in_file(&self, arg: &Arg, name: &str) -> Result<Option<Chosen>, Failure> {
        // A variable that is not ours, and that clap reads.
        let is_set = self.source(arg) == Some(ValueSource::EnvVariable);
        let Some(file) = self.file.filter(|_| !is_set) else { return Ok(None) };
        let Some((key, value)) = file.find(&self.tables(), name) else { return Ok(None) };
        let place = format!("{}: {key}", file.name);
        let given = Given::of_file(value)
            .ok_or_else(|| Failure::Given(format!("{place}: --{name} takes texts, numbers, true or false")))?;
        let arguments = given.arguments(arg, name, &place)?;
        let is_own = key.contains('.');
        let source = Source::File { name: file.name.clone(), key };
        Ok(Some(Chosen { name: name.to_owned(), arguments, source, id: arg.get_id().to_string(), is_own }))
    }

    /// The tables of the file that speak of this command, the most special one first.
    fn tables(&self) -> Vec<Vec<&str>> {
        let own: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let joined = own.join(" ");
        let same = self.program.same_as.iter().find(|(command, _)| *command == joined);
        let mut tables = vec![if own.is_empty() { vec![self.program.default_command] } else { own }];
        tables.extend(same.map(|(_, table)| vec![*table]));
        tables.push(Vec::new());
        tables
    }

    fn is_excluded(&self, candidate: &Chosen, before: &[Chosen]) -> bool {
        let Some(arg) = self.arg(&candidate.id).filter(|_| !candidate.arguments.is_empty()) else { return false };
        self.command.get_arguments().any(|other| {
            let is_chosen = || before.iter().any(|of| of.id == other.get_id().as_str() && !of.arguments.is_empty());
            (self.is_typed(other) || is_chosen()) && (self.excludes(arg, other) || self.excludes(other, arg))
        })
    }

    fn excludes(&self, arg: &Arg, other: &Arg) -> bool {
        self.command.get_arg_conflicts_with(arg).iter().any(|excluded| excluded.get_id() == other.get_id())
    }

    /// Whether an option that chooses what the command does stands beside the one that it needs.
    fn is_wanted(&self, of: &Chosen, chosen: &[Chosen]) -> bool {
        let path = self.path.join(" ");
        let rule = self.program.only_with.iter().find(|rule| rule.command == path && rule.option == of.name);
        let is_given = |name: &str| {
            let is_typed =
                || self.command.get_arguments().any(|arg| arg.get_long() == Some(name) && self.is_typed(arg));
            is_among(name, chosen) || is_typed()
        };
        of.is_own || rule.is_none_or(|rule| is_given(rule.with))
    }

    fn arg(&self, id: &str) -> Option<&Arg> {
        self.command.get_arguments().find(|arg| arg.get_id().as_str() == id)
    }
}

fn is_among(name: &str, chosen: &[Chosen]) -> bool {
    chosen.iter().any(|of| of.name == name)
}
