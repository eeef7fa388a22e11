//! What can be strange about a transaction.

use std::fmt;

use clap::ValueEnum;

/// The scenarios of fraud and error; the label is the name in `snake_case`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Scenario {
    /// 12 to 60 times what such a payment comes to.
    AmountHigh,
    /// A 40th to a 300th of it.
    AmountLow,
    /// For 28 days, a quarter or so of the payments at one terminal are made with copied cards of people who live there: one
    /// and a half to four times what is usual.
    CompromisedMerchant,
    /// For 14 days, a third or so of a user's payments are a thief's: five times what the user would pay.
    StolenCard,
    /// A payment so far from the user's last one that more than 900 km/h lie between them.
    ImpossibleTravel,
    /// 6 to 20 payments of at most 3 euros to online shops, seconds apart: does the card work?
    CardTesting,
    /// 2 to 4 payments between 1:00 and 5:00 by the clock at home of somebody who sleeps at that time.
    NightActivity,
    /// A payment in another country, to a merchant that opened days ago and where the user was never before.
    NewMerchantAbroad,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 8] = [
        Self::AmountHigh,
        Self::AmountLow,
        Self::CompromisedMerchant,
        Self::StolenCard,
        Self::ImpossibleTravel,
        Self::CardTesting,
        Self::NightActivity,
        Self::NewMerchantAbroad,
    ];

    /// The name in labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::AmountHigh => "amount_high",
            Self::AmountLow => "amount_low",
            Self::CompromisedMerchant => "compromised_merchant",
            Self::StolenCard => "stolen_card",
            Self::ImpossibleTravel => "impossible_travel",
            Self::CardTesting => "card_testing",
            Self::NightActivity => "night_activity",
            Self::NewMerchantAbroad => "new_merchant_abroad",
        }
    }

    /// How many of the anomalous records are of this scenario, beside those of others.
    pub fn weight(self) -> f64 {
        match self {
            // What lasts for weeks is many records.
            Self::CompromisedMerchant | Self::StolenCard | Self::CardTesting => 2.0,
            _ => 1.0,
        }
    }

    /// The least and the most records of one occurrence; those after the first follow within the hour.
    pub(super) fn records(self) -> (usize, usize) {
        match self {
            Self::CardTesting => (6, 20),
            Self::NightActivity => (2, 4),
            _ => (1, 1),
        }
    }

    /// The mean number of records of one occurrence.
    pub(super) fn mean_records(self) -> f64 {
        let (least, most) = self.records();
        (least + most) as f64 / 2.0
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
