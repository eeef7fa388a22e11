//! The look of a table on a terminal: no frames, a rule under the header, numbers to the right.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};

/// Rows under a header, of which the first `n_text` columns stand to the left and the others, numbers, to the right.
#[derive(Debug)]
pub struct TextTable {
    n_text: usize,
    padding: (u16, u16),
    table: Table,
}

impl TextTable {
    /// A table with a header.
    pub fn new<S: AsRef<str>>(n_text: usize, header: &[S]) -> Self {
        let mut made = Self::without_header(n_text);
        made.table.set_header(header.iter().map(AsRef::as_ref));
        made.table.set_style(TableComponent::HeaderLines, '─');
        made.table.set_style(TableComponent::MiddleHeaderIntersections, '─');
        made
    }

    /// A table without.
    pub fn without_header(n_text: usize) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        Self { n_text, padding: (1, 1), table }
    }

    /// The table with columns closer to each other, for those that have many.
    pub fn narrow(self) -> Self {
        Self { padding: (1, 0), ..self }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.table.add_row(cells.into_iter().map(Into::into).collect::<Vec<String>>());
    }

    /// The table as lines of text, each ended.
    pub fn render(mut self) -> String {
        for (index, column) in self.table.column_iter_mut().enumerate() {
            let alignment = if index < self.n_text { CellAlignment::Left } else { CellAlignment::Right };
            column.set_cell_alignment(alignment);
            column.set_padding(self.padding);
        }
        self.table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}
