//! The same lines give the same model, however a program wrote them.

use std::fs;

use crate::fixtures::{HEADER, Workplace, csv, invoices};

/// The lines of [`invoices`], taken apart; quotes were around the description.
fn rows(n: usize) -> Vec<Vec<String>> {
    let lines = invoices(n).replace("\"LAMP, \"\"RED\"\"\"", "LAMP");
    lines.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// The shipped pipeline `invoices` with another `[input]`.
fn pipeline(workplace: &Workplace, replacements: &[(&str, &str)]) {
    let mut text = include_str!("../../../resources/pipelines/invoices.toml").to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    fs::write(workplace.path("my.toml"), text).unwrap();
}

/// Both models that come of a file in the dialect of `my.toml`.
fn models(workplace: &Workplace, file: &str) -> [String; 2] {
    let run = workplace.train(file, &["--pipeline", "my.toml"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("dropped"), "{}", run.stdout);
    assert!(!run.stdout.contains("first on line"), "a row was dropped: {}", run.stdout);
    ["kmeans", "bisecting-kmeans"].map(|detector| workplace.model(detector))
}

#[test]
fn the_same_lines_give_the_same_model_in_every_dialect() {
    let workplace = Workplace::new();
    workplace.write("history.csv", &csv(&invoices(80)));
    pipeline(&workplace, &[]);
    let expected = models(&workplace, "history.csv");

    let european = |row: &[String]| {
        let (date, time) = row[4].split_once(' ').unwrap();
        let [month, day, year] = date.split('/').collect::<Vec<_>>()[..] else { panic!("a date") };
        let price = format!("{} €", row[5].replace('.', ","));
        let quantity = if row[3].len() > 3 { format!("{}.{}", &row[3][..1], &row[3][1..]) } else { row[3].clone() };
        format!(
            "{};{};Lampe, \"rot\" für 5 £;{quantity};{day}.{month}.{year} {time};{price};{};{}\r\n",
            row[0], row[1], row[6], row[7]
        )
    };
    let text: String = rows(80).iter().map(|row| european(row)).collect();
    let text = format!("{}\r\n{text}", HEADER.replace(',', ";"));
    let latin1: Vec<u8> = text.chars().map(|c| if c == '€' { 0x80 } else { u8::try_from(c).unwrap() }).collect();
    workplace.write("european.csv", &latin1);
    pipeline(
        &workplace,
        &[
            (
                "[input.aliases]",
                "[input.csv]\ndelimiter = \";\"\ndecimal = \",\"\nthousands = \".\"\ncurrency_signs = true\nencoding = \
                 \"latin1\"\n\n[input.aliases]",
            ),
            ("\"%m/%d/%Y %H:%M\"", "\"%d.%m.%Y %H:%M\""),
        ],
    );
    assert!(models(&workplace, "european.csv") == expected);

    // As Excel saves Unicode text: tabs, UTF-16, a mark of the byte order.
    let text: String = rows(80).iter().map(|row| row.join("\t") + "\r\n").collect();
    let text = format!("\u{feff}{}\r\n{text}", HEADER.replace(',', "\t"));
    workplace.write("unicode.csv", &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    pipeline(&workplace, &[("[input.aliases]", "[input.csv]\ndelimiter = \"\\t\"\n\n[input.aliases]")]);
    assert!(models(&workplace, "unicode.csv") == expected);

    // Without a header, with comments, nulls and moments as counts.
    let epoch = |row: &[String]| {
        let (date, time) = row[4].split_once(' ').unwrap();
        let (day, (hour, minute)) = (date.split('/').nth(1).unwrap(), time.split_once(':').unwrap());
        // 14,669 days were over on the first of March.
        let days = 14_669 + day.parse::<i64>().unwrap() - 1;
        let millis = ((days * 24 + hour.parse::<i64>().unwrap()) * 60 + minute.parse::<i64>().unwrap()) * 60_000;
        format!("{}|{}|\\N|{}.0|{millis}|{}|{}|{}\n", row[0], row[1], row[3], row[5], row[6], row[7])
    };
    let text: String = rows(80).iter().map(|row| epoch(row)).collect();
    workplace.write("bare.csv", format!("# export of yesterday\n{text}# end\n").as_bytes());
    pipeline(
        &workplace,
        &[
            ("[input.aliases]", "[input.csv]\ndelimiter = \"|\"\nheader = false\ncomment = \"#\"\n\n[input.aliases]"),
            ("\"%m/%d/%Y %H:%M\"", "\"unix_ms\""),
        ],
    );
    assert!(models(&workplace, "bare.csv") == expected);
}

#[test]
fn what_a_file_is_not_is_said_in_one_sentence() {
    let workplace = Workplace::new();
    let with = |name: &str, bytes: &[u8]| workplace.write(name, bytes);
    let header = HEADER.replace(',', ";");
    with("semicolons.csv", format!("{header}\n1;s;d;1;3/1/2010 8:00;1;c;UK\n").as_bytes());
    with("twice.csv", format!("Price,{HEADER}\n").as_bytes());
    with("book.csv", b"PK\x03\x04\x14\x00\x06\x00");
    with("array.json", b"[{\"InvoiceNo\":\"1\"},\n{}");
    with("packed.csv", b"\x28\xB5\x2F\xFD\x04\x00");
    for (file, sentence) in [
        (
            "semicolons.csv",
            "semicolons.csv seems to be separated by `;`: say so in the pipeline file, with [input.csv] delimiter = \";\"",
        ),
        (
            "twice.csv",
            "twice.csv line 1: the column `UnitPrice` is there twice, as `Price` and `UnitPrice`: leave one out, or remove \
             the alias from the pipeline file",
        ),
        ("book.csv", "book.csv is a zip archive, as .xlsx workbooks are: unpack it, or save the sheet as CSV"),
        (
            "array.json",
            "cannot read array.json: the JSON array has no end behind the record on line 2: the file may not be whole",
        ),
        ("packed.csv", "packed.csv is compressed by zstd: unpack it with zstd -d, or use gzip"),
    ] {
        workplace.assert_refused(file, &[], sentence);
    }
}

#[test]
fn a_forgotten_quote_loses_its_line_only() {
    let workplace = Workplace::new();
    let lines = invoices(80);
    let broken = format!("{lines}999999,s,\"open,1,3/1/2010 8:00,1,c,UK\n{lines}");
    workplace.write("broken.csv", &csv(&broken));
    let run = workplace.train("broken.csv", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("unclosed_quote, first on line 162"), "{}", run.stdout);
    let read = |text: &str| text.lines().find(|line| line.contains("rows read")).map(str::to_owned).unwrap();
    assert!(read(&run.stdout).contains("321"), "{}", run.stdout);
}

#[test]
fn dates_that_are_hardly_meant_are_taken_counted_and_warned_of() {
    let workplace = Workplace::new();
    let odd = ["3/1/1910 9:00", "3/1/2999 9:00"]
        .map(|date| format!("{},s,d,2,{date},1.5,c,France\n", date.replace(['/', ' ', ':'], "")));
    workplace.write("history.csv", &csv(&(odd.concat() + &invoices(80))));
    let run = workplace.train("history.csv", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let warning = "warning: 2 rows have a date before 1970 or more than a year from now, the first on line 2 of history.csv: \
        `InvoiceDate` is 1910-03-01T09:00:00Z; see whether `datetime_formats`";
    assert!(run.stderr.contains(warning), "{}", run.stderr);
    let row = run.stdout.lines().find(|line| line.contains("with odd dates, first on line 2"));
    assert!(row.is_some_and(|row| row.trim_end_matches(['|', ' ']).ends_with('2')), "{}", run.stdout);
    workplace.write("usual.csv", &csv(&invoices(80)));
    assert_eq!(workplace.train("usual.csv", &["--force"]).stderr.matches("warning").count(), 0);
}
