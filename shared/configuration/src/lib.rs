//! The options of a program: from the command line, else from the environment, else from a file, else the default.
//!
//! Which options there are is read from clap's declaration, so a new option is known here without a further line. The
//! environment has `ATALAYA_<OPTION>`; the file is TOML, by the long names of the options, and `--config` names it. What was
//! found becomes arguments, which clap reads as if they had been typed: one parser and one set of rules for all sources.
//!
//! This crate prints nothing, and reads the file of `--config` and no other.

mod choice;
mod environment;
mod file;
mod setting;
mod source;
mod values;

use std::ffi::OsString;
use std::path::Path;

use clap::builder::{Resettable, ValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgMatches, Command, Id, Parser};

use choice::{Choice, Chosen};
pub use environment::variable_of;
use file::ConfigFile;
pub use setting::Setting;
pub use source::Source;

/// The option that names the file.
const CONFIG: &str = "config";

/// What the declaration of a program does not say.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The command whose options may be typed without its name; its table in the file holds for both.
    pub default_command: &'static str,
    /// Commands that have the options of another one, as in `("config show", "run")`: its table holds for them too.
    pub same_as: &'static [(&'static str, &'static str)],
    /// Options that choose what a command does by being there.
    pub only_with: &'static [OnlyWith],
    /// Options whose values are secrets.
    pub secrets: &'static [&'static str],
    /// Options `KEY=VALUE` of which the value may be a secret.
    pub secret_pairs: &'static [&'static str],
    /// Options of other programs that are spelled nearly like one of this program: their variables are no mistakes.
    pub of_others: &'static [&'static str],
}

/// An option that is taken from the environment, or from the part of the file for all commands, only beside another one.
#[derive(Debug, Clone, Copy)]
pub struct OnlyWith {
    /// The command, such as `simulate transactions`.
    pub command: &'static str,
    /// The option.
    pub option: &'static str,
    /// The other one.
    pub with: &'static str,
}

/// What a program is to do.
#[derive(Debug)]
pub struct Parsed<T> {
    /// The command line, as if everything had been typed.
    pub command_line: T,
    /// Every option of the command, in the order of the help.
    pub settings: Vec<Setting>,
    /// Variables that are probably misspelled, a sentence each.
    pub warnings: Vec<String>,
}

/// Why it is not known what a program is to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What clap says: of a wrong command line, or the help that was asked for.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// What is wrong with the environment or the file, in one sentence.
    #[error("{0}")]
    Given(String),
}

/// Reads the options of a program from all that says something of them.
///
/// # Errors
/// [`Failure`]; the first thing that is wrong.
pub fn parse<T: Parser>(
    program: &Program,
    arguments: &[OsString],
    environment: &[(OsString, OsString)],
) -> Result<Parsed<T>, Failure> {
    let declared = T::command();
    // What is required may come from elsewhere.
    let mut relaxed = relaxed(with_config(declared.clone()));
    let typed = match relaxed.try_get_matches_from_mut(arguments) {
        Ok(typed) => typed,
        // Help and usage are to be those of the declaration.
        Err(error) => {
            let of_declaration = with_config(declared).try_get_matches_from(arguments).err();
            return Err(of_declaration.unwrap_or(error).into());
        }
    };
    let (path, command, matches) = command_of(&relaxed, &typed);
    let variables = environment::of_program(environment);
    let file = match config_path(matches, &variables)? {
        Some(path) => Some(ConfigFile::read(Path::new(&path))?),
        None => None,
    };
    if let Some(file) = &file {
        file.check(&declared)?;
    }
    let choice = Choice { program, path: &path, command, typed: matches, variables: &variables, file: file.as_ref() };
    let chosen = choice.make()?;
    let all = with_chosen(arguments, &chosen);
    let mut whole = with_config(declared.clone());
    let matched = whole.try_get_matches_from_mut(all).map_err(|error| explained(error, &chosen, program))?;
    let command_line = T::from_arg_matches(&matched)?;
    let (_, command, matches) = command_of(&whole, &matched);
    let settings = setting::all(command, matches, &chosen, program);
    let warnings =
        environment::doubts(&variables, &file::options_of_all(&declared), program.of_others, declared.get_name());
    Ok(Parsed { command_line, settings, warnings })
}

