//! Numbers as people write them in sentences.

/// From which size on a number is written with a power of ten.
const LARGE: f64 = 1e15;

/// A number that differs from a whole one by no more than this share of it is meant to be whole: it went through logarithms
/// or float32.
const WHOLE: f64 = 1e-6;

/// A number with as many digits as a reader needs: whole numbers in full, others with three digits.
pub(super) fn figure(value: f64) -> String {
    let whole = value.round();
    if value != 0.0 && (!value.is_finite() || value.abs() >= LARGE || value.abs() < 1e-4) {
        return format!("{value:.1e}");
    }
    if (value - whole).abs() <= WHOLE * value.abs().max(1.0) {
        return grouped(whole);
    }
    match value.abs() {
        // Where three digits are whole numbers, as many digits as there are before the point.
        size if size >= 1000.0 => {
            let unit = 10f64.powi(size.log10().floor() as i32 - 2);
            grouped((value / unit).round() * unit)
        }
        size if size >= 100.0 => grouped(whole),
        size if size >= 10.0 => trimmed(format!("{value:.1}")),
        size if size >= 1.0 => trimmed(format!("{value:.2}")),
        size => {
            // Two digits that say something.
            let digits = (1.0 - size.log10().floor()) as usize;
            trimmed(format!("{value:.digits$}"))
        }
    }
}

/// How many times one number is another, in words: `44 times`, `1.3 times`, `1/20 of`. `None` where nothing can be said, as
/// neither is above 0.
pub(super) fn times(value: f64, other: f64) -> Option<String> {
    if !(value > 0.0 && other > 0.0) {
        return None;
    }
    let ratio = value / other;
    Some(match ratio {
        _ if !ratio.is_finite() || ratio <= 0.0 => return None,
        ratio if ratio < 0.505 => format!("1/{} of", grouped((1.0 / ratio).min(LARGE).round())),
        ratio if ratio >= 10.0 => format!("{} times", figure(ratio.round())),
        ratio => format!("{} times", trimmed(format!("{ratio:.1}"))),
    })
}

/// The time of a day: `08:30`.
pub(super) fn clock(hour: f64) -> String {
    let minutes = (hour.rem_euclid(24.0) * 60.0).round() as u32 % (24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The day of a week, 0 for Monday.
pub(super) fn weekday(day: f64) -> &'static str {
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    DAYS[(day.round().rem_euclid(7.0) as usize).min(6)]
}

/// A whole number with a comma between thousands.
fn grouped(whole: f64) -> String {
    let digits = format!("{:.0}", whole.abs());
    let mut out = String::new();
    if whole < 0.0 && digits != "0" {
        out.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Without zeros at the end that say nothing.
fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Rounded to so many significant digits: more would only be noise to a reader.
pub(super) fn significant(value: f64, digits: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let factor = 10f64.powi(digits - 1 - value.abs().log10().floor() as i32);
    if factor.is_finite() { (value * factor).round() / factor } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_have_the_digits_that_a_reader_needs() {
        let pairs = [
            (4000.0, "4,000"),
            (74_214.0, "74,214"),
            (1_234_567.0, "1,234,567"),
            (0.0, "0"),
            (-0.0, "0"),
            (-12.0, "-12"),
            (5123.7, "5,120"),
            (141.256, "141"),
            (91.37, "91.4"),
            (12.5, "12.5"),
            (12.04, "12"),
            (3.104, "3.1"),
            (0.85, "0.85"),
            (0.0414, "0.041"),
            (6.999_999_9, "7"),
            (1e15, "1.0e15"),
            (-2.5e307, "-2.5e307"),
            (1e-9, "1.0e-9"),
            (999.96, "1,000"),
            (99.96, "100"),
            (9.996, "10"),
            (0.996, "1"),
            (1e6 + 0.2, "1,000,000"),
        ];
        for (value, text) in pairs {
            assert_eq!(figure(value), text, "{value}");
        }
    }

    #[test]
    fn numbers_for_readers_have_few_digits() {
        assert_eq!(significant(0.003_123_456, 4), 0.003_123);
        assert_eq!(significant(0.999_96, 4), 1.0);
        assert_eq!(significant(0.0, 4), 0.0);
    }

    #[test]
    fn times_are_said_in_words() {
        let of = |value: f64, other: f64| times(value, other).unwrap_or_default();
        assert_eq!(of(4000.0, 91.0), "44 times");
        assert_eq!(of(3.0, 2.0), "1.5 times");
        assert_eq!(of(1.0, 20.0), "1/20 of");
        assert_eq!(of(1.0, 1000.0), "1/1,000 of");
        assert_eq!(of(1e300, 1e-300), "");
        assert_eq!((of(0.0, 5.0), of(5.0, 0.0), of(-1.0, 1.0)), Default::default());
        assert_eq!(of(0.6, 1.0), "0.6 times");
    }

    #[test]
    fn hours_and_days_have_names() {
        assert_eq!([0.0, 8.5, 23.999, 24.0, -1.0].map(clock), ["00:00", "08:30", "00:00", "00:00", "23:00"]);
        assert_eq!([0.0, 5.6, 6.0].map(weekday), ["Monday", "Sunday", "Sunday"]);
    }

    proptest! {
        /// Nothing that a float can be breaks a sentence, and what is written is close to what is meant.
        #[test]
        fn a_figure_is_close_to_its_number(value in any::<f64>()) {
            let text = figure(value);
            prop_assert!(!text.is_empty() && text.len() < 24, "{}", text);
            if value.is_finite() {
                let read: f64 = text.replace(',', "").parse().unwrap();
                prop_assert!((read - value).abs() <= 0.051 * value.abs(), "{} for {}", text, value);
            }
            let _ = (times(value, 3.0), times(3.0, value), clock(value), weekday(value));
        }

        #[test]
        fn a_figure_of_a_common_size_is_closer(value in -1e9f64..1e9) {
            let read: f64 = figure(value).replace(',', "").parse().unwrap();
            prop_assert!((read - value).abs() <= 0.006 * value.abs().max(1.0), "{} for {}", figure(value), value);
        }
    }
}
