//! `scorer doctor`: what a report about a problem needs, in one text and without secrets.
//!
//! What cannot be found out is said in its place: nothing that is wrong keeps the rest from being told.

use std::fmt::{Display, Write as _};
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::Result;
use configuration::{Setting, Source};
use shared::device::{DeviceReport, Survey};
use shared::memory::{self, Size};
use shared::model_source::ModelSource;
use shared::pipeline::Pipeline;
use shared::text::sentence;

use super::logs::init_logs;
use super::run::kafka_settings;
use super::{block_on, config, console, topics_of, version, with_clock};
use crate::args::{DoctorArgs, RunArgs};
use crate::kafka::{PartitionLag, check_topics, lag};

pub(super) fn doctor(args: &DoctorArgs, settings: &[Setting]) -> Result<()> {
    init_logs(false);
    let mut report = Report::default();
    report.section("program", version::build());
    report.section("machine", machine());
    // Before there is another thread: graphics libraries may crash beside one.
    report.section("devices", devices(&Survey::take()));
    let settings = config::of_run(settings);
    report.section("options", settings.iter().map(|setting| config::line(setting)).collect::<Vec<_>>().join("\n"));
    let pipeline = Pipeline::load(&args.run.pipeline.pipeline).map_err(anyhow::Error::from);
    let pipeline = pipeline.and_then(|pipeline| with_clock(pipeline, args.run.clock)).map(Arc::new);
    match &pipeline {
        Ok(pipeline) => report.section("pipeline", of_pipeline(&args.run, pipeline)),
        Err(error) => report.section("pipeline", sentence(error.as_ref())),
    }
    report.section("state folder", state_folder(&args.run.state_dir));
    match &pipeline {
        Ok(pipeline) if names_brokers(&settings) => {
            let found = block_on(of_kafka(&args.run, pipeline));
            report.section("kafka", found.unwrap_or_else(|error| sentence(error.as_ref())));
        }
        _ => report.section("kafka", "not asked: name brokers, with a pipeline that can be read"),
    }
    console::print(report.text.trim_end())?;
    Ok(())
}

#[derive(Debug, Default)]
struct Report {
    text: String,
}

impl Report {
    fn section(&mut self, name: &str, text: impl Display) {
        let text = text.to_string();
        let lines = text.trim_end().lines().map(|line| format!("  {line}\n")).collect::<String>();
        self.text += &format!("{name}:\n{lines}\n");
    }
}

fn machine() -> String {
    let first = |path: &str, key: &str| {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let system = first("/etc/os-release", "PRETTY_NAME=").map_or_else(unknown, |name| name.replace('"', ""));
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| unknown(), |text| text.trim().to_owned());
    let processor = first("/proc/cpuinfo", "model name").unwrap_or_else(unknown);
    let threads = available_parallelism().map_or(1, NonZero::get);
    let total = first("/proc/meminfo", "MemTotal").unwrap_or_else(unknown);
    let allowed = memory::allowed(None).map_or_else(unknown, |bytes| Size(bytes).to_string());
    format!(
        "system: {system} ({}, Linux {kernel})\nprocessor: {processor}, {threads} threads for this program\nmemory: {total}; without \
         --max-memory a run takes at most {allowed}",
        std::env::consts::ARCH
    )
}

fn devices(survey: &Survey) -> String {
    let mut text = String::new();
    for device in &survey.devices {
        let DeviceReport { device, class, name, driver, measured, problem, .. } = device;
        let driver = driver.as_deref().unwrap_or("no driver of its own");
        let speed = measured.map_or_else(
            || "not measured".to_owned(),
            |measured| {
                format!("{:.0} points/s, {:.0} bytes/s", measured.points_per_second, measured.copied_bytes_per_second)
            },
        );
        // Writing into a text does not fail.
        let _ = writeln!(text, "{device}: {class}, {name}, {driver}, {speed}");
        if let Some(problem) = problem {
            let _ = writeln!(text, "{device}: {problem}");
        }
    }
    if let Some(why) = &survey.why_no_gpu {
        let _ = writeln!(text, "no GPU is seen: {why}");
    }
    text
}

