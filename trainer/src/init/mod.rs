//! `trainer init`: a pipeline file for a file that nobody has described yet.

mod args;
mod show;
mod source;

use std::path::{Path, PathBuf};

use shared::draft::{self, Draft, Request};

pub use args::{InitArgs, LONG_ABOUT};
pub use source::findings;

use crate::console;

/// A drafted pipeline and where it stands.
#[derive(Debug)]
pub struct Initialized {
    /// The pipeline.
    pub draft: Draft,
    /// Its file.
    pub output: PathBuf,
}

/// Drafts the pipeline, writes its file, and prints what was found.
///
/// # Errors
/// One sentence: what was wrong, where, and what would be right.
pub fn init_and_report(args: &InitArgs) -> anyhow::Result<()> {
    let Initialized { draft, output } = init(args)?;
    console::print(&show::report(&draft, &args.file, &output))?;
    Ok(())
}

/// Drafts the pipeline and writes its file.
///
/// # Errors
/// The file cannot be read, no pipeline can be made of it, or the output is there already.
pub fn init(args: &InitArgs) -> anyhow::Result<Initialized> {
    let name = args.name.clone().unwrap_or_else(|| draft::pipeline_name(&stem(&args.file)));
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
    draft::check_output(&output, args.force)?;
    let source = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy().into_owned();
    let topic = args.kafka.clone().unwrap_or_else(|| name.clone());
    let request = Request { name, topic, source, command: "trainer init" };
    let draft = draft::draft(&source::findings(&args.file)?, &request)?;
    draft.write(&output, args.force)?;
    Ok(Initialized { draft, output })
}

/// The name of a file without its endings: `payments` of `payments.csv.gz`.
fn stem(path: &Path) -> String {
    let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let is_packed = path.extension().is_some_and(|name| name.eq_ignore_ascii_case("gz"));
    match stem.rsplit_once('.') {
        Some((name, _)) if is_packed && !name.is_empty() => name.to_owned(),
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_name_without_its_endings() {
        for (path, expected) in
            [("a/b.csv", "b"), ("b.csv.gz", "b"), ("b.2024.csv", "b.2024"), ("b", "b"), (".gz", ".gz")]
        {
            assert_eq!(stem(Path::new(path)), expected, "{path}");
        }
    }
}
