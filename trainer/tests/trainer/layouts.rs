//! Small files in the layouts of public data sets.

pub fn rows(n: usize, header: &str, row: impl Fn(usize) -> String) -> Vec<u8> {
    (format!("{header}\n") + &(0..n).map(row).map(|row| row + "\n").collect::<String>()).into_bytes()
}

/// The lines of a shop's invoices: number, item, quantity, day of 2010, minute of the day, price in cents, customer.
pub fn invoice_line(row: usize) -> (usize, usize, usize, usize, usize, usize, usize) {
    let invoice = row / 3;
    (
        536_365 + invoice,
        row % 3,
        1 + row * 7 % 12,
        invoice / 3,
        480 + invoice % 60,
        55 + row * 13 % 900,
        17_850 + invoice % 9,
    )
}

pub const LINES: usize = 300;

pub const RETAIL: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";

pub fn month_and_day(day: usize) -> (usize, usize) {
    (1 + day / 28, 1 + day % 28)
}

pub fn retail(header: &str, date: impl Fn(usize, usize, usize) -> String) -> Vec<u8> {
    rows(LINES, header, |row| {
        let (invoice, item, quantity, day, minute, price, customer) = invoice_line(row);
        let ((month, day), prefix) = (month_and_day(day), if invoice % 20 == 7 { "C" } else { "" });
        let customer = if invoice % 11 == 3 { String::new() } else { customer.to_string() };
        let date = date(month, day, minute);
        let price = format!("{}.{:02}", price / 100, price % 100);
        format!("{prefix}{invoice},S{item},\"MUG, RED\",{quantity},{date},{price},{customer},United Kingdom")
    })
}

pub fn us(month: usize, day: usize, minute: usize) -> String {
    format!("{month}/{day}/2010 {}:{:02}", minute / 60, minute % 60)
}

/// Payments: user, merchant, cents, second since the first.
pub fn payment(row: usize) -> (usize, usize, usize, usize) {
    (row * 7 % 13, row * 5 % 11, 100 + row * 37 % 9000, row * 1800 + row % 7)
}

/// The simulator of payments with mobile money.
pub fn paysim() -> Vec<u8> {
    let header = "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud,isFlaggedFraud";
    rows(LINES, header, |row| {
        let (user, merchant, cents, _) = payment(row);
        let (amount, old) = (format!("{}.{:02}", cents / 100, cents % 100), cents * 3);
        let fraud = usize::from(row % 50 == 9);
        format!(
            "{},PAYMENT,{amount},C{}{user},{old}.5,{}.25,M{merchant},{row}.0,{cents}.0,{fraud},0",
            1 + row / 20,
            1000 + row,
            old - 1
        )
    })
}

/// Card payments whose columns are principal components, with quoted labels.
pub fn creditcard() -> Vec<u8> {
    let names = |quote: &str| (1..=28).map(|v| format!("{quote}V{v}{quote}")).collect::<Vec<_>>().join(",");
    rows(LINES, &format!("\"Time\",{},\"Amount\",\"Class\"", names("\"")), |row| {
        let (_, _, cents, second) = payment(row);
        let values: Vec<String> = (0..28).map(|v| format!("{}", ((row * (v + 3)) % 97) as f64 / 31.0 - 1.5)).collect();
        let time = if row == 3 { "1e+05".to_owned() } else { (second / 20).to_string() };
        format!("{time},{},{}.{:02},\"{}\"", values.join(","), cents / 100, cents % 100, usize::from(row % 60 == 11))
    })
}

/// The generator of card payments, with the number of the row in front.
pub fn sparkov() -> Vec<u8> {
    let header = ",trans_date_trans_time,cc_num,merchant,category,amt,first,last,gender,street,city,state,zip,lat,long,\
        city_pop,job,dob,trans_num,unix_time,merch_lat,merch_long,is_fraud";
    rows(LINES, header, |row| {
        let (user, merchant, cents, second) = payment(row);
        let (day, minute) = (second / 86_400, second / 60 % 1440);
        let date = format!("2019-01-{:02} {:02}:{:02}:18", 1 + day, minute / 60, minute % 60);
        format!(
            "{row},{date},{},\"fraud_Rippin, {merchant}\",misc_net,{}.{:02},Jo,Po,F,{user} Elm,X,NC,2{user:03},{}.5,-81.5,\
                 3495,Psychologist,1988-03-{:02},0b24{row:06x}ab,{},{}.01,-82.{},{}",
            2_703_186_189_652_000usize + user,
            cents / 100,
            cents % 100,
            30 + user,
            1 + user,
            1_325_376_018 + second,
            30 + merchant,
            row,
            usize::from(row % 60 == 11)
        )
    })
}
