//! What to do with each field of a message: made once for a type of message and the columns of a pipeline.

use std::sync::Arc;

use super::types::{FieldType, Kind, Meaning, Messages};
use crate::json::{Node, Target};

/// How messages of one type are read.
#[derive(Debug, Clone)]
pub(crate) struct ProtobufPlan {
    pub messages: Arc<Messages>,
    /// The message's place in them.
    pub message: usize,
    pub(super) read: MessageRead,
    /// How many [`MessageRead`]s there are in it.
    pub(super) n_reads: usize,
}

/// What to do with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageRead {
    /// Its number among all of a plan.
    pub id: usize,
    pub fields: Vec<FieldRead>,
    /// Columns that several of its fields are.
    pub twice: Vec<usize>,
}

/// What to do with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldRead {
    pub number: u32,
    pub kind: Kind,
    pub what: What,
    /// The column that is 0, or empty, where the message does not have the field.
    pub or_zero: Option<usize>,
    /// Columns of fields that are not there where this one is.
    pub instead_of: Vec<usize>,
}

/// What to do with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// It is that of a column.
    Value(usize),
    /// It is that of a column, by the meaning of its message.
    Meant(usize, Meaning, usize),
    /// Columns stand in it.
    Inside(MessageRead),
    /// These columns cannot stand in it.
    Unfit(Vec<usize>),
    /// It is one of several: what to do with those at these places.
    Items(Vec<(usize, Self)>),
    /// It is an entry of a map: what to do with the values of these keys, and the types of keys and values.
    Entries(Vec<(Vec<String>, Self)>, Kind, Kind),
}

impl ProtobufPlan {
    /// How the message at a place is read for the columns of `node`.
    pub fn new(messages: Arc<Messages>, message: usize, node: &Node) -> Self {
        let mut compiler = Compiler { messages: &messages, n_reads: 0 };
        let read = compiler.message(message, node);
        let n_reads = compiler.n_reads;
        Self { messages, message, read, n_reads }
    }
}

struct Compiler<'m> {
    messages: &'m Messages,
    n_reads: usize,
}

impl Compiler<'_> {
    fn message(&mut self, place: usize, node: &Node) -> MessageRead {
        let id = self.n_reads;
        self.n_reads += 1;
        let (mut fields, mut twice): (Vec<(Option<usize>, FieldRead)>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut taken = vec![false; node.fields.len()];
        for field in &self.messages.get(place).fields {
            let called = |(names, _): &(Vec<String>, Target)| field.names.iter().any(|name| names.contains(name));
            let Some(index) = node.fields.iter().position(called) else { continue };
            let target = &node.fields[index].1;
            if std::mem::replace(&mut taken[index], true) {
                twice.extend(target.columns());
                continue;
            }
            let read = FieldRead {
                number: field.number,
                kind: field.kind,
                what: self.field(field, target),
                or_zero: match target {
                    Target::Column(column) if !field.has_presence && !field.is_list && !is_message(field.kind) => {
                        Some(*column)
                    }
                    _ => None,
                },
                instead_of: Vec::new(),
            };
            fields.push((field.one_of, read));
        }
        let columns: Vec<(Option<usize>, u32, Vec<usize>)> =
            fields.iter().map(|(one_of, read)| (*one_of, read.number, read.what.columns())).collect();
        for (one_of, read) in &mut fields {
            let others = columns
                .iter()
                .filter(|(other, number, _)| one_of.is_some() && other == one_of && *number != read.number);
            read.instead_of = others.flat_map(|(.., columns)| columns.iter().copied()).collect();
        }
        MessageRead { id, fields: fields.into_iter().map(|(_, read)| read).collect(), twice }
    }

    fn field(&mut self, field: &FieldType, target: &Target) -> What {
        match target {
            Target::Inside(node) if field.is_map => self.map(field.kind, node, target),
            Target::Inside(node) if field.is_list && node.fields.is_empty() => {
                let items = node.items.iter().map(|(place, target)| (*place, self.value(field.kind, target)));
                What::Items(items.collect())
            }
            _ if field.is_list => What::Unfit(target.columns().to_vec()),
            _ => self.value(field.kind, target),
        }
    }

    fn map(&mut self, kind: Kind, node: &Node, target: &Target) -> What {
        let Kind::Message(entry) = kind else { return What::Unfit(target.columns().to_vec()) };
        let of_number = |number: u32| {
            self.messages.get(entry).fields.iter().find(|field| field.number == number).map(|field| field.kind)
        };
        let (Some(key), Some(value), true) = (of_number(1), of_number(2), node.items.is_empty()) else {
            return What::Unfit(target.columns().to_vec());
        };
        let entries = node.fields.iter().map(|(names, target)| (names.clone(), self.value(value, target)));
        What::Entries(entries.collect(), key, value)
    }

    /// What to do with one value.
    fn value(&mut self, kind: Kind, target: &Target) -> What {
        match (target, kind) {
            (Target::Column(column), Kind::Message(place)) => match self.messages.get(place).meaning {
                Some(meaning) => What::Meant(*column, meaning, place),
                None => What::Unfit(vec![*column]),
            },
            (Target::Column(column), Kind::Group) => What::Unfit(vec![*column]),
            (Target::Column(column), _) => What::Value(*column),
            (Target::Inside(node), Kind::Message(place)) if node.items.is_empty() => {
                What::Inside(self.message(place, node))
            }
            (Target::Inside(node), _) => What::Unfit(node.columns.clone()),
        }
    }
}

fn is_message(kind: Kind) -> bool {
    matches!(kind, Kind::Message(_) | Kind::Group)
}

impl What {
    fn columns(&self) -> Vec<usize> {
        match self {
            Self::Value(column) | Self::Meant(column, ..) => vec![*column],
            Self::Unfit(columns) => columns.clone(),
            Self::Inside(message) => message.fields.iter().flat_map(|field| field.what.columns()).collect(),
            Self::Items(items) => items.iter().flat_map(|(_, what)| what.columns()).collect(),
            Self::Entries(entries, ..) => entries.iter().flat_map(|(_, what)| what.columns()).collect(),
        }
    }
}
