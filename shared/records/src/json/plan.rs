//! Where columns stand in a record: a tree of the fields and items that lead to them.

use crate::json_path::Step;
use crate::schema::Column;

/// Where the columns of a schema stand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// In a record.
    pub record: Node,
    /// In the message around it, or around several.
    pub message: Node,
}

/// An object or an array, and what is looked for in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// Fields, each with every name that it may have.
    pub fields: Vec<(Vec<String>, Target)>,
    /// Items, by their places.
    pub items: Vec<(usize, Target)>,
    /// Every column in it.
    pub columns: Vec<usize>,
}

/// What stands at a field or an item.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// The value of this column.
    Column(usize),
    /// An object or an array with columns in it.
    Inside(Node),
}

impl Plan {
    /// Columns stand where their paths lead; one without a path is a field of the record, by its name or an alias.
    pub fn new(columns: &[Column]) -> Self {
        let mut plan = Self::default();
        for (index, column) in columns.iter().enumerate().filter(|(_, column)| !column.is_derived) {
            match &column.path {
                Some(path) if column.is_of_message => plan.message.add(path.steps(), index),
                Some(path) => plan.record.add(path.steps(), index),
                None => {
                    let names = [&column.name].into_iter().chain(&column.aliases).cloned().collect();
                    plan.record.fields.push((names, Target::Column(index)));
                    plan.record.columns.push(index);
                }
            }
        }
        plan
    }
}

impl Node {
    fn add(&mut self, steps: &[Step], column: usize) {
        let Some((step, rest)) = steps.split_first() else { return };
        self.columns.push(column);
        let target = match step {
            Step::Field(name) => {
                let known = self.fields.iter().position(|(names, _)| names.contains(name));
                let place = known.unwrap_or_else(|| {
                    self.fields.push((vec![name.clone()], Target::new(rest, column)));
                    self.fields.len() - 1
                });
                &mut self.fields[place].1
            }
            Step::Item(number) => {
                let known = self.items.iter().position(|(known, _)| known == number);
                let place = known.unwrap_or_else(|| {
                    self.items.push((*number, Target::new(rest, column)));
                    self.items.len() - 1
                });
                &mut self.items[place].1
            }
        };
        // Values that lie in each other are refused before there is a plan.
        if let Target::Inside(node) = target {
            node.add(rest, column);
        }
    }
}

impl Target {
    fn new(rest: &[Step], column: usize) -> Self {
        if rest.is_empty() { Self::Column(column) } else { Self::Inside(Node::default()) }
    }

    /// Every column that stands there.
    pub fn columns(&self) -> &[usize] {
        match self {
            Self::Column(column) => std::slice::from_ref(column),
            Self::Inside(node) => &node.columns,
        }
    }
}
