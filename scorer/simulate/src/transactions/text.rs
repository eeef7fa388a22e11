//! Transactions as text: JSON and CSV, without the detours of general formatting.

use super::transaction::Transaction;

/// The columns of a CSV file, and the names of the fields of JSON.
pub const HEADER: [&str; 9] =
    ["transaction_id", "user_id", "merchant_id", "amount", "currency", "latitude", "longitude", "timestamp", "label"];

const MILLIS_A_DAY: i64 = 86_400_000;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes transactions one after the other. It remembers the day, which seldom changes.
#[derive(Debug, Clone)]
pub struct TextWriter {
    day: i64,
    /// `2024-01-01T`
    date: [u8; 11],
}

impl Default for TextWriter {
    fn default() -> Self {
        let mut writer = Self { day: 0, date: *b"1970-01-01T" };
        writer.set_day(0);
        writer
    }
}

impl TextWriter {
    /// An object, without a line end; a label, where there is one and it is wanted, comes last.
    pub fn json(&mut self, out: &mut Vec<u8>, transaction: &Transaction, with_label: bool) {
        out.extend_from_slice(b"{\"transaction_id\":\"");
        push_hex(out, transaction.id);
        out.extend_from_slice(b"\",\"user_id\":\"");
        push_user(out, transaction.user);
        out.extend_from_slice(b"\",\"merchant_id\":\"");
        push_merchant(out, transaction.merchant);
        out.extend_from_slice(b"\",\"amount\":");
        push_amount(out, transaction);
        out.extend_from_slice(b",\"currency\":\"");
        out.extend_from_slice(transaction.currency.code().as_bytes());
        out.extend_from_slice(b"\",\"latitude\":");
        push_degrees(out, transaction.position.latitude);
        out.extend_from_slice(b",\"longitude\":");
        push_degrees(out, transaction.position.longitude);
        out.extend_from_slice(b",\"timestamp\":\"");
        self.push_timestamp(out, transaction.timestamp);
        if let Some(label) = transaction.label.filter(|_| with_label) {
            out.extend_from_slice(b"\",\"label\":\"");
            out.extend_from_slice(label.label().as_bytes());
        }
        out.extend_from_slice(b"\"}");
    }

    /// A record of CSV, without a line end; the label is empty where nothing is strange. No field needs quotes.
    pub fn csv(&mut self, out: &mut Vec<u8>, transaction: &Transaction) {
        push_hex(out, transaction.id);
        out.push(b',');
        push_user(out, transaction.user);
        out.push(b',');
        push_merchant(out, transaction.merchant);
        out.push(b',');
        push_amount(out, transaction);
        out.push(b',');
        out.extend_from_slice(transaction.currency.code().as_bytes());
        out.push(b',');
        push_degrees(out, transaction.position.latitude);
        out.push(b',');
        push_degrees(out, transaction.position.longitude);
        out.push(b',');
        self.push_timestamp(out, transaction.timestamp);
        out.push(b',');
        out.extend_from_slice(transaction.label.map_or("", |label| label.label()).as_bytes());
    }

    /// `2024-01-01T00:00:00.000Z` (RFC 3339).
    pub fn push_timestamp(&mut self, out: &mut Vec<u8>, timestamp: i64) {
        let (day, millis) = (timestamp.div_euclid(MILLIS_A_DAY), timestamp.rem_euclid(MILLIS_A_DAY) as u64);
        if day != self.day {
            self.set_day(day);
        }
        out.extend_from_slice(&self.date);
        push_padded(out, millis / 3_600_000, 2);
        out.push(b':');
        push_padded(out, millis / 60_000 % 60, 2);
        out.push(b':');
        push_padded(out, millis / 1000 % 60, 2);
        out.push(b'.');
        push_padded(out, millis % 1000, 3);
        out.push(b'Z');
    }

    fn set_day(&mut self, day: i64) {
        let (year, month, of_month) = civil_date(day);
        let mut date = Vec::with_capacity(self.date.len());
        push_padded(&mut date, year, 4);
        date.push(b'-');
        push_padded(&mut date, month, 2);
        date.push(b'-');
        push_padded(&mut date, of_month, 2);
        date.push(b'T');
        self.day = day;
        // Years of the simulation have four digits, so the lengths are equal.
        self.date.iter_mut().zip(date).for_each(|(to, from)| *to = from);
    }
}

/// Sixteen hexadecimal digits.
pub(super) fn push_hex(out: &mut Vec<u8>, id: u64) {
    let digit = |place: usize| HEX[(id >> (60 - 4 * place)) as usize & 15];
    out.extend_from_slice(&std::array::from_fn::<u8, 16, _>(digit));
}

