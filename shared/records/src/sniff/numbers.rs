//! How numbers are written in CSV: which mark stands before the fraction, and what between groups of digits.

use super::{About, Doubt};
use crate::dialect::NumberStyle;

/// The share of the texts of a column that must be numbers.
const MOST: f64 = 0.98;

const fn style(decimal: char, thousands: Option<char>) -> NumberStyle {
    NumberStyle { decimal, thousands, currency_signs: false }
}

/// The ways to write numbers, of which an earlier one is taken where both fit.
const STYLES: [NumberStyle; 8] = [
    style('.', None),
    style('.', Some(',')),
    style(',', None),
    style(',', Some('.')),
    style(',', Some(' ')),
    style('.', Some(' ')),
    style('.', Some('\'')),
    style('.', Some('\u{2019}')),
];

/// The style in which most columns are numbers; `columns` are the texts of each, without those that stand for nothing.
pub(super) fn style_of(columns: &[Vec<&str>], delimiter: u8, doubts: &mut Vec<Doubt>) -> NumberStyle {
    let columns: Vec<&Vec<&str>> = columns.iter().filter(|texts| looks_numeric(texts)).collect();
    let with_signs = |style: NumberStyle| [style, NumberStyle { currency_signs: true, ..style }];
    let count = |style: NumberStyle| columns.iter().filter(|texts| is_numeric(style, texts)).count();
    let mut counted = STYLES.into_iter().flat_map(with_signs).map(|style| (style, count(style)));
    let Some(mut best) = counted.next() else { return NumberStyle::PLAIN };
    for (style, columns) in counted {
        // Signs of currencies cost nothing, and are taken only where they are needed.
        if columns > best.1 {
            best = (style, columns);
        }
    }
    let commas = NumberStyle { decimal: ',', thousands: None, ..best.0 };
    if (best.0.decimal, best.0.thousands) == ('.', Some(',')) && count(commas) == best.1 {
        let is_european = matches!(delimiter, b';' | b'\t');
        let example = columns.iter().copied().flatten().find(|text| text.contains(',')).copied().unwrap_or("1,234");
        let (what, why) = if is_european {
            ("a decimal comma", "fields are not separated by commas")
        } else {
            ("between thousands", "three digits follow it everywhere")
        };
        let text =
            format!("the comma in numbers such as `{example}` is read as {what}, because {why}; it may be otherwise");
        doubts.push(Doubt::new(About::Input, text));
        return if is_european { commas } else { best.0 };
    }
    best.0
}

/// Whether these texts are numbers in this style.
pub(super) fn is_numeric(style: NumberStyle, texts: &[&str]) -> bool {
    let numbers = texts.iter().filter(|text| number(style, text).is_some()).count();
    !texts.is_empty() && numbers as f64 >= MOST * texts.len() as f64
}

/// The finite number that a text is.
pub(super) fn number(style: NumberStyle, text: &str) -> Option<f64> {
    // Neither `inf` nor `nan`.
    let is_word = text.chars().any(|c| c.is_alphabetic() && !matches!(c, 'e' | 'E'));
    style.float(text).filter(|number| number.is_finite() && !is_word)
}

/// Whether most texts have digits and nothing but what stands in numbers.
fn looks_numeric(texts: &[&str]) -> bool {
    let looks = |text: &&&str| {
        text.bytes().any(|byte| byte.is_ascii_digit())
            && !text.chars().any(|c| c.is_alphabetic() && !matches!(c, 'e' | 'E'))
    };
    !texts.is_empty() && texts.iter().filter(looks).count() as f64 >= 0.8 * texts.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(texts: &[&str], delimiter: u8) -> (NumberStyle, usize) {
        let mut doubts = Vec::new();
        (style_of(&[texts.to_vec()], delimiter, &mut doubts), doubts.len())
    }

    #[test]
    fn the_style_is_the_one_that_fits() {
        let signs = |style: NumberStyle| NumberStyle { currency_signs: true, ..style };
        for (texts, expected) in [
            (&["1", "2.5", "-3e4"][..], STYLES[0]),
            (&["1,234.50", "2.5"], STYLES[1]),
            (&["2,55", "1"], STYLES[2]),
            (&["1.234,50", "2,5"], STYLES[3]),
            (&["1 234,50", "2,5"], STYLES[4]),
            (&["1'234.50", "2.5"], STYLES[6]),
            (&["£1,234.50", "£2"], signs(STYLES[1])),
            (&["1.234,50 €", "2,00 €"], signs(STYLES[3])),
            (&["$2.50"], signs(STYLES[0])),
            (&["01.12.2010"], STYLES[0]),
            (&["a", "b"], STYLES[0]),
            (&[], STYLES[0]),
        ] {
            assert_eq!(told(texts, b';'), (expected, 0), "{texts:?}");
        }
    }

    #[test]
    fn what_fits_twice_is_said() {
        assert_eq!(told(&["1,234", "5,678"], b','), (STYLES[1], 1));
        assert_eq!(told(&["1,234", "5,678"], b';'), (STYLES[2], 1));
    }
}
