//! Where values stand in the bytes of JSON that is known to be valid.

use std::ops::Range;

/// Each value in `json`, from its first byte to the end of `json`: those of the entries of objects and of the items of arrays,
/// at every depth, in the order in which they begin. The value that is `json` itself is not among them.
pub(super) fn values(json: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut scan = Scan::default();
    json.iter().enumerate().filter_map(move |(at, byte)| match scan.step(*byte) {
        Begins::Nothing => None,
        Begins::Item => Some(&json[at..]),
        Begins::Entry => Some(json[at + 1..].trim_ascii_start()),
    })
}

/// What begins at a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    Nothing,
    /// An item of an array, with this byte.
    Item,
    /// The value of an entry of an object, after this byte.
    Entry,
}

/// What is open at a byte.
#[derive(Debug, Default)]
struct Scan {
    in_text: bool,
    is_escaped: bool,
    /// One bit for each object or array that is open, the innermost last: whether it is an array. Nothing lies deeper than 127.
    arrays: u128,
    /// Whether an item comes next.
    expects_item: bool,
}

impl Scan {
    fn step(&mut self, byte: u8) -> Begins {
        if self.in_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return Begins::Nothing;
        }
        if byte.is_ascii_whitespace() {
            return Begins::Nothing;
        }
        let is_item = std::mem::take(&mut self.expects_item) && byte != b']';
        match byte {
            b'"' => self.in_text = true,
            b'{' => self.arrays <<= 1,
            b'[' => {
                self.arrays = self.arrays << 1 | 1;
                self.expects_item = true;
            }
            b'}' | b']' => self.arrays >>= 1,
            b',' => self.expects_item = self.arrays & 1 == 1,
            b':' => return Begins::Entry,
            _ => {}
        }
        if is_item { Begins::Item } else { Begins::Nothing }
    }
}

/// The value of the entry called `name` of an object that stands at `object` in `json`; the first one, and whether there is
/// another.
pub(super) fn entry(json: &[u8], object: Range<usize>, name: &str) -> Option<(Range<usize>, bool)> {
    let mut found = parts(json, object).filter(|(key, _)| is_called(&json[key.clone()], name));
    let (_, value) = found.next()?;
    Some((value, found.next().is_some()))
}

/// The items of an array that stands at `array` in `json`.
pub(super) fn items(json: &[u8], array: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    parts(json, array).map(|(_, item)| item)
}

/// Whether a key, with the quotes around it, is `name`.
fn is_called(key: &[u8], name: &str) -> bool {
    match key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")) {
        Some(key) if !key.contains(&b'\\') => key == name.as_bytes(),
        _ => serde_json::from_slice::<String>(key).is_ok_and(|key| key == name),
    }
}

/// Keys and values of an object, or items of an array with empty keys: where they stand in `json`.
fn parts(json: &[u8], whole: Range<usize>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let is_object = json.get(whole.start) == Some(&b'{');
    let mut at = whole.start + 1;
    std::iter::from_fn(move || {
        at = skip(json, at, b",");
        if at + 1 >= whole.end {
            return None;
        }
        let mut key = at..at;
        if is_object {
            key.end = end_of(json, at);
            at = skip(json, key.end, b":");
        }
        let value = at..end_of(json, at);
        at = value.end;
        Some((key, value))
    })
}

/// The first place from `at` on that is neither white space nor one of `signs`.
fn skip(json: &[u8], at: usize, signs: &[u8]) -> usize {
    let is_other = |byte: &u8| !byte.is_ascii_whitespace() && !signs.contains(byte);
    json[at..].iter().position(is_other).map_or(json.len(), |ahead| at + ahead)
}

/// Where the value that begins at `at` ends.
fn end_of(json: &[u8], at: usize) -> usize {
    let (mut depth, mut in_text, mut is_escaped) = (0usize, false, false);
    for (index, byte) in json.iter().enumerate().skip(at) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => {
                in_text = !in_text;
                if !in_text && depth == 0 {
                    return index + 1;
                }
            }
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return index + 1,
            // The end of what a number stands in.
            b'}' | b']' | b',' if depth == 0 => return index,
            b'}' | b']' => depth -= 1,
            _ if depth == 0 && byte.is_ascii_whitespace() => return index,
            _ => {}
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_begin_where_they_begin() {
        let json = br#"{"a:[": [1, [], [ "x]," , {"b":null}], -2.5e1], "c\"":{"d": true},"e":[{}]}"#;
        let begins: Vec<String> =
            values(json).map(|value| String::from_utf8_lossy(&value[..value.len().min(3)]).into_owned()).collect();
        assert_eq!(begins, ["[1,", "1, ", "[],", "[ \"", "\"x]", "{\"b", "nul", "-2.", "{\"d", "tru", "[{}", "{}]"]);
    }

    #[test]
    fn entries_and_items_are_found() {
        let json = br#" { "a" :1 , "b\u0063": "x}\"" ,"d":[ {"e":[1]},2 , null,"," ] , "a":{},"f":[]} "#;
        let text = |range: Range<usize>| std::str::from_utf8(&json[range]).unwrap();
        let whole = 1..json.len() - 1;
        let find = |name: &str| entry(json, whole.clone(), name).map(|(value, again)| (text(value), again));
        assert_eq!(find("a"), Some(("1", true)));
        assert_eq!(find("bc"), Some((r#""x}\"""#, false)));
        assert_eq!(find("e"), None);
        let array = |name: &str| entry(json, whole.clone(), name).unwrap().0;
        let found: Vec<&str> = items(json, array("d")).map(text).collect();
        assert_eq!(found, [r#"{"e":[1]}"#, "2", "null", "\",\""]);
        assert_eq!((items(json, array("f")).count(), items(b"[ ]", 0..3).count()), (0, 0));
        assert_eq!(items(b"[1]", 0..3).next(), Some(1..2));
    }
}
