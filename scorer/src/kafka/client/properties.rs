//! Settings in a file, in the form of Java's `.properties`, which Kafka's own clients read.
//!
//! A line is `key=value` or `key: value`. One that begins with `#` or `!` says nothing, and one that ends with `\` goes on in
//! the next. A `\` before another character stands for that character, so a backslash is written `\\`.

use std::path::Path;

/// The keys and values in a text, in order.
///
/// # Errors
/// The number of a line that is none of these, without the line: it may be a secret.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut properties = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        while goes_on(&whole) {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            whole.push_str(next.trim());
        }
        let property = key_and_value(&whole).ok_or_else(|| format!("line {number} is not key=value"))?;
        properties.push(property);
    }
    Ok(properties)
}

/// Whether the last character escapes the end of the line.
fn goes_on(line: &str) -> bool {
    let backslashes = line.chars().rev().take_while(|c| *c == '\\').count();
    backslashes % 2 == 1
}

fn key_and_value(line: &str) -> Option<(String, String)> {
    let mut is_escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        let is_end = matches!(c, '=' | ':') && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_end
    })?;
    let (key, value) = (line[..end.0].trim(), line[end.0 + 1..].trim());
    (!key.is_empty()).then(|| (unescaped(key), unescaped(value)))
}

fn unescaped(text: &str) -> String {
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        out.push(match escaped {
            None if c == '\\' => continue,
            None => c,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('f') => '\u{c}',
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                code.unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some(other) => other,
        });
    }
    out
}

/// Looks up what a setting refers to.
pub(super) struct Lookup<'a> {
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Lookup<'_> {
    /// The value with what it refers to in its place: `${env:NAME}` is a variable of the environment, `${file:PATH}` the first
    /// line of a file, and `${file:PATH:KEY}` a key of a file like this one.
    ///
    /// # Errors
    /// What cannot be looked up, without the value.
    pub(super) fn resolve(&self, value: &str) -> Result<String, String> {
        let (mut out, mut rest) = (String::with_capacity(value.len()), value);
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else { break };
            let reference = &rest[start + 2..start + length];
            out.push_str(&rest[..start]);
            match reference.split_once(':') {
                Some(("env", name)) => out.push_str(
                    &(self.variable)(name).ok_or_else(|| format!("there is no variable {name} in the environment"))?,
                ),
                Some(("file", path)) => out.push_str(&of_file(path)?),
                _ => out.push_str(&rest[start..=start + length]),
            }
            rest = &rest[start + length + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

fn of_file(reference: &str) -> Result<String, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    match reference.rsplit_once(':').filter(|_| !Path::new(reference).exists()) {
        None => Ok(read(reference)?.lines().next().unwrap_or_default().to_owned()),
        Some((path, key)) => {
            let properties = parse(&read(path)?).map_err(|problem| format!("{path}: {problem}"))?;
            let found = properties.into_iter().rev().find(|(name, _)| name == key).map(|(_, value)| value);
            found.ok_or_else(|| format!("{path} has no key `{key}`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_java_reads_it() {
        let text = "# of the bank\n! and this\n\nsecurity.protocol = SASL_SSL\nsasl.mechanism:PLAIN\n\
            sasl.jaas.config=a.b.PlainLoginModule required \\\n    username=\"u\" \\\n    password=\"p=#\\\\:1\";\n\
            empty=\nodd\\=key=\\u00e9\\t\\q\r\nlast=a\\\\\nend=1\\";
        let expected = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.jaas.config", "a.b.PlainLoginModule required username=\"u\" password=\"p=#\\:1\";"),
            ("empty", ""),
            ("odd=key", "é\tq"),
            ("last", "a\\"),
            ("end", "1"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(parse(text).unwrap(), expected);
        for bad in ["GEHEIM1", "=GEHEIM1", " : GEHEIM1"] {
            assert_eq!(parse(&format!("a=b\n\n{bad}\n")).unwrap_err(), "line 3 is not key=value");
        }
    }

    #[test]
    fn values_come_from_the_environment_and_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, more) = (folder.path().join("secret"), folder.path().join("more"));
        std::fs::write(&secret, "geheim\nsecond line\n").unwrap();
        std::fs::write(&more, "user=u\npassword=p\\:q\n").unwrap();
        let lookup = Lookup { variable: &|name: &str| (name == "PASSWORD").then(|| "of the environment".to_owned()) };
        let (secret, more) = (secret.display(), more.display());
        let resolved = |value: &str| lookup.resolve(value);
        assert_eq!(resolved("plain $x ${other:a} ${open").unwrap(), "plain $x ${other:a} ${open");
        assert_eq!(resolved("<${env:PASSWORD}>").unwrap(), "<of the environment>");
        assert_eq!(resolved(&format!("${{file:{secret}}}")).unwrap(), "geheim");
        assert_eq!(resolved(&format!("${{file:{more}:user}}/${{file:{more}:password}}")).unwrap(), "u/p:q");
        assert_eq!(resolved("GEHEIM${env:NONE}").unwrap_err(), "there is no variable NONE in the environment");
        assert!(resolved(&format!("${{file:{more}:none}}")).unwrap_err().contains("has no key `none`"));
        assert!(resolved("${file:/no/such/file}").unwrap_err().starts_with("/no/such/file: No such file"));
    }
}
