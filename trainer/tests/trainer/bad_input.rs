//! Each wrong input is one sentence, exit code 1 and no file.

use crate::fixtures::{HEADER, Workplace, csv, invoices};

#[test]
fn a_missing_file() {
    Workplace::new().assert_refused("no.csv", &[], "there is no file no.csv: name your history with --input FILE");
}

#[test]
fn a_pattern_without_files() {
    Workplace::new().assert_refused("no/*.csv", &[], "no file matches no/*.csv: name your history with --input FILE");
}

#[test]
fn a_folder() {
    let workplace = Workplace::new();
    std::fs::create_dir(workplace.path("history")).unwrap();
    workplace.assert_refused("history", &[], "history is a folder: name its files, as in --input 'history/*.csv'");
}

#[test]
fn an_empty_file() {
    for name in ["empty.csv", "empty.parquet", "empty.csv.gz"] {
        let workplace = Workplace::new();
        workplace.write(name, b"");
        let columns = HEADER.replace(',', ", ");
        let sentence = format!("{name} is empty: it should start with a header line that names the columns {columns}");
        workplace.assert_refused(name, &[], &sentence);
    }
}

#[test]
fn a_header_and_nothing_else() {
    let workplace = Workplace::new();
    workplace.write("history.jsonl", b"\n\n");
    let sentence = "history.jsonl: there is no row of data, so there is nothing to learn from";
    workplace.assert_refused("history.jsonl", &[], sentence);
    let workplace = Workplace::with_history("");
    let sentence = "history.csv: there is no row of data, so there is nothing to learn from";
    workplace.assert_refused("history.csv", &[], sentence);
}

#[test]
fn wrong_columns() {
    let workplace = Workplace::new();
    workplace.write(
        "history.csv",
        b"Number,StockCode,Description,Quantity,InvoiceDate,Cost,CustomerID,Country\n1,2,3,4,5,6,7,8\n",
    );
    let sentence = "history.csv line 1: the columns `InvoiceNo`, `UnitPrice` are missing; the columns found are Number, \
        StockCode, Description, Quantity, InvoiceDate, Cost, CustomerID, Country; rename them, or add their names under \
        [input.aliases] in the pipeline file";
    workplace.assert_refused("history.csv", &[], sentence);
}

#[test]
fn a_file_of_something_else() {
    let workplace = Workplace::new();
    workplace.write("picture.csv", &(0..=255).cycle().take(9000).collect::<Vec<u8>>());
    let run = workplace.train("picture.csv", &[]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("error: picture.csv line 1: the columns `InvoiceNo`"), "{}", run.stderr);
    assert!(run.stderr.len() < 1500 && run.stderr.lines().count() == 1, "{}", run.stderr);
}

#[test]
fn no_usable_row() {
    let workplace = Workplace::with_history(
        "1,s,d,1,3/1/2010 8:00,-inf,c,UK\n2,s,d,1,3/1/2010 8:00,inf,c,UK\n3,s,d,x,3/1/2010 8:00,1,c,UK\n",
    );
    let sentence = "history.csv: none of the 3 rows can be used; the most frequent reason is not_finite:UnitPrice (2 rows, \
        first on line 2 of history.csv)";
    workplace.assert_refused("history.csv", &[], sentence);
}

/// Invoices of a year whose dates are d/m/Y, and are read as m/d/Y: those of the first twelve days of a month are read as
/// other days, and the rest cannot be read.
fn days_before_months() -> String {
    invoices(300)
        .lines()
        .enumerate()
        .map(|(row, line)| {
            let (day, month) = (1 + row / 2 % 28, 1 + row / 60);
            line.replace(&format!("3/{day}/2010"), &format!("{day}/{month}/2010")) + "\n"
        })
        .collect()
}

