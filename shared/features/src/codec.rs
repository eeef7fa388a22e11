//! How state is written down: integers of variable length (LEB128, zigzag where signed), floats by their bits.
//!
//! The same values always give the same bytes, and reading never panics: whatever does not fit is a [`Damaged`].

use thiserror::Error;

/// Bytes that are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the bytes are damaged or of another version")]
pub struct Damaged;

/// Writes a whole number that is not negative.
pub fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a whole number.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Writes a number, or that there is none.
pub fn put_optional(out: &mut Vec<u8>, value: Option<i64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put_signed(out, value);
    }
}

/// Writes bytes and how many they are.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes values off the front of what was written.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// One byte.
    ///
    /// # Errors
    /// [`Damaged`] when they are not there.
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    /// A whole number that is not negative.
    ///
    /// # Errors
    /// [`Damaged`] when they are not there.
    pub fn unsigned(&mut self) -> Result<u64, Damaged> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(Damaged);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`Damaged`] when they are not there.
    pub fn signed(&mut self) -> Result<i64, Damaged> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number, or none.
    ///
    /// # Errors
    /// [`Damaged`] when they are not there.
    pub fn optional(&mut self) -> Result<Option<i64>, Damaged> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.signed().map(Some),
            _ => Err(Damaged),
        }
    }

    /// A count of things that take at least one byte each, so that damaged bytes cannot ask for all memory.
    ///
    /// # Errors
    /// [`Damaged`] when it is larger than what is left.
    pub fn count(&mut self) -> Result<usize, Damaged> {
        let count = self.unsigned()?;
        if count > self.0.len() as u64 { Err(Damaged) } else { Ok(count as usize) }
    }

    /// Bytes with their length before them.
    ///
    /// # Errors
    /// [`Damaged`] when they are not there.
    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.count()?;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(bytes)
    }

    /// As [`Reader::bytes`], but text.
    ///
    /// # Errors
    /// [`Damaged`] when they are not there.
    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    /// A float, by its bits.
    ///
    /// # Errors
    /// [`Damaged`] when they are not there.
    pub fn float(&mut self) -> Result<f64, Damaged> {
        let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(Damaged)?;
        self.0 = rest;
        Ok(f64::from_bits(u64::from_le_bytes(*bytes)))
    }

    /// That nothing is left.
    ///
    /// # Errors
    /// [`Damaged`] when something is.
    pub fn end(self) -> Result<(), Damaged> {
        if self.0.is_empty() { Ok(()) } else { Err(Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(signed in any::<i64>(), unsigned in any::<u64>(), optional in any::<Option<i64>>(),
                                   bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            put_signed(&mut out, signed);
            put_unsigned(&mut out, unsigned);
            put_optional(&mut out, optional);
            put_bytes(&mut out, &bytes);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert_eq!(reader.unsigned(), Ok(unsigned));
            prop_assert_eq!(reader.optional(), Ok(optional));
            prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader(&bytes);
            let _ = (reader.unsigned(), reader.optional(), reader.text(), reader.float(), reader.bytes());
        }
    }
}
