//! The documents of the repository: what links lead to, what the book has, what pages must name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use shared::detectors::Algorithm;

use crate::repository;

/// Most words of the README: it answers what somebody new asks, and the book has the rest.
const MOST_WORDS: usize = 900;

/// All Markdown files, by their paths in the repository.
fn documents() -> Vec<PathBuf> {
    let root = repository();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() && !name.starts_with('.') && name != "target" && name != "vendor" {
                folders.push(path);
            } else if path.is_file() && name.ends_with(".md") {
                found.push(path.strip_prefix(&root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(document: &Path) -> String {
    fs::read_to_string(repository().join(document)).unwrap()
}

/// A text without its blocks of code.
fn without_blocks(text: &str) -> String {
    let mut is_code = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// What links and pictures of a text lead to. Code has none; a backtick without a partner ends with its paragraph.
fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for paragraph in without_blocks(text).split("\n\n") {
        let prose: String = paragraph.split('`').step_by(2).collect();
        for after in prose.split("](").skip(1) {
            let target = after.split([')', ' ', '\n']).next().unwrap_or_default();
            targets.push(target.to_owned());
        }
    }
    targets
}

/// The anchors of a page, as code hosts and mdBook make them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in without_blocks(text).lines() {
        let hashes = line.len() - line.trim_start_matches('#').len();
        if let (1..=6, Some(heading)) = (hashes, line[hashes..].strip_prefix(' ')) {
            let slug = slug(heading.trim());
            let mut name = slug.clone();
            let mut n = 0;
            while !anchors.insert(name) {
                n += 1;
                name = format!("{slug}-{n}");
            }
        }
        for after in line.split("<a id=\"").skip(1) {
            anchors.extend(after.split('"').next().map(str::to_owned));
        }
    }
    anchors
}

fn slug(heading: &str) -> String {
    let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.chars().filter(is_kept).flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// A path without `.` and `..`; none where it leaves the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    Some(normal)
}

/// What is wrong with a link of a document; nothing where it leads somewhere, or to another site.
fn problem(document: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let place = match path {
        "" => Some(document.to_owned()),
        path => normal(&document.parent().unwrap_or(Path::new("")).join(path)),
    };
    let Some(place) = place.filter(|place| repository().join(place).exists()) else {
        return Some(format!("{}: there is no {target}", document.display()));
    };
    // The book has the pages of `docs` and nothing else.
    if document.starts_with("docs") && !place.starts_with("docs") {
        return Some(format!("{}: {target} is no page of the book: name the file without a link", document.display()));
    }
    let is_missing = !anchor.is_empty() && !anchors(&read(&place)).contains(anchor);
    is_missing.then(|| format!("{}: {} has no heading for #{anchor}", document.display(), place.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    assert!(documents.len() > 30, "{documents:?}");
    let mut n_links = 0;
    let mut problems = Vec::new();
    for document in &documents {
        for target in targets(&read(document)) {
            n_links += 1;
            problems.extend(problem(document, &target));
        }
    }
    assert!(n_links > 200, "{n_links} links");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn links_that_lead_nowhere_are_noticed() {
    let readme = Path::new("README.md");
    let page = Path::new("docs/concepts.md");
    assert_eq!(problem(readme, "docs/concepts.md#sessions"), None);
    assert_eq!(problem(page, "#sessions"), None);
    assert_eq!(problem(page, "https://example.org/nowhere"), None);
    assert!(problem(readme, "docs/concepts.md#no-such-heading").unwrap().contains("#no-such-heading"));
    assert!(problem(readme, "docs/no-such-page.md").unwrap().contains("no-such-page"));
    assert!(problem(readme, "docs/no-such-picture.png").is_some());
    assert!(problem(readme, "../outside.md").is_some());
    assert!(problem(page, "../README.md").unwrap().contains("no page of the book"));
}

#[test]
fn code_has_neither_links_nor_headings() {
    let text = "# A `b` c, d\n\n[x](one.md) and `[y](two.md)`\n\n```sh\n# no heading\n[z](three.md)\n```\n\n## Twice\n\
                ## Twice\n![p](four.png \"title\")\n";
    assert_eq!(targets(text), ["one.md", "four.png"]);
    let expected = ["a-b-c-d", "twice", "twice-1"].map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
    assert_eq!(slug("When: `[[alerts]]`"), "when-alerts");
    assert_eq!(slug("Démonstration"), "démonstration");
}

#[test]
fn every_page_is_in_the_book_once() {
    let mut listed = targets(&read(Path::new("docs/SUMMARY.md")));
    listed.sort();
    let pages: Vec<String> = documents()
        .iter()
        .filter_map(|document| Some(document.strip_prefix("docs").ok()?.to_str()?.to_owned()))
        .filter(|page| page != "SUMMARY.md")
        .collect();
    assert_eq!(listed, pages, "docs/SUMMARY.md lists the pages of docs");
}

#[test]
fn the_readme_is_short() {
    let n_words = read(Path::new("README.md")).split_whitespace().count();
    assert!(n_words <= MOST_WORDS, "README.md has {n_words} words, more than {MOST_WORDS}: move some into docs");
}

/// Whoever is woken by an alert finds what to do.
#[test]
fn every_alert_rule_has_a_runbook() {
    let rules = fs::read_to_string(repository().join("docs/monitoring/alerts.yml")).unwrap();
    let names: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 15, "{names:?}");
    let page = read(Path::new("docs/tutorial-sre.md"));
    let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let missing: Vec<_> = names.iter().filter(|name| !headings.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/tutorial-sre.md has no runbook for {missing:?}");
}

#[test]
fn every_algorithm_is_on_the_page_of_detectors() {
    let page = read(Path::new("docs/detectors.md"));
    let names = Algorithm::NAMES.iter().chain(Algorithm::LABELLED_NAMES);
    let missing: Vec<_> = names.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/detectors.md does not name {missing:?}");
}
