//! Pipeline files that people or programs have damaged: each is read, or refused in words.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use records::text::sentence;

use super::*;

/// Values that somebody may write where others belong.
const VALUES: [&str; 36] = [
    "",
    "0",
    "1",
    "-1",
    "0.0",
    "-0.0",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "1e-320",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "true",
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"\\u202e\"",
    "\"🦀\"",
    "\"a b\"",
    "\"a:int?\"",
    "\"sum()\"",
    "\"sum(((((a))))) * -\"",
    "\"100000d\"",
    "\"0s\"",
    "\"%\"",
    "\"[0]\"",
    "[]",
    "[[]]",
    "[0]",
    "[\"\"]",
    "[\"a\", \"a\"]",
    "{}",
    "{ a = {} }",
    "1979-05-27",
];

/// What is done to one line.
#[derive(Debug, Clone)]
enum Damage {
    Value(&'static str),
    Drop,
    Twice,
    Cut(Index),
    Insert(Index, String),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => select(&VALUES[..]).prop_map(Damage::Value),
        1 => Just(Damage::Drop),
        1 => Just(Damage::Twice),
        1 => any::<Index>().prop_map(Damage::Cut),
        2 => (any::<Index>(), "[\\[\\]{}\"'=.,#a-z0-9\\\\\u{80}-\u{ff} -]{1,4}").prop_map(|(at, text)| Damage::Insert(at, text)),
    ]
}

/// The place of a character of `line`, or its end.
fn place(line: &str, index: Index) -> usize {
    let places: Vec<usize> = line.char_indices().map(|(place, _)| place).chain([line.len()]).collect();
    *index.get(&places)
}

fn damaged(line: &str, damage: &Damage) -> Option<String> {
    Some(match damage {
        Damage::Value(value) => match line.split_once('=') {
            Some((key, _)) => format!("{key}= {value}"),
            None => format!("{line}\nkey = {value}"),
        },
        Damage::Drop => return None,
        Damage::Twice => format!("{line}\n{line}"),
        Damage::Cut(index) => line[..place(line, *index)].to_owned(),
        Damage::Insert(index, text) => {
            let (before, after) = line.split_at(place(line, *index));
            format!("{before}{text}{after}")
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_damage_makes_the_reader_panic(
        file in select(&PIPELINES[..]),
        damages in prop::collection::vec((any::<Index>(), damage()), 1..4),
    ) {
        let mut lines: Vec<Option<String>> = file.text.lines().map(|line| Some(line.to_owned())).collect();
        let meant: Vec<usize> = (0..lines.len())
            .filter(|&line| lines[line].as_ref().is_some_and(|line| !line.starts_with('#') && !line.trim().is_empty()))
            .collect();
        for (line, damage) in &damages {
            let line = &mut lines[*line.get(&meant)];
            *line = line.as_deref().and_then(|line| damaged(line, damage));
        }
        let text = lines.into_iter().flatten().collect::<Vec<String>>().join("\n");
        match Pipeline::parse(&text, "test.toml") {
            Ok(pipeline) => {
                // What is accepted can be worked with.
                prop_assert!(pipeline.n_features() > 0);
                prop_assert_eq!(pipeline.feature_names().len(), pipeline.n_features());
                prop_assert!(!pipeline.state_layout().is_empty());
                prop_assert!(!pipeline.output_topics().is_empty());
            }
            Err(error) => {
                let said = sentence(&error);
                prop_assert!(said.contains("test.toml"), "{said} says where");
                prop_assert!(!said.contains(['\0', '\u{202e}']), "{said} can be shown");
            }
        }
    }
}
