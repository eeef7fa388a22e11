//! What `trainer init` says: the columns, the doubts, and what to do next.

use std::path::Path;

use shared::draft::{Draft, shell_word};

use crate::table::TextTable;

/// Most columns that are listed when nothing reads them.
const MOST_UNUSED: usize = 20;

pub(super) fn report(draft: &Draft, file: &Path, output: &Path) -> String {
    let mut table = TextTable::new(4, &["column", "type", "example", "used as"]);
    let (mut unused, mut left_out) = (0, 0);
    for row in &draft.columns {
        unused += usize::from(row[3].is_empty());
        if row[3].is_empty() && unused > MOST_UNUSED {
            left_out += 1;
        } else {
            table.row(row.iter().cloned());
        }
    }
    let mut text = format!("\n {}\n\n{}", draft.writing, table.render());
    if left_out > 0 {
        text += &format!(" and {left_out} more that nothing reads\n");
    }
    text += &draft.doubts_text();
    let (file, output) = (shell_word(file), shell_word(output));
    text + &format!(
        "\n wrote {output}; next:\n   trainer --pipeline {output} --input {file}\n   scorer score {file} --pipeline {output}\n"
    )
}
