//! Protobuf's wire format, value by value.

use crate::reason::Reason;

/// As deep as parsers read groups.
const DEEPEST: usize = 100;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Eight,
    Bytes,
    Start,
    End,
    Four,
}

/// Bytes that are read from left to right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of a field, and how its value is written.
    pub(super) fn key(&mut self) -> Result<(u32, WireType), Reason> {
        let key = u32::try_from(self.varint()?).map_err(|_| Reason::NotProtobuf)?;
        let kind = match key & 7 {
            0 => WireType::Varint,
            1 => WireType::Eight,
            2 => WireType::Bytes,
            3 => WireType::Start,
            4 => WireType::End,
            5 => WireType::Four,
            _ => return Err(Reason::NotProtobuf),
        };
        let number = key >> 3;
        if number == 0 { Err(Reason::NotProtobuf) } else { Ok((number, kind)) }
    }

    pub fn varint(&mut self) -> Result<u64, Reason> {
        let mut number = 0u64;
        for (index, &byte) in self.0.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if index == 9 && byte > 1 {
                return Err(Reason::NotProtobuf);
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.0 = &self.0[index + 1..];
                return Ok(number);
            }
        }
        Err(Reason::NotProtobuf)
    }

    pub fn zigzag(&mut self) -> Result<i64, Reason> {
        let number = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Reason::NotProtobuf)?;
        self.0 = rest;
        Ok(*array)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Reason> {
        let size = usize::try_from(self.varint()?).map_err(|_| Reason::NotProtobuf)?;
        let (bytes, rest) = self.0.split_at_checked(size).ok_or(Reason::NotProtobuf)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, number: u32, kind: WireType) -> Result<(), Reason> {
        self.skip_at(number, kind, 0)
    }

    fn skip_at(&mut self, number: u32, kind: WireType, depth: usize) -> Result<(), Reason> {
        match kind {
            WireType::Varint => {
                self.varint()?;
            }
            WireType::Eight => {
                self.array::<8>()?;
            }
            WireType::Four => {
                self.array::<4>()?;
            }
            WireType::Bytes => {
                self.bytes()?;
            }
            WireType::Start if depth >= DEEPEST => return Err(Reason::NestedTooDeep),
            WireType::Start => loop {
                match self.key()? {
                    (end, WireType::End) if end == number => return Ok(()),
                    (inner, kind) => self.skip_at(inner, kind, depth + 1)?,
                }
            },
            WireType::End => return Err(Reason::NotProtobuf),
        }
        Ok(())
    }
}
