//! `trainer devices`: what there is to compute on.

use shared::device::{DeviceReport, Survey};

use crate::table::TextTable;

/// What `trainer devices --help` says first.
pub const LONG_ABOUT: &str = "\
Lists the devices of this machine: what `--device` calls them, what they are, their drivers, the largest array that they take, and \
what was measured on them. `points/s` are the points, of 8 features and with 20 clusters, that a pass of k-means assigns in a second. \
`copy` is the rate at which memory is read and written.

If no GPU is seen, it says what is missing on the way to it, and what to install. It takes some seconds.";

/// Longest name and longest driver that are shown whole.
const LONGEST: [usize; 2] = [25, 22];

/// The devices as a table, or as JSON.
///
/// # Errors
/// When they cannot be written as JSON.
pub fn devices(is_json: bool) -> anyhow::Result<String> {
    let survey = Survey::take();
    if is_json { Ok(serde_json::to_string_pretty(&survey)? + "\n") } else { Ok(table(&survey)) }
}

fn table(survey: &Survey) -> String {
    let mut table = TextTable::new(4, &["device", "kind", "name", "driver", "array", "points/s", "copy"]).narrow();
    for device in &survey.devices {
        table.row(row(device));
    }
    let problems = survey.devices.iter().filter_map(|device| device.problem.as_ref());
    let no_gpu = survey.why_no_gpu.iter().map(|why| format!("no GPU is seen: {why}"));
    let notes = problems.cloned().chain(no_gpu).chain([survey.rule.to_owned()]);
    notes.fold(table.render(), |shown, note| shown + "\n" + &wrapped(&note))
}

fn row(device: &DeviceReport) -> [String; 7] {
    let array = match (device.max_binding_bytes, device.max_buffer_bytes) {
        (Some(binding), Some(buffer)) => binary(binding.min(buffer)),
        _ => "-".to_owned(),
    };
    let driver = device.driver.as_deref().unwrap_or("-");
    let measured = |show: fn(f64) -> String, value: Option<f64>| value.map_or_else(|| "-".to_owned(), show);
    [
        device.device.clone(),
        device.class.to_string(),
        shortened(&device.name, LONGEST[0]),
        shortened(driver, LONGEST[1]),
        array,
        measured(|rate| decimal(rate, ""), device.measured.map(|measured| measured.points_per_second)),
        measured(|rate| decimal(rate, "B/s"), device.measured.map(|measured| measured.copied_bytes_per_second)),
    ]
}

fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

/// Bytes with a unit: `128 MiB`, `80 GiB`.
fn binary(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), units[unit])
}

/// A number with a prefix and a unit: `612 M`, `1.51 TB/s`.
fn decimal(value: f64, unit: &str) -> String {
    let (mut value, mut prefix) = (value, 0);
    let prefixes = ["", "k", "M", "G", "T", "P"];
    while value >= 999.5 && prefix + 1 < prefixes.len() {
        value /= 1000.0;
        prefix += 1;
    }
    format!("{} {}{unit}", three_digits(value), prefixes[prefix]).trim_end().to_owned()
}

fn three_digits(value: f64) -> String {
    match value {
        value if value.fract() == 0.0 || value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Lines of at most 100 characters.
fn wrapped(text: &str) -> String {
    let (mut lines, mut length) = (String::new(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        let separator = match length {
            0 => "",
            length if length + 1 + width <= 100 => " ",
            _ => "\n",
        };
        length = if separator == "\n" { width } else { length + separator.len() + width };
        lines.push_str(separator);
        lines.push_str(word);
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use shared::device::{AUTO_RULE, DeviceClass, Measured};

    use super::*;

    fn device(device: &str, class: DeviceClass, name: &str) -> DeviceReport {
        DeviceReport {
            device: device.to_owned(),
            class,
            name: name.to_owned(),
            driver: None,
            max_buffer_bytes: None,
            max_binding_bytes: None,
            measured: Some(Measured { points_per_second: 2.79e8, copied_bytes_per_second: 12.34e9 }),
            problem: None,
        }
    }

    #[test]
    fn the_table_tells_all_within_100_columns() {
        let gpu = DeviceReport {
            driver: Some("NVIDIA 580.159.04 and much more of it".to_owned()),
            max_buffer_bytes: Some(1 << 50),
            max_binding_bytes: Some(u64::from(u32::MAX) + 1),
            ..device("gpu:0", DeviceClass::Discrete, "NVIDIA H100 80GB HBM3 with a longer name than most")
        };
        let lost = DeviceReport {
            measured: None,
            problem: Some(format!("device `gpu:1` failed: {}", "out of memory ".repeat(20).trim_end())),
            ..device("gpu:1", DeviceClass::Integrated, "")
        };
        let cpu = device("cpu", DeviceClass::Cpu, "cpu (flex)");
        let survey =
            Survey { devices: vec![cpu, gpu, lost], why_no_gpu: Some("no loader".to_owned()), rule: AUTO_RULE };
        let shown = table(&survey);
        for wanted in
            ["cpu (flex)", "279 M", "12.3 GB/s", "discrete", "4 GiB", "NVIDIA H100", "no GPU is seen: no loader"]
        {
            assert!(shown.contains(wanted), "`{wanted}` is missing in\n{shown}");
        }
        assert!(shown.contains("device `gpu:1` failed: out of memory"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 100 && line.trim_end() == line), "{shown}");
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [1.5e12, 999.6, 42.0, 0.0, 9.999e7].map(|value| decimal(value, "B/s"));
        assert_eq!(shown, ["1.50 TB/s", "1.00 kB/s", "42 B/s", "0 B/s", "100 MB/s"]);
        assert_eq!([1023, 1 << 27, 3 << 29].map(binary), ["1023 B", "128 MiB", "1.50 GiB"]);
    }
}
