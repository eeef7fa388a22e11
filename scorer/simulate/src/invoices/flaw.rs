//! Lines that cannot be parsed.

use rand::Rng;
use rand::seq::IndexedRandom;

// Positions of the columns that flaws touch.
const DESCRIPTION: usize = 2;
const QUANTITY: usize = 3;
const DATE: usize = 4;
const PRICE: usize = 5;

/// What keeps a line from being parsed: each breaks the line for every reader of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// Words in the quantity: `12 pcs`.
    QuantityNotANumber,
    /// A quantity that no 64-bit integer holds.
    QuantityOutOfRange,
    /// The 30th of February.
    NoSuchDate,
    /// A price that is `NaN`.
    PriceNotANumber,
    /// A price that is `inf`.
    PriceInfinite,
    /// The line ends before its price.
    TooFewFields,
    /// A comma in the description that nobody quoted.
    TooManyFields,
}

impl Flaw {
    /// Every flaw.
    pub const ALL: [Self; 7] = [
        Self::QuantityNotANumber,
        Self::QuantityOutOfRange,
        Self::NoSuchDate,
        Self::PriceNotANumber,
        Self::PriceInfinite,
        Self::TooFewFields,
        Self::TooManyFields,
    ];

    /// Any flaw, all equally likely.
    pub(super) fn pick(rng: &mut impl Rng) -> Self {
        *Self::ALL.choose(rng).unwrap_or(&Self::TooFewFields)
    }

    /// Breaks the eight fields of a line.
    pub(super) fn apply(self, fields: &mut Vec<String>) {
        match self {
            Self::QuantityNotANumber => fields[QUANTITY].push_str(" pcs"),
            Self::QuantityOutOfRange => fields[QUANTITY] = "99999999999999999999".to_owned(),
            Self::NoSuchDate => fields[DATE] = in_february_30(&fields[DATE]),
            Self::PriceNotANumber => fields[PRICE] = "NaN".to_owned(),
            Self::PriceInfinite => fields[PRICE] = "inf".to_owned(),
            Self::TooFewFields => fields.truncate(PRICE),
            Self::TooManyFields => fields.insert(DESCRIPTION + 1, " ASSORTED".to_owned()),
        }
    }
}

/// `12/9/2010 9:15` -> `2/30/2010 9:15`.
fn in_february_30(date: &str) -> String {
    let year_and_time = date.rsplit('/').next().unwrap_or_default();
    format!("2/30/{year_and_time}")
}
