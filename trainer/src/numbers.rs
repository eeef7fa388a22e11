//! Numbers as people read them.

pub use shared::text::grouped;

/// About five significant digits, with the whole part in groups of three: `74,215`, `3.1274`, `0.00041230`.
pub fn short(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        return "0".to_owned();
    }
    if !number.is_finite() || !(1e-6..1e15).contains(&size) {
        return format!("{number:.4e}");
    }
    let decimals = (4 - size.log10().floor() as i32).max(0) as usize;
    let text = format!("{size:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), grouped);
    let fraction = fraction.trim_end_matches('0');
    let sign = if number < 0.0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

/// A share as a percentage: `1.00%`.
pub fn percentage(part: usize, whole: usize) -> String {
    format!("{:.2}%", 100.0 * part as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_digits_are_enough() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (3.127_44, "3.1274"),
            (-53_594.36, "-53,594"),
            (0.000_412_3, "0.0004123"),
            (74_215.0, "74,215"),
            (25_089.93, "25,090"),
            (1e300, "1.0000e300"),
        ];
        for (number, expected) in cases {
            assert_eq!(short(number), expected);
        }
    }
}
