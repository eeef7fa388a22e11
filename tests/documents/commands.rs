//! The documents beside what a program declares of its command line. The tests of both programs include this file: each knows its
//! own commands.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;

/// The page that has a section for every command.
const PAGE: &str = "docs/commands.md";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The commands and options that the page of commands does not name, each in the section of its command.
pub fn undocumented(program: &Command) -> Vec<String> {
    let page = fs::read_to_string(repository().join(PAGE)).unwrap();
    undocumented_in(program, program.get_name(), &page)
}

fn undocumented_in(command: &Command, called: &str, page: &str) -> Vec<String> {
    let below: Vec<&Command> = command.get_subcommands().filter(|it| !it.is_hide_set()).collect();
    if !below.is_empty() {
        let of_each = |it: &&Command| undocumented_in(it, &format!("{called} {}", it.get_name()), page);
        return below.iter().flat_map(of_each).collect();
    }
    let Some(section) = section(page, called) else { return vec![format!("`{called}` has no section in {PAGE}")] };
    let flags = command.get_arguments().filter(|it| !it.is_hide_set()).filter_map(|it| it.get_long());
    let inherited = inherited(section).and_then(|from| self::section(page, from)).unwrap_or_default();
    let is_documented = |flag: &str| is_named(section, flag) || is_named(inherited, flag);
    let missing = flags.filter(|flag| !["help", "version"].contains(flag) && !is_documented(flag));
    missing.map(|flag| format!("`{called}` has no `--{flag}` in {PAGE}")).collect()
}

/// What stands under the heading of a command.
fn section<'a>(page: &'a str, called: &str) -> Option<&'a str> {
    let heading = format!("\n### `{called}`\n");
    let rest = &page[page.find(&heading)? + heading.len()..];
    let ends = ["\n## ", "\n### "].into_iter().filter_map(|next| rest.find(next));
    Some(&rest[..ends.min().unwrap_or(rest.len())])
}

/// The command whose options are those of another one too, if the section of that one says so.
fn inherited(section: &str) -> Option<&str> {
    section.split("all options of [`").nth(1)?.split('`').next()
}

/// Whether a text names a flag, and not only one that begins so.
fn is_named(text: &str, flag: &str) -> bool {
    let flag = format!("--{flag}");
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.match_indices(&flag).any(|(at, _)| !text[at + flag.len()..].starts_with(goes_on))
}

/// How many commands of a program the documents show, and which of them have options that the program does not know. Options that this
/// build lacks may be shown.
pub fn shown(program: &Command, lacks: &[&str]) -> (usize, Vec<String>) {
    let mut n_shown = 0;
    let mut wrong = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for line in shell_lines(&text) {
            let Some(words) = arguments(&line, program.get_name()) else { continue };
            n_shown += 1;
            if let Some(problem) = problem(program, &words, lacks) {
                wrong.push(format!("{}: {line}: {problem}", document.display()));
            }
        }
    }
    (n_shown, wrong)
}

/// The README and the pages of the book.
fn documents() -> Vec<PathBuf> {
    let pages = fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut documents: Vec<PathBuf> = pages.filter(|path| path.extension().is_some_and(|name| name == "md")).collect();
    documents.push(repository().join("README.md"));
    documents.sort();
    documents
}

/// The lines of the blocks of shell commands, without comments; one that goes on in the next line is one.
fn shell_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut is_shell = false;
    let mut begun = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_shell = line == "```sh";
        } else if is_shell {
            let line = line.split(" #").next().unwrap_or_default().trim();
            match line.strip_suffix('\\') {
                Some(part) => begun.push_str(part),
                None => lines.push(std::mem::take(&mut begun) + line),
            }
        }
    }
    lines
}

/// What a program is given in a line of the shell; none where another one is called.
fn arguments(line: &str, program: &str) -> Option<Vec<String>> {
    let mut words = line.split_whitespace().skip_while(|word| is_variable(word));
    let mut first = words.next()?;
    if first == "cargo" {
        let of: Vec<&str> = words.by_ref().take_while(|word| *word != "--").collect();
        first = *of.strip_prefix(&["run", "-p"])?.first()?;
    }
    let ours = words.take_while(|word| !["|", ">", ">>", "&&", ";", "&"].contains(word));
    (first == program).then(|| ours.map(str::to_owned).collect())
}

/// Whether a word sets a variable for the command behind it.
fn is_variable(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

fn problem(program: &Command, words: &[String], lacks: &[&str]) -> Option<String> {
    let mut command = program;
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(below) = words.peek().and_then(|word| command.find_subcommand(word)) {
        command = below;
        words.next();
    }
    let mut flags = words.filter_map(|word| word.strip_prefix("--")).map(|word| word.split('=').next().unwrap_or(word));
    let known = |flag: &str| {
        let of_all = ["help", "version", "config", ""].contains(&flag) || lacks.contains(&flag);
        of_all || command.get_arguments().any(|argument| argument.get_long() == Some(flag))
    };
    flags.find(|flag| !known(flag)).map(|flag| format!("`{}` has no option --{flag}", command.get_name()))
}

#[test]
fn what_is_not_documented_is_noticed() {
    let page = "## P\n\n### `p one`\n\n`--all-of`, `--by N`\n\n### `p two`\n\n`--c`\n\n\
                ### `p four`\n\nIt has all options of [`p two`](#p-two).\n\n## Q\n";
    let flag = |name: &'static str| clap::Arg::new(name).long(name);
    let program = Command::new("p")
        .subcommand(Command::new("one").arg(flag("all")).arg(flag("by")))
        .subcommand(Command::new("two").arg(flag("c")))
        .subcommand(Command::new("three"))
        .subcommand(Command::new("four").arg(flag("c")).arg(flag("d")));
    let missing = undocumented_in(&program, "p", page);
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(
        missing[0].contains("--all") && missing[1].contains("p three") && missing[2].contains("--d"),
        "{missing:?}"
    );

    let text = "```sh\nA=1 p one --by \\\n  3 --c # --d\ncargo run -p p -- two --c | q --x\nother --by\n```\n\n    p one --zero\n";
    let lines = shell_lines(text);
    assert_eq!(lines.len(), 3, "{lines:?}");
    let of = |line: &str| arguments(line, "p").map(|words| problem(&program, &words, &[]));
    assert!(of(&lines[0]).unwrap().unwrap().contains("`one` has no option --c"));
    assert_eq!(of(&lines[1]), Some(None));
    assert_eq!(of(&lines[2]), None);
}
