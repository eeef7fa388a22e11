//! What the names of columns hint at, in the languages of many exports.

/// What a column may be, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// The name of a record: `transaction_id`.
    RecordKey,
    /// The name of an order with several lines: `InvoiceNo`.
    SessionKey,
    Customer,
    Merchant,
    Amount,
    Quantity,
    Price,
    Time,
    Label,
    Currency,
    Latitude,
    Longitude,
    Balance,
    /// The number of a row: what pandas writes in front.
    RowNumber,
}

/// Words that name things with an id.
const ID: &str = "id no nr num number key uuid guid hash ref reference nummer";

const RECORD: &str = "\
    transaction trans tx txn payment booking event record message operation transfer buchung transaktion \
    movimiento operacion transaccion";

const SESSION: &str = "\
    invoice order receipt basket bill ticket purchase cart checkout rechnung beleg bon bestellung \
    rechnungsnummer factura pedido facture commande fattura ordine";

const CUSTOMER: &str = "\
    customer client user cc card account cardholder payer sender holder member buyer debtor orig origin \
    shopper iban kunde kundennummer kunden konto cliente cuenta acheteur compte";

const MERCHANT: &str = "\
    merchant merch terminal shop store vendor seller beneficiary payee dest destination recipient \
    receiver counterparty creditor supplier händler haendler empfänger empfaenger comercio beneficiario \
    marchand bénéficiaire";

const AMOUNT: &[(&str, u32)] = &[
    ("amount amt betrag importe montant importo monto", 4),
    ("umsatz total", 3),
    ("value valor wert sum revenue sales paid", 2),
    ("price cost debit credit", 1),
];

const QUANTITY: &str = "quantity qty units pieces menge anzahl cantidad unidades quantité quantite quantità";

const PRICE: &str = "price unitprice preis einzelpreis stückpreis precio prix prezzo";

const TIME: &[(&str, u32)] = &[
    ("timestamp datetime date time ts datum zeitpunkt fecha buchungstag", 3),
    ("dt zeit created occurred booked step epoch", 2),
    ("hora at unix data", 1),
];

/// Dates of other things than the record.
const OTHER_TIME: &str = "birth dob expiry expires due valid valuta wertstellung updated modified zone type";

const LABEL: &[(&str, u32)] = &[("fraud isfraud fraudulent label anomaly outlier", 3), ("class target chargeback", 2)];

/// Words that say that the column describes a customer or merchant, and does not name it.
const DESCRIBES: &str = "\
    type age city state country zip balance lat latitude lon long longitude category date time amount \
    currency code gender street job email status limit score risk count first last present land";

/// How strongly the name says that the column is that; 0 where it says nothing of the kind.
pub(super) fn strength(name: &str, hint: Hint) -> u32 {
    let words = words(name);
    let has = |list: &str| words.iter().any(|word| is_in(list, word));
    let most = |lists: &[(&str, u32)]| {
        lists.iter().filter(|(list, _)| has(list)).map(|(_, strength)| *strength).max().unwrap_or(0)
    };
    let names = |list: &str| match (has(list), has(ID)) {
        _ if has(DESCRIBES) => 0,
        (true, true) => 3,
        (true, false) => 2,
        _ => 0,
    };
    match hint {
        Hint::RecordKey if has(RECORD) && has(ID) => 4,
        Hint::RecordKey if has("uuid guid") || words == ["id"] => 3,
        Hint::RecordKey if has(SESSION) && has(ID) => 2,
        Hint::RecordKey => u32::from(has(ID) && !has(CUSTOMER) && !has(MERCHANT)),
        Hint::SessionKey if has("line item date time status amount total value day") => 0,
        Hint::SessionKey => match (has(SESSION), has(ID)) {
            (true, true) => 3,
            (true, false) => 2,
            _ => 0,
        },
        Hint::Customer if has(MERCHANT) => 0,
        Hint::Customer => names(CUSTOMER),
        Hint::Merchant => names(MERCHANT),
        Hint::Amount if has(ID) || has("type currency date balance count") => 0,
        Hint::Amount => most(AMOUNT),
        Hint::Quantity => u32::from(has(QUANTITY)),
        Hint::Price => u32::from(has(PRICE)),
        Hint::Time if has(OTHER_TIME) => 0,
        // The form that people read comes before a count of seconds.
        Hint::Time => most(TIME) * 2 - u32::from(has("unix epoch")).min(most(TIME)),
        Hint::Label => most(LABEL) * 2 - u32::from(has("flagged scenario type")).min(most(LABEL)),
        Hint::Currency => u32::from(has("currency ccy devise währung waehrung moneda divisa")),
        Hint::Latitude => u32::from(has("lat latitude")) * (1 + u32::from(has(MERCHANT))),
        Hint::Longitude => u32::from(has("lon long lng longitude")) * (1 + u32::from(has(MERCHANT))),
        Hint::Balance => u32::from(words.iter().any(|word| word.contains("balance") || word == "saldo")),
        Hint::RowNumber => u32::from(matches!(words.join(" ").as_str(), "" | "index" | "unnamed" | "unnamed 0")),
    }
}