#[test]
fn dates_of_another_country() {
    let sentence = "history.csv: 336 of 600 rows (56%) are dropped for not_a_datetime:InvoiceDate, the first on line 26, which is \
        more than --max-bad 5%; datetime_formats = [\"%d/%m/%Y %H:%M\"] in the pipeline file would read all of its dates";
    let workplace = Workplace::with_history(&days_before_months());
    workplace.assert_refused("history.csv", &[], sentence);
    workplace.assert_refused("history.csv", &["--max-bad", "0.55"], &sentence.replace("5%;", "55%;"));
    // As the error says.
    let shipped = include_str!("../../../resources/pipelines/invoices.toml");
    workplace.write("mine.toml", shipped.replacen("\"%m/%d/%Y %H:%M\"", "\"%d/%m/%Y %H:%M\"", 1).as_bytes());
    assert_eq!(workplace.train("history.csv", &["--pipeline", "mine.toml"]).code, Some(0));
    assert_eq!(workplace.train("history.csv", &["--max-bad", "100%"]).code, Some(0));
}

#[test]
fn dates_of_which_none_can_be_read_are_named_too() {
    let workplace = Workplace::with_history(
        &invoices(20).replace("3/", "2010-03-").replace("/2010 ", "T").replace(":05,", ":05Z,"),
    );
    let run = workplace.train("history.csv", &[]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("none of the 40 rows can be used"), "{}", run.stderr);
    assert!(
        run.stderr.contains("; datetime_formats = [\"%Y-%m-%dT%H:%MZ\"] in")
            || run.stderr.contains("line 2 of history.csv)"),
        "{}",
        run.stderr
    );
}

#[test]
fn numbers_of_another_country() {
    let lines: String = (0..40).map(|n| format!("{n},s,d,1,3/1/2010 8:00,\"{n},25\",c,UK\n")).collect();
    let workplace = Workplace::with_history(&lines);
    let run = workplace.train("history.csv", &[]);
    assert_eq!(run.code, Some(1));
    let wanted = "; decimal = \",\" under [input.csv] in the pipeline file would read its numbers";
    assert!(run.stderr.trim_end().ends_with(wanted), "{}", run.stderr);
}

#[test]
fn more_bad_rows_than_are_allowed() {
    let bad: String = (0..9).map(|row| format!("9{row},s,d,1,3/1/2010 8:00,-1,c,UK\n")).collect();
    let workplace = Workplace::with_history(&(invoices(40) + &bad));
    // Nine say nothing, though they are a tenth.
    assert_eq!(workplace.train("history.csv", &["--max-bad", "0"]).code, Some(0));
    let workplace = Workplace::with_history(&(invoices(40) + &bad + "99,s,d,1,3/1/2010 8:00,-1,c,UK\n"));
    let sentence = "history.csv: 10 of 90 rows (11.1%) are dropped for out_of_range:UnitPrice, the first on line 82, which is more \
        than --max-bad 5%; mend the file or the pipeline file, or allow it with --max-bad 100%";
    workplace.assert_refused("history.csv", &[], sentence);
    assert_eq!(workplace.train("history.csv", &["--max-bad", "12%"]).code, Some(0));
}

#[test]
fn a_bad_file_among_good_ones() {
    let workplace = Workplace::with_history(&days_before_months());
    workplace.write("good.csv", &csv(&invoices(3000)));
    let run = workplace.train("good.csv", &["--input", "history.csv"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("error: history.csv: 336 of 600 rows"), "{}", run.stderr);
    assert!(!workplace.path("models").exists());
}

#[test]
fn only_cancellations() {
    let workplace = Workplace::with_history("C1,s,d,-1,3/1/2010 8:00,1,c,UK\n2,s,d,1,3/1/2010 8:00,1,,UK\n");
    let sentence =
        "none of the 2 entities in the history can be trained on: cancellation (1), missing_required:CustomerID (1)";
    workplace.assert_refused("history.csv", &[], sentence);
}

#[test]
fn fewer_invoices_than_clusters() {
    let workplace = Workplace::with_history(&invoices(4));
    let sentence = "detector `kmeans`: 4 rows cannot make 7 clusters: lower k to at most 4, or train on more data";
    workplace.assert_refused("history.csv", &["--k", "7"], sentence);
}

#[test]
fn fewer_invoices_than_top() {
    let workplace = Workplace::with_history(&invoices(30));
    let sentence = "detector `kmeans`: threshold top = 2000 needs at least 2000 training rows, but there are 30: use \
        threshold = { quantile = 0.99 }";
    workplace.assert_refused("history.csv", &["--top", "2000"], sentence);
}

#[test]
fn all_invoices_equal() {
    let lines: String = (0..50).map(|n| format!("{n},s,d,3,3/1/2010 8:00,2.5,c,UK\n")).collect();
    let sentence =
        "detector `kmeans`: all 50 rows have the same features: there is nothing to tell apart, so train on other data";
    Workplace::with_history(&lines).assert_refused("history.csv", &[], sentence);
}

#[test]
fn a_gzip_file_cut_short() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&csv(&invoices(100))).unwrap();
    let whole = encoder.finish().unwrap();
    let workplace = Workplace::new();
    workplace.write("history.csv.gz", &whole[..whole.len() / 2]);
    let run = workplace.train("history.csv.gz", &[]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("error: history.csv.gz is not a complete gzip file ("), "{}", run.stderr);
}

