//! `scorer config show`: what the options of `run` are, and where each comes from.

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use configuration::{Setting, Source};
use serde_json::{Map, Value, json};

use super::console;

/// What a value is where the program decides.
const NONE: &str = "-";

pub(super) fn show(settings: &[Setting], is_json: bool) -> Result<()> {
    let settings = of_run(settings);
    if is_json {
        console::print_json(&as_json(&settings))?
    } else {
        console::print(table(&settings))?
    }
    Ok(())
}

/// The options of `run`, without those that only say how to show them.
pub(super) fn of_run(settings: &[Setting]) -> Vec<&Setting> {
    settings.iter().filter(|setting| setting.name != "json").collect()
}

/// One option on a line.
pub(super) fn line(setting: &Setting) -> String {
    format!("{} = {} ({})", setting.name, value(setting), setting.source)
}

fn table(settings: &[&Setting]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(["option", "value", "from"]);
    for setting in settings {
        table.add_row([setting.name.clone(), value(setting), setting.source.to_string()]);
    }
    table
}

fn value(setting: &Setting) -> String {
    if setting.values.is_empty() { NONE.to_owned() } else { setting.values.join(", ") }
}

fn as_json(settings: &[&Setting]) -> Value {
    let entry = |setting: &&Setting| {
        let value = match setting.values.as_slice() {
            values if setting.is_list => json!(values),
            [] => Value::Null,
            [value] => json!(value),
            values => json!(values),
        };
        let (source, place) = match &setting.source {
            Source::CommandLine => ("command_line", None),
            Source::Environment(variable) => ("environment", Some(variable.clone())),
            Source::File { name, key } => ("file", Some(format!("{name}: {key}"))),
            Source::Default => ("default", None),
        };
        (setting.name.clone(), json!({ "value": value, "source": source, "place": place }))
    };
    Value::Object(settings.iter().map(entry).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, values: &[&str], is_list: bool, source: Source) -> Setting {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Setting { name: name.to_owned(), values, is_list, source }
    }

    #[test]
    fn people_and_programs_see_value_and_source() {
        let of_file = Source::File { name: "scorer.toml".to_owned(), key: "run.group".to_owned() };
        let settings = [
            setting("brokers", &["a:1"], false, Source::Environment("ATALAYA_BROKERS".to_owned())),
            setting("kafka-property", &["a=***", "b=***"], true, Source::CommandLine),
            setting("group", &["g"], false, of_file),
            setting("threads", &[], false, Source::Default),
            setting("json", &["true"], false, Source::CommandLine),
        ];
        let of_run = of_run(&settings);
        assert_eq!(
            of_run.iter().map(|setting| line(setting)).collect::<Vec<_>>(),
            [
                "brokers = a:1 (environment ATALAYA_BROKERS)",
                "kafka-property = a=***, b=*** (command line)",
                "group = g (scorer.toml: run.group)",
                "threads = - (default)",
            ]
        );
        let shown = table(&of_run).to_string();
        assert!(shown.contains("environment ATALAYA_BROKERS") && shown.contains("scorer.toml: run.group"), "{shown}");
        assert_eq!(
            as_json(&of_run),
            json!({
                "brokers": { "value": "a:1", "source": "environment", "place": "ATALAYA_BROKERS" },
                "kafka-property": { "value": ["a=***", "b=***"], "source": "command_line", "place": null },
                "group": { "value": "g", "source": "file", "place": "scorer.toml: run.group" },
                "threads": { "value": null, "source": "default", "place": null },
            })
        );
    }
}
