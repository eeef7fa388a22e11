//! Learns from history what normal looks like: files of lines become entities, entities become features, and each
//! detector of the pipeline becomes a model file and a row of reports.
//!
//! [`train::train`] is the whole of it; the modules below are its steps, in the order they run.

pub mod analysts;
pub mod args;
mod clock;
pub mod compare;
pub mod console;
pub mod cost;
pub mod devices;
pub mod entities;
pub mod existing;
pub mod fit;
pub mod import;
pub mod init;
pub mod inspect;
pub mod labels;
pub mod load;
pub mod memory;
pub mod numbers;
pub mod output;
pub mod overrides;
pub mod progress;
pub mod realised_rate;
pub mod reports;
pub mod summary;
pub mod table;
pub mod timings;
pub mod train;
pub mod version;

use args::{Args, Command, FitArgs};
use shared::text::printable_lines;
use train::Settings;

/// Does what the command line asks for.
///
/// # Errors
/// One sentence: what was wrong, where, and what would be right.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Some(Command::Inspect(inspect)) => console::print(&inspect::inspect(&inspect.path)?)?,
        Some(Command::Init(init)) => init::init_and_report(init)?,
        Some(Command::Import(import)) => import::import_and_report(import)?,
        Some(Command::Compare(compare)) => compare::compare_and_report(compare)?,
        Some(Command::Devices(args)) => console::print(&devices::devices(args.json)?)?,
        Some(Command::Version(args)) => console::print(&version::version(args.json)?)?,
        Some(Command::Fit(fit)) => train_and_report(fit)?,
        None => train_and_report(&args.fit)?,
    }
    Ok(())
}

/// Trains as the command line asks for, writes models and reports, and prints the closing table.
///
/// # Errors
/// The first that occurs, as one sentence; no file was changed then.
fn train_and_report(args: &FitArgs) -> anyhow::Result<()> {
    let settings = Settings::new(args)?;
    if settings.pipeline.detectors.is_empty() {
        if !settings.quiet {
            console::print(&summary::nothing_to_train(&settings.pipeline))?;
        }
        return Ok(());
    }
    if settings.is_sample && !settings.quiet {
        console::print(&summary::first(&settings))?;
    }
    let mut training = train::train(&settings)?;
    let destination = train::destination(&settings, &training)?;
    let settings = Settings { models: destination.models.clone(), ..settings };
    train::write(&settings, &mut training)?;
    if let Some(warning) = destination.warning(&settings.pipeline) {
        eprintln!("warning: {}", printable_lines(&warning));
    }
    if !settings.quiet {
        console::print(&summary::summary(&settings, &training, destination.replaced.as_ref()))?;
    }
    Ok(())
}
