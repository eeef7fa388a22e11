//! Exact decimals: a whole number in two's complement, and how many of its digits come after the point.

use std::fmt;

/// The longest number, in bytes: 154 digits.
const MOST_BYTES: usize = 64;

/// Digits of a limb.
const LIMB: u64 = 1_000_000_000;

/// A decimal as it is written, which prints all of its digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal<'a> {
    bytes: &'a [u8],
    scale: usize,
}

impl<'a> Decimal<'a> {
    /// `None` where the number is longer than any that people use.
    pub fn new(bytes: &'a [u8], scale: usize) -> Option<Self> {
        (bytes.len() <= MOST_BYTES).then_some(Self { bytes, scale })
    }

    /// The digits of its absolute value, at least one.
    fn digits(&self) -> String {
        let is_negative = self.is_negative();
        // Limbs of nine digits, the last ones first.
        let mut limbs: Vec<u64> = vec![0];
        let mut add = |factor: u64, summand: u64| {
            let mut carry = summand;
            for limb in &mut limbs {
                let value = *limb * factor + carry;
                (*limb, carry) = (value % LIMB, value / LIMB);
            }
            if carry > 0 {
                limbs.push(carry);
            }
        };
        for &byte in self.bytes {
            add(256, u64::from(if is_negative { !byte } else { byte }));
        }
        if is_negative {
            add(1, 1);
        }
        let (last, rest) = limbs.split_last().unwrap_or((&0, &[]));
        rest.iter().rev().fold(last.to_string(), |digits, limb| format!("{digits}{limb:09}"))
    }

    fn is_negative(&self) -> bool {
        self.bytes.first().is_some_and(|byte| *byte >= 0x80)
    }
}

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match <[u8; 8]>::try_from(self.bytes) {
            Ok(bytes) => i64::from_be_bytes(bytes).unsigned_abs().to_string(),
            Err(_) => self.digits(),
        };
        let digits = format!("{digits:0>width$}", width = self.scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale);
        let sign = if self.is_negative() { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8], scale: usize) -> String {
        Decimal::new(bytes, scale).unwrap().to_string()
    }

    #[test]
    fn every_digit_is_there() {
        assert_eq!(text(&[0x30, 0x39], 2), "123.45");
        assert_eq!(text(&[0xff], 2), "-0.01");
        assert_eq!(text(&[0x80], 0), "-128");
        assert_eq!(text(&[], 3), "0.000");
        assert_eq!(text(&[0x00, 0xff], 0), "255");
        assert_eq!(
            text(&[0x7f; 32], 0),
            "57669001306428065956053000376875938421040345304064124051023973211784186134399"
        );
        assert!(Decimal::new(&[0; 65], 0).is_none());
    }

    proptest! {
        #[test]
        fn a_number_is_the_number(number in any::<i128>(), small in any::<i64>()) {
            prop_assert_eq!(text(&number.to_be_bytes(), 0), number.to_string());
            prop_assert_eq!(text(&small.to_be_bytes(), 0), small.to_string());
        }

        #[test]
        fn no_bytes_make_a_decimal_panic(bytes in prop::collection::vec(any::<u8>(), 0..70), scale in 0..200usize) {
            if let Some(decimal) = Decimal::new(&bytes, scale) {
                prop_assert!(decimal.to_string().parse::<f64>().is_ok());
            }
        }
    }
}