/// Whether an option is part of the configuration: what has a long name and is not hidden.
fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|long| ![CONFIG, "help", "version"].contains(&long)) && !arg.is_hide_set()
}

/// The declaration, with `--config` wherever there are options.
fn with_config(command: Command) -> Command {
    let has_options = !command.is_subcommand_required_set();
    let command = command.mut_subcommands(with_config);
    if has_options { command.arg(config_option()) } else { command }
}

fn config_option() -> Arg {
    Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(ValueParser::string())
        .help_heading(None::<&'static str>)
        .help(
            "File with options, in TOML by their long names; what is not on the command line is taken from ATALAYA_<OPTION> in \
             the environment, such as ATALAYA_DEVICE, and then from this file",
        )
}

/// The same commands, of which nothing is required.
fn relaxed(command: Command) -> Command {
    command
        .mut_args(|arg| {
            arg.required(false).requires(Resettable::<Id>::Reset).required_unless_present(Resettable::<Id>::Reset)
        })
        .mut_subcommands(relaxed)
}

/// The command that was chosen, with its path and what was matched of it.
fn command_of<'a>(root: &'a Command, matched: &'a ArgMatches) -> (Vec<String>, &'a Command, &'a ArgMatches) {
    let (mut path, mut command, mut matches) = (Vec::new(), root, matched);
    while let Some((name, of)) = matches.subcommand() {
        let Some(found) = command.find_subcommand(name) else { break };
        path.push(name.to_owned());
        (command, matches) = (found, of);
    }
    (path, command, matches)
}

fn config_path(matches: &ArgMatches, variables: &environment::Variables) -> Result<Option<String>, Failure> {
    let typed = matches.try_get_one::<String>(CONFIG).ok().flatten().cloned();
    typed.map_or_else(|| environment::value_of(variables, CONFIG), |path| Ok(Some(path)))
}

/// What was typed, and what was chosen beside it; whatever follows `--` is no option.
fn with_chosen(arguments: &[OsString], chosen: &[Chosen]) -> Vec<OsString> {
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let mut all = arguments[..end].to_vec();
    all.extend(chosen.iter().flat_map(|chosen| chosen.arguments.iter().cloned()));
    all.extend_from_slice(&arguments[end..]);
    all
}

/// The same error; where it is about something that nobody typed, it says where that is.
fn explained(error: clap::Error, chosen: &[Chosen], program: &Program) -> Failure {
    let inserted = || chosen.iter().filter(|chosen| !chosen.arguments.is_empty());
    let named: Vec<String> = [ContextKind::InvalidArg, ContextKind::PriorArg]
        .into_iter()
        .filter_map(|kind| match error.get(kind)? {
            ContextValue::String(name) => Some(vec![name.clone()]),
            ContextValue::Strings(names) => Some(names.clone()),
            _ => None,
        })
        .flatten()
        .map(|name| name.split([' ', '[', '=']).next().unwrap_or_default().trim_start_matches('-').to_owned())
        .collect();
    if inserted().next().is_none() {
        return error.into();
    }
    let guilty: Vec<&Chosen> = inserted().filter(|chosen| named.contains(&chosen.name)).collect();
    let is_secret =
        guilty.iter().any(|of| program.secrets.iter().chain(program.secret_pairs).any(|name| *name == of.name));
    let problem = match is_secret {
        true => "this value is not possible".to_owned(),
        false => first_paragraph(&error.to_string()),
    };
    if guilty.is_empty() {
        let all = sources(inserted());
        Failure::Given(format!("{problem} (beside the command line, options are taken from: {all})"))
    } else {
        Failure::Given(format!("{}: {problem}", sources(guilty.into_iter())))
    }
}

fn sources<'a>(of: impl Iterator<Item = &'a Chosen>) -> String {
    of.map(|of| of.source.to_string()).collect::<Vec<_>>().join(", ")
}

/// What clap says before usage and hints, on one line.
fn first_paragraph(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests;
