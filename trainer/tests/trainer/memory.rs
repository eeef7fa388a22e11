//! How little memory a training needs, and that what it makes does not depend on it.

use std::sync::Arc;

use shared::device::{DeviceRequest, choose};
use shared::pipeline::Pipeline;
use trainer::entities::Grouping;
use trainer::fit::{Trained, TrainingSet};
use trainer::load::{LINES_A_CHUNK, load};
use trainer::memory::Plan;
use trainer::progress::Progress;

use crate::fixtures::{Workplace, csv, invoices};

#[test]
fn too_little_memory_is_an_error_that_names_the_smallest_size_that_does() {
    let workplace = Workplace::with_history(&invoices(60));
    let run = workplace.train("history.csv", &["--max-memory", "1MiB"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let wanted = "error: --max-memory 1 MiB is too little for this history, whose 60 entities need ";
    assert!(run.stderr.starts_with(wanted) && run.stderr.lines().count() == 1, "{}", run.stderr);
    assert!(!workplace.path("models").exists());
    let smallest = run.stderr.split("use --max-memory ").nth(1).unwrap().split(' ').next().unwrap();
    let run = workplace.train("history.csv", &["--max-memory", smallest]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let small = workplace.model("kmeans");
    assert_eq!(workplace.train("history.csv", &["--max-memory", "100GiB"]).code, Some(0));
    assert_eq!(workplace.model("kmeans"), small);
}

#[cfg(target_os = "linux")]
#[test]
fn the_closing_table_tells_the_peak_memory() {
    let run = Workplace::with_history(&invoices(60)).train("history.csv", &[]);
    let line = run.stdout.lines().find(|line| line.starts_with(" peak memory: ")).unwrap();
    assert!(line.ends_with(" MiB"), "{line}");
}

#[test]
fn scaled_rows_in_a_file_and_few_runs_at_a_time_give_the_same_model() {
    let workplace = Workplace::with_history(&invoices(300));
    let pipeline = Arc::new(Pipeline::load("invoices").unwrap());
    let mut grouping = Grouping::new(&pipeline);
    let take = &mut |lines, _| Ok(grouping.add(lines)?);
    load(&pipeline, &[workplace.path("history.csv")], Progress { quiet: true }, take).unwrap();
    let features = grouping.finish().unwrap().features;
    let device = choose(DeviceRequest::Cpu).unwrap();
    let trained = |plan: Plan| -> Vec<Trained> {
        let set = TrainingSet::new(&pipeline, &features, &device, 42, plan);
        pipeline.detectors.iter().map(|spec| set.score(set.fit(spec, &|| {}).unwrap()).unwrap()).collect()
    };
    let roomy = trained(Plan::default());
    let tight = trained(Plan { row_bytes: Some(0), state_bytes: Some(1) });
    for (roomy, tight) in roomy.iter().zip(&tight) {
        assert_eq!(roomy.model, tight.model);
        assert_eq!(roomy.scores, tight.scores);
    }
}

/// Chunks end at the same lines whatever files they are in, so sums are the same to the last bit.
#[test]
fn chunks_do_not_depend_on_files() {
    let lines: String =
        (0..LINES_A_CHUNK + 100).map(|n| format!("{},s,d,1,3/1/2010 8:00,0.{n},c,UK\n", n % 7)).collect();
    let workplace = Workplace::with_history(&lines);
    let middle = lines.match_indices('\n').nth(LINES_A_CHUNK / 3).unwrap().0 + 1;
    workplace.write("a.csv", &csv(&lines[..middle]));
    workplace.write("b.csv", &csv(&lines[middle..]));
    let pipeline = Arc::new(Pipeline::load("invoices").unwrap());
    let grouped = [vec!["history.csv"], vec!["a.csv", "b.csv"]].map(|names| {
        let files: Vec<_> = names.iter().map(|name| workplace.path(name)).collect();
        let (mut grouping, mut heights) = (Grouping::new(&pipeline), Vec::new());
        let loaded = load(&pipeline, &files, Progress { quiet: true }, &mut |lines, share| {
            heights.push((lines.height(), share > 0.5 && share <= 1.0));
            Ok(grouping.add(lines)?)
        });
        assert_eq!(loaded.unwrap().n_lines, LINES_A_CHUNK as u64 + 100);
        assert_eq!(heights, [(LINES_A_CHUNK, true), (100, true)]);
        grouping.finish().unwrap()
    });
    assert_eq!(grouped[0].features, grouped[1].features);
    assert_eq!(grouped[0].keys.len(), 7);
}