fn of_pipeline(args: &RunArgs, pipeline: &Pipeline) -> String {
    let models = ModelSource::find(args.pipeline.models.as_deref(), pipeline);
    let from = models.folder().map_or_else(|| "the program".to_owned(), |folder| folder.display().to_string());
    let mut text = format!("name: {}\ndefinition: {}\nmodels from: {from}\n", pipeline.name, pipeline.definition);
    for spec in &pipeline.detectors {
        let said = match models.load(pipeline, &spec.name) {
            Ok(model) => format!("version {}, format {}", model.version(), model.format_version),
            Err(error) => sentence(&error),
        };
        let _ = writeln!(text, "model {}: {said}", spec.name);
    }
    for spec in &pipeline.zscores {
        let _ = writeln!(text, "detector {}: needs no model", spec.name);
    }
    text
}

fn state_folder(path: &Path) -> String {
    match size(path) {
        Ok((files, bytes)) => format!("{}: {files} files, {}", path.display(), Size(bytes)),
        Err(error) => format!("{}: {error}", path.display()),
    }
}

/// How many files there are below a folder, and their bytes. Links are not followed.
fn size(folder: &Path) -> std::io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        let (more, larger) = if found.is_dir() { size(&entry.path())? } else { (1, found.len()) };
        files += more;
        bytes += larger;
    }
    Ok((files, bytes))
}

/// Whether somebody said where brokers are: nobody else is asked.
fn names_brokers(settings: &[&Setting]) -> bool {
    let names = ["brokers", "kafka-config"];
    settings.iter().any(|setting| names.contains(&setting.name.as_str()) && setting.source != Source::Default)
}

async fn of_kafka(args: &RunArgs, pipeline: &Arc<Pipeline>) -> Result<String> {
    let settings = kafka_settings(args)?;
    let topics = topics_of(&settings, pipeline, &args.group).await?;
    let mut text = format!("brokers: {}\n", settings.brokers);
    for state in check_topics(&settings, pipeline, &topics).await? {
        let partitions = state.partitions.map_or_else(|| "missing".to_owned(), |count| format!("{count} partitions"));
        let cleanup = state.cleanup.unwrap_or_else(|| "unknown".to_owned());
        let _ = writeln!(text, "topic {}: {partitions}, cleanup.policy {cleanup}", state.name);
    }
    match lag(&settings, &args.group, &topics).await {
        Ok(partitions) => {
            for PartitionLag { partition, committed, end } in partitions {
                let committed = committed.map_or_else(|| "nothing".to_owned(), |offset| offset.to_string());
                let _ = writeln!(text, "group {} in {} {partition}: {committed} of {end}", args.group, topics.input);
            }
        }
        Err(error) => {
            let _ = writeln!(text, "group {}: {}", args.group, sentence(&error));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_folder_is_that_of_all_files_below_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/c"), [0; 100]).unwrap();
        fs::write(folder.path().join("d"), [0; 20]).unwrap();
        assert_eq!(size(folder.path()).unwrap(), (2, 120));
        assert!(state_folder(&folder.path().join("none")).contains("No such file"));
    }

    #[test]
    fn brokers_are_asked_where_somebody_named_them() {
        let setting =
            |name: &str, source: Source| Setting { name: name.to_owned(), values: Vec::new(), is_list: false, source };
        let (default, typed) = (setting("brokers", Source::Default), setting("brokers", Source::CommandLine));
        let of_file = setting("kafka-config", Source::Environment("ATALAYA_KAFKA_CONFIG".to_owned()));
        assert!(!names_brokers(&[&default]) && names_brokers(&[&typed]) && names_brokers(&[&default, &of_file]));
    }

    #[test]
    fn a_section_is_indented() {
        let mut report = Report::default();
        report.section("a", "b\nc\n");
        assert_eq!(report.text, "a:\n  b\n  c\n\n");
    }
}
