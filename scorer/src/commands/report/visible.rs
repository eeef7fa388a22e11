//! Texts of records on a page: what would not be seen, or would reorder what stands beside it, is shown. It is what the
//! window does (`visible` in its `dom.js`).

use serde_json::Value;

/// A text with every hidden character shown.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => shown.push('\u{2421}'),
            c if is_hidden(c) => shown += &format!("\u{2039}U+{:04X}\u{203a}", u32::from(c)),
            c => shown.push(c),
        }
    }
    shown
}

fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

/// The same of all texts in a value.
pub(super) fn make_visible(value: &mut Value) {
    match value {
        Value::String(text) => *text = visible(text),
        Value::Array(values) => values.iter_mut().for_each(make_visible),
        Value::Object(values) => values.values_mut().for_each(make_visible),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_shown_as_in_the_window() {
        assert_eq!(visible("Müller 日本 🙂 <b>"), "Müller 日本 🙂 <b>");
        assert_eq!(visible("a\u{1b}[2J\r\n\u{7f}\u{9b}"), "a␛[2J␍␊␡‹U+009B›");
        assert_eq!(visible("\u{202e}moc\u{2066}\u{feff}\u{ad}"), "‹U+202E›moc‹U+2066›‹U+FEFF›‹U+00AD›");
    }
}
