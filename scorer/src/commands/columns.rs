//! How wide texts are on a terminal, and how they fit there.

use std::io::stdout;

use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthChar;

/// Columns that lines are kept to. A terminal that is wider would only make them harder to read.
pub(super) const WIDTH: usize = 100;

/// Columns that a line needs to say anything.
const LEAST: usize = 60;

/// Columns that lines on standard output are kept to: of a narrow terminal, its own.
pub(super) fn of_output() -> usize {
    terminal_size_of(stdout()).map_or(WIDTH, |(Width(columns), _)| usize::from(columns).clamp(LEAST, WIDTH))
}

/// How many columns a text takes at most. Characters that are put together to one, such as some emoji, take fewer.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    match c {
        // It makes an emoji, which is wide, of the character before it.
        '\u{fe0f}' => 1,
        c => c.width().unwrap_or(0),
    }
}

/// A line, cut where it is wider.
pub(super) fn cut(line: &str, width: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let mut taken = 0;
    let fits = |c: &char| {
        taken += columns_of(*c);
        taken < width
    };
    let kept: String = line.chars().take_while(fits).collect();
    format!("{kept}…")
}

/// A text with spaces behind it up to this width; one that is wider as it is.
pub(super) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// A text in lines of at most `width` columns, as far as its words allow.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    lines.join("\n")
}

/// The same with so many spaces before each line, and no line wider than `width`: a word that is, is cut.
pub(super) fn indented(text: &str, indent: usize, width: usize) -> String {
    let within = width.saturating_sub(indent);
    let line = |line: &str| format!("{}{}", " ".repeat(indent), cut(line, within));
    wrapped(text, within).lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn lines_are_as_wide_as_a_terminal() {
        let text = "word ".repeat(50);
        let lines = wrapped(&text, WIDTH);
        assert!(lines.lines().all(|line| line.len() <= WIDTH) && lines.lines().count() == 3, "{lines}");
        assert_eq!(lines.split_whitespace().count(), 50);
        assert_eq!(cut(&"é".repeat(120), WIDTH).chars().count(), WIDTH);
        assert_eq!(
            (cut("short", WIDTH), cut("日本語", 6), cut("日本語", 5)),
            ("short".into(), "日本語".into(), "日本…".into())
        );
        assert_eq!((padded("日本", 6), padded("abcdef", 3)), ("日本  ".to_owned(), "abcdef".to_owned()));
        assert_eq!(indented("one two three", 2, 9), "  one two\n  three");
    }

    proptest! {
        /// Nothing is wider on a terminal than was asked for, by the measure of a whole text, and what fits is not cut.
        #[test]
        fn no_line_is_too_wide(text in "(\\PC|[a-z ]|\u{fe0f}|日|🙂|e\u{301}){0,80}", width in 1usize..60, indent in 0usize..9) {
            prop_assert!(cut(&text, width).width() <= width);
            prop_assert!(text.width() <= columns(&text));
            prop_assert_eq!(cut(&text, columns(&text)), text.clone());
            prop_assert!(padded(&text, width).width() <= columns(&text).max(width));
            for line in indented(&text, indent, indent + width).lines() {
                prop_assert!(line.width() <= indent + width, "{:?}", line);
            }
        }
    }
}
