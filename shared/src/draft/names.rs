//! The names that columns have in a pipeline file: features refer to them, so they are single words.

use std::collections::HashSet;

use records::sniff::profile::Profile;

/// The names of all columns.
#[derive(Debug)]
pub(super) struct Names {
    columns: Vec<Name>,
}

#[derive(Debug)]
struct Name {
    name: String,
    /// What it is called in the file, where that is something else.
    alias: Option<String>,
}

impl Names {
    pub(super) fn of(columns: &[Profile]) -> Self {
        // A name that needs no change keeps it.
        let mut taken: HashSet<String> =
            columns.iter().filter(|column| is_word(&column.name)).map(|column| column.name.clone()).collect();
        let mut seen = HashSet::new();
        let mut name = |(index, column): (usize, &Profile)| {
            if is_word(&column.name) && seen.insert(column.name.clone()) {
                return Name { name: column.name.clone(), alias: None };
            }
            let word = word(&column.name, index);
            let mut name = word.clone();
            let mut count = 1;
            while !taken.insert(name.clone()) {
                count += 1;
                name = format!("{word}_{count}");
            }
            // A header that has a name twice cannot be told by it.
            let is_first = seen.insert(column.name.clone());
            let alias = (is_first && !column.name.trim().is_empty()).then(|| column.name.clone());
            Name { name, alias }
        };
        let columns = columns.iter().enumerate().map(&mut name).collect();
        Self { columns }
    }

    pub(super) fn get(&self, index: usize) -> &str {
        &self.columns[index].name
    }

    pub(super) fn alias(&self, index: usize) -> Option<&str> {
        self.columns[index].alias.as_deref()
    }
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_word(name: &str) -> bool {
    name.chars().all(is_part) && name.chars().next().is_some_and(|c| !c.is_numeric())
}

/// `Customer ID` as `Customer_ID`.
fn word(name: &str, index: usize) -> String {
    let parts: Vec<&str> = name.split(|c| !is_part(c)).filter(|part| !part.is_empty()).collect();
    let word = parts.join("_");
    match word.chars().next() {
        None => format!("column_{}", index + 1),
        Some(c) if c.is_numeric() => format!("column_{word}"),
        Some(_) => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_differ() {
        for (name, expected) in [
            ("Customer ID", "Customer_ID"),
            ("Amount (INR)", "Amount_INR"),
            ("Größe", "Größe"),
            ("", "column_3"),
            ("2010", "column_2010"),
            ("a:int?", "a_int"),
        ] {
            assert_eq!(if is_word(name) { name.to_owned() } else { word(name, 2) }, expected);
        }
    }
}