/// Whether a list of words has this one.
fn is_in(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == word)
}

/// The words of a name: `InvoiceNo`, `invoice_no` and `invoiceno` are the same two.
fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, &c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            words.push(String::new());
            continue;
        }
        let before = at.checked_sub(1).map(|before| chars[before]);
        let after = chars.get(at + 1);
        let begins = match before {
            Some(before) if before.is_alphanumeric() => {
                (c.is_uppercase()
                    && (before.is_lowercase() || (before.is_uppercase() && after.is_some_and(|c| c.is_lowercase()))))
                    || c.is_numeric() != before.is_numeric()
            }
            _ => false,
        };
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words.into_iter().flat_map(split).collect()
}

/// `customerid` is two words, when the first is one that is known.
fn split(word: String) -> Vec<String> {
    const SECOND: &str = "id no nr num number key date time name price amount amt code dt";
    let known = |first: &str| [RECORD, SESSION, CUSTOMER, MERCHANT, "unit"].iter().any(|list| is_in(list, first));
    if let Some(label) = word.strip_prefix("is").filter(|rest| LABEL.iter().any(|(list, _)| is_in(list, rest))) {
        return vec!["is".to_owned(), label.to_owned()];
    }
    let split = SECOND
        .split_ascii_whitespace()
        .find_map(|second| word.strip_suffix(second).filter(|first| known(first)).map(|first| (first, second)));
    match split {
        Some((first, second)) => vec![first.to_owned(), second.to_owned()],
        None => vec![word],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        for (name, expected) in [
            ("InvoiceNo", "invoice no"),
            ("CustomerID", "customer id"),
            ("Customer ID", "customer id"),
            ("customerid", "customer id"),
            ("TX_FRAUD", "tx fraud"),
            ("isFraud", "is fraud"),
            ("isfraud", "is fraud"),
            ("TransactionAmt", "transaction amt"),
            ("trans_date_trans_time", "trans date trans time"),
            ("IBANNumber", "iban number"),
            ("card1", "card 1"),
            ("Unnamed: 0", "unnamed 0"),
            ("", ""),
        ] {
            assert_eq!(words(name).join(" "), expected, "{name}");
        }
    }

    #[test]
    fn names_hint_at_what_columns_are() {
        for (name, hint) in [
            ("transaction_id", Hint::RecordKey),
            ("trans_num", Hint::RecordKey),
            ("TransactionID", Hint::RecordKey),
            ("InvoiceNo", Hint::SessionKey),
            ("Order ID", Hint::SessionKey),
            ("cc_num", Hint::Customer),
            ("nameOrig", Hint::Customer),
            ("Kundennummer", Hint::Customer),
            ("nameDest", Hint::Merchant),
            ("TERMINAL_ID", Hint::Merchant),
            ("Betrag", Hint::Amount),
            ("TransactionAmt", Hint::Amount),
            ("Quantity", Hint::Quantity),
            ("UnitPrice", Hint::Price),
            ("Buchungstag", Hint::Time),
            ("TransactionDT", Hint::Time),
            ("is_fraud", Hint::Label),
            ("Class", Hint::Label),
            ("merch_lat", Hint::Latitude),
            ("long", Hint::Longitude),
            ("oldbalanceOrg", Hint::Balance),
            ("Unnamed: 0", Hint::RowNumber),
        ] {
            assert!(strength(name, hint) > 0, "{name}: {hint:?}");
        }
        for (name, hint) in [
            ("Description", Hint::Amount),
            ("dob", Hint::Time),
            ("InvoiceDate", Hint::SessionKey),
            ("merchant_category", Hint::Merchant),
            ("customer_age", Hint::Customer),
            ("merchant_account_id", Hint::Customer),
            ("amount_currency", Hint::Amount),
        ] {
            assert_eq!(strength(name, hint), 0, "{name}: {hint:?}");
        }
        assert!(strength("trans_date_trans_time", Hint::Time) > strength("unix_time", Hint::Time));
        assert!(strength("isFraud", Hint::Label) > strength("isFlaggedFraud", Hint::Label));
    }
}