/// `u0000001`
pub fn push_user(out: &mut Vec<u8>, user: u32) {
    out.push(b'u');
    push_padded(out, user.into(), 7);
}

/// `m000001`
pub(super) fn push_merchant(out: &mut Vec<u8>, merchant: u32) {
    out.push(b'm');
    push_padded(out, merchant.into(), 6);
}

/// `12.50`, or `1250` of a currency without cents.
fn push_amount(out: &mut Vec<u8>, transaction: &Transaction) {
    let coins = u64::from(transaction.currency.coins());
    push_padded(out, transaction.amount / coins, 1);
    if coins == 100 {
        out.push(b'.');
        push_padded(out, transaction.amount % 100, 2);
    }
}

/// `-3.70380`
fn push_degrees(out: &mut Vec<u8>, hundred_thousandths: i32) {
    if hundred_thousandths < 0 {
        out.push(b'-');
    }
    let value = u64::from(hundred_thousandths.unsigned_abs());
    push_padded(out, value / 100_000, 1);
    out.push(b'.');
    push_padded(out, value % 100_000, 5);
}

/// A whole number, with zeros before it up to `width` digits.
fn push_padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while number > 0 {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[first.min(digits.len() - width)..]);
}

/// Year, month and day of a day since 1970 (Hinnant, "chrono-compatible low-level date algorithms", 2013); from the year 0 on.
fn civil_date(day: i64) -> (u64, u64, u64) {
    let shifted = (day + 719_468).unsigned_abs();
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, of_month)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, SecondsFormat};
    use proptest::prelude::*;

    use super::super::{Currency, Position, Scenario};
    use super::*;

    fn example() -> Transaction {
        Transaction {
            id: 0x0123_4567_89ab_cdef,
            user: 42,
            merchant: 7,
            amount: 1205,
            currency: Currency::Eur,
            position: Position { latitude: -4_041_680, longitude: 5 },
            timestamp: 1_704_067_200_001,
            label: None,
        }
    }

    fn text(write: impl FnOnce(&mut TextWriter, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut TextWriter::default(), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_transaction_in_json() {
        let strange = Transaction { label: Some(Scenario::AmountHigh), ..example() };
        insta::assert_snapshot!(text(|writer, out| writer.json(out, &example(), true)), @r#"{"transaction_id":"0123456789abcdef","user_id":"u0000042","merchant_id":"m000007","amount":12.05,"currency":"EUR","latitude":-40.41680,"longitude":0.00005,"timestamp":"2024-01-01T00:00:00.001Z"}"#);
        insta::assert_snapshot!(text(|writer, out| writer.json(out, &strange, true)), @r#"{"transaction_id":"0123456789abcdef","user_id":"u0000042","merchant_id":"m000007","amount":12.05,"currency":"EUR","latitude":-40.41680,"longitude":0.00005,"timestamp":"2024-01-01T00:00:00.001Z","label":"amount_high"}"#);
        assert!(!text(|writer, out| writer.json(out, &strange, false)).contains("label"));
    }

    #[test]
    fn a_transaction_in_csv() {
        let strange = Transaction { label: Some(Scenario::AmountHigh), currency: Currency::Jpy, ..example() };
        insta::assert_snapshot!(text(|writer, out| writer.csv(out, &example())), @"0123456789abcdef,u0000042,m000007,12.05,EUR,-40.41680,0.00005,2024-01-01T00:00:00.001Z,");
        insta::assert_snapshot!(text(|writer, out| writer.csv(out, &strange)), @"0123456789abcdef,u0000042,m000007,1205,JPY,-40.41680,0.00005,2024-01-01T00:00:00.001Z,amount_high");
    }

    proptest! {
        #[test]
        fn times_are_those_of_the_calendar(timestamp in 0..253_402_300_799_999_i64) {
            let expected = DateTime::from_timestamp_millis(timestamp).expect("a moment");
            let written = text(|writer, out| writer.push_timestamp(out, timestamp));
            prop_assert_eq!(written, expected.to_rfc3339_opts(SecondsFormat::Millis, true));
        }

        #[test]
        fn numbers_read_back_as_they_are(amount in 0..u64::from(u32::MAX), latitude: i32, jpy: bool) {
            let currency = if jpy { Currency::Jpy } else { Currency::Eur };
            let position = Position { latitude, longitude: 0 };
            let transaction = Transaction { amount, currency, position, ..example() };
            let json = text(|writer, out| writer.json(out, &transaction, true));
            let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            prop_assert_eq!(read["amount"].as_f64(), Some(transaction.amount_in_currency()));
            prop_assert_eq!(read["latitude"].as_f64(), Some(position.latitude_degrees()));
        }
    }
}
