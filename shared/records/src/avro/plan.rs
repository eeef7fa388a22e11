//! What to do with each part of a record: made once for a schema and the columns of a pipeline.

use std::sync::Arc;

use super::schema::{Schema, Type, TypeId};
use crate::json::{Node, Plan, Target};

/// How records of one schema are read.
#[derive(Debug, Clone)]
pub(crate) struct AvroPlan {
    pub schema: Arc<Schema>,
    /// Columns of the message around records.
    pub message: Read,
    /// Columns of a record of each type that one was found to be, that of the whole message first.
    records: Vec<(TypeId, Read)>,
}

/// What to do with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// Nothing in it is asked for.
    Skip(TypeId),
    /// It is that of a column.
    Value(usize, TypeId),
    /// It is null, and so are these columns.
    Null(Vec<usize>),
    /// These columns cannot stand in it.
    Unfit(Vec<usize>, TypeId),
    /// A record: what to do with each of its fields.
    Record(Vec<usize>, Vec<Self>),
    /// What to do with each of its branches.
    Union(Vec<Self>),
    /// An array: what to do with items at these places, and of which type all are.
    Array(Vec<usize>, Vec<(usize, Self)>, TypeId),
    /// A map: what to do with the values of these keys, and of which type all are.
    Map(Vec<usize>, Vec<(Vec<String>, Self)>, TypeId),
}

impl AvroPlan {
    /// How messages of `schema` are read for the columns of `plan`.
    pub fn new(schema: Arc<Schema>, plan: &Plan) -> Self {
        let root = schema.root();
        let compile = |node: &Node| compile(&schema, root, node);
        let (message, record) = (compile(&plan.message), compile(&plan.record));
        Self { message, records: vec![(root, record)], schema }
    }

    /// How a message that is one record is read.
    pub fn whole(&self) -> &Read {
        &self.records[0].1
    }

    /// How a record of a type is read.
    pub fn record(&mut self, kind: TypeId, plan: &Plan) -> &Read {
        let known = self.records.iter().position(|(known, _)| *known == kind);
        let place = known.unwrap_or_else(|| {
            self.records.push((kind, compile(&self.schema, kind, &plan.record)));
            self.records.len() - 1
        });
        &self.records[place].1
    }
}

/// What to do with a value of a type in which columns stand.
fn compile(schema: &Schema, id: TypeId, node: &Node) -> Read {
    let in_fields = || columns(node.fields.iter().map(|(_, target)| target));
    let in_items = || columns(node.items.iter().map(|(_, target)| target));
    match schema.get(id) {
        _ if node.columns.is_empty() => Read::Skip(id),
        Type::Null => Read::Null(node.columns.clone()),
        Type::Union(branches) => Read::Union(branches.iter().map(|branch| compile(schema, *branch, node)).collect()),
        Type::Record(fields) => {
            let field = |(name, kind): &(String, TypeId)| {
                let called = |(names, _): &&(Vec<String>, Target)| names.contains(name);
                node.fields.iter().find(called).map_or(Read::Skip(*kind), |(_, target)| aim(schema, *kind, target))
            };
            Read::Record(in_items(), fields.iter().map(field).collect())
        }
        Type::Array(item) => {
            let items = node.items.iter().map(|(place, target)| (*place, aim(schema, *item, target)));
            Read::Array(in_fields(), items.collect(), *item)
        }
        Type::Map(value) => {
            let entries = node.fields.iter().map(|(names, target)| (names.clone(), aim(schema, *value, target)));
            Read::Map(in_items(), entries.collect(), *value)
        }
        _ => Read::Unfit(node.columns.clone(), id),
    }
}

/// What to do with a value of a type that stands where `target` is.
fn aim(schema: &Schema, id: TypeId, target: &Target) -> Read {
    match (target, schema.get(id)) {
        (Target::Inside(node), _) => compile(schema, id, node),
        (Target::Column(column), Type::Null) => Read::Null(vec![*column]),
        (Target::Column(_), Type::Union(branches)) => {
            Read::Union(branches.iter().map(|branch| aim(schema, *branch, target)).collect())
        }
        (Target::Column(column), Type::Record(_) | Type::Array(_) | Type::Map(_)) => Read::Unfit(vec![*column], id),
        (Target::Column(column), _) => Read::Value(*column, id),
    }
}

fn columns<'t>(targets: impl Iterator<Item = &'t Target>) -> Vec<usize> {
    targets.flat_map(|target| target.columns().iter().copied()).collect()
}
