//! Avro's binary encoding, value by value.

use super::schema::{Schema, Type, TypeId};
use crate::reason::Reason;

/// As deep as JSON may be.
const DEEPEST: usize = 127;

/// Bytes that are read from left to right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub fn take(&mut self, size: usize) -> Result<&'a [u8], Reason> {
        let end = self.at.checked_add(size).filter(|end| *end <= self.bytes.len()).ok_or(Reason::NotAvro)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Reason::NotAvro)
    }

    /// A whole number: seven bits a byte, the last ones first, zigzag.
    pub fn long(&mut self) -> Result<i64, Reason> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let &byte = self.bytes.get(self.at).ok_or(Reason::NotAvro)?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(Reason::NotAvro);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(Reason::NotAvro)
    }

    pub fn int(&mut self) -> Result<i32, Reason> {
        i32::try_from(self.long()?).map_err(|_| Reason::NotAvro)
    }

    pub fn boolean(&mut self) -> Result<bool, Reason> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Reason::NotAvro),
        }
    }

    /// Bytes, or those of a text, after their number.
    pub fn bytes(&mut self) -> Result<&'a [u8], Reason> {
        let size = self.long()?;
        self.take(usize::try_from(size).map_err(|_| Reason::NotAvro)?)
    }

    /// The number of one of `n`, such as a branch or a symbol.
    pub fn choice(&mut self, n: usize) -> Result<usize, Reason> {
        usize::try_from(self.long()?).ok().filter(|index| *index < n).ok_or(Reason::NotAvro)
    }

    /// How many items or entries come next, and the bytes they take where that is said; none at the end.
    pub fn block(&mut self) -> Result<(u64, Option<usize>), Reason> {
        let count = self.long()?;
        if count >= 0 {
            return Ok((count.unsigned_abs(), None));
        }
        let size = usize::try_from(self.long()?).map_err(|_| Reason::NotAvro)?;
        Ok((count.unsigned_abs(), Some(size)))
    }

    /// Passes over a value.
    pub fn skip(&mut self, schema: &Schema, id: TypeId) -> Result<(), Reason> {
        self.skip_at(schema, id, 0)
    }

    fn skip_at(&mut self, schema: &Schema, id: TypeId, depth: usize) -> Result<(), Reason> {
        if depth > DEEPEST {
            return Err(Reason::NestedTooDeep);
        }
        match schema.get(id) {
            Type::Null => {}
            Type::Boolean => {
                self.boolean()?;
            }
            Type::Int(_) => {
                self.int()?;
            }
            Type::Long(_) => {
                self.long()?;
            }
            Type::Float => {
                self.take(4)?;
            }
            Type::Double => {
                self.take(8)?;
            }
            Type::Bytes(_) | Type::String => {
                self.bytes()?;
            }
            Type::Fixed(size, _) => {
                self.take(*size)?;
            }
            Type::Enum(symbols) => {
                self.choice(symbols.len())?;
            }
            Type::Record(fields) => {
                for (_, field) in fields {
                    self.skip_at(schema, *field, depth + 1)?;
                }
            }
            Type::Union(branches) => {
                let branch = self.choice(branches.len())?;
                self.skip_at(schema, branches[branch], depth + 1)?;
            }
            Type::Array(item) => {
                self.skip_blocks(|cursor| cursor.skip_at(schema, *item, depth + 1), schema.is_empty(*item))?
            }
            Type::Map(value) => self.skip_blocks(
                |cursor| {
                    cursor.bytes()?;
                    cursor.skip_at(schema, *value, depth + 1)
                },
                false,
            )?,
        }
        Ok(())
    }

    /// Passes over blocks, whose items have no bytes at all if `are_empty`.
    pub fn skip_blocks(
        &mut self,
        mut skip: impl FnMut(&mut Self) -> Result<(), Reason>,
        are_empty: bool,
    ) -> Result<(), Reason> {
        loop {
            match self.block()? {
                (0, None) => return Ok(()),
                (_, Some(size)) => {
                    self.take(size)?;
                }
                (_, None) if are_empty => {}
                (count, None) => {
                    for _ in 0..count {
                        skip(self)?;
                    }
                }
            }
        }
    }
}