#[test]
fn a_parquet_file_cut_short() {
    let workplace = Workplace::new();
    workplace.write("history.parquet", b"PAR1 and then nothing of use");
    let run = workplace.train("history.parquet", &[]);
    assert_eq!((run.code, run.stderr.lines().count()), (Some(1), 1), "{run:?}");
    assert!(run.stderr.starts_with("error: history.parquet is not a complete Parquet file: "), "{}", run.stderr);
}

#[test]
fn an_unknown_device() {
    let run = Workplace::with_history(&invoices(30)).run(&["--device", "tpu", "--input", "history.csv"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("unknown device `tpu`: use auto, cpu, gpu"), "{}", run.stderr);
}

#[test]
fn an_unknown_key_and_an_unknown_column_in_a_pipeline_file() {
    let shipped = include_str!("../../../resources/pipelines/invoices.toml");
    let workplace = Workplace::with_history(&invoices(30));
    workplace.write("key.toml", shipped.replace("session_gap", "sesion_gap").as_bytes());
    let sentence = "key.toml: unknown key `sesion_gap` in [entity]; did you mean `session_gap`?";
    workplace.assert_refused("history.csv", &["--pipeline", "key.toml"], sentence);
    workplace.write("column.toml", shipped.replace("mean(UnitPrice)", "mean(UnitPrize)").as_bytes());
    let sentence = "column.toml: [features] AvgUnitPrice: there is no column `UnitPrize`; did you mean `UnitPrice`?";
    workplace.assert_refused("history.csv", &["--pipeline", "column.toml"], sentence);
    let sentence = "no pipeline `invoces`: it is neither a file nor one of invoices, invoices-spark, transactions, fraud-handbook, online-retail, paysim, sparkov, creditcard";
    workplace.assert_refused("history.csv", &["--pipeline", "invoces"], sentence);
}

#[test]
fn a_place_that_cannot_be_written_to() {
    let workplace = Workplace::with_history(&invoices(60));
    workplace.write("taken", b"a file, not a folder");
    let run = workplace.train("history.csv", &["--models", "taken"]);
    assert_eq!((run.code, run.stderr.lines().count()), (Some(1), 1), "{run:?}");
    assert!(run.stderr.starts_with("error: cannot write taken/invoices/reports/"), "{}", run.stderr);
}

/// Only the last file cannot be written, and the others are not changed either.
#[test]
fn when_one_file_cannot_be_written_none_is() {
    let workplace = Workplace::with_history(&invoices(60));
    std::fs::create_dir_all(workplace.path("models/invoices")).unwrap();
    workplace.write("models/invoices/bisecting-kmeans", b"a file, not a folder");
    let run = workplace.train("history.csv", &[]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.starts_with("error: cannot write models/invoices/bisecting-kmeans/model.json"),
        "{}",
        run.stderr
    );
    for folder in ["kmeans", "reports"] {
        let left = std::fs::read_dir(workplace.path("models/invoices").join(folder)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{folder} is empty");
    }
}
