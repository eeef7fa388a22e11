//! Small tables, good and bad.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use polars::prelude::*;
use tempfile::TempDir;

use super::*;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn options(files: &[PathBuf], label: Option<&str>) -> TableOptions {
    TableOptions {
        files: files.to_vec(),
        label: label.map(str::to_owned),
        anomaly: None,
        normal: Vec::new(),
        exclude: Vec::new(),
        categorical: CategoricalRule::Drop,
    }
}

fn read_with(options: &TableOptions) -> Result<Dataset, TableError> {
    read(options, Budget(None), Progress { quiet: true })
}

fn of_csv(text: &str, change: impl FnOnce(&mut TableOptions)) -> Result<Dataset, String> {
    let folder = Folder::new();
    let mut options = options(&[folder.file("t.csv", text)], Some("y"));
    change(&mut options);
    let path = folder.0.path().display().to_string() + "/";
    read_with(&options).map_err(|error| error.to_string().replace(&path, ""))
}

fn column(dataset: &Dataset, name: &str) -> Vec<f64> {
    let index = dataset.features.iter().position(|feature| feature == name).unwrap();
    dataset.rows.column(index).collect()
}

#[test]
fn every_kind_of_column_becomes_what_it_is() {
    let text = "a,flag,when,city,nothing,y\n\
        1,true,2024-01-01,Rome,,0\n\
        2.5,no,2024-01-02 12:00:00,Oslo,NA,0\n\
        ,YES,2024-01-03,Rome,,1.0\n";
    let dataset = of_csv(text, |_| {}).unwrap();
    assert_eq!(dataset.features, ["a", "flag", "when"]);
    assert_eq!(column(&dataset, "flag"), [1.0, 0.0, 1.0]);
    assert_eq!(column(&dataset, "when"), [1_704_067_200.0, 1_704_196_800.0, 1_704_240_000.0]);
    assert!(column(&dataset, "a")[2].is_nan());
    assert_eq!(dataset.labels, Some(vec![false, false, true]));
    assert_eq!(
        dataset.notes,
        [
            "3 features are used: a, flag, when",
            "1 column with text that is not a number is left out: city",
            "1 column without any value is left out: nothing"
        ]
    );
    let one_hot = of_csv(text, |options| options.categorical = CategoricalRule::OneHot).unwrap();
    assert_eq!(one_hot.features, ["a", "flag", "when", "city=Oslo", "city=Rome"]);
    assert_eq!(column(&one_hot, "city=Rome"), [1.0, 0.0, 1.0]);
    let refused = of_csv(text, |options| options.categorical = CategoricalRule::Refuse).unwrap_err();
    assert_eq!(
        refused,
        "these columns contain text that is not a number, such as `Rome`: city; use --categorical drop or one-hot, or \
         --exclude them"
    );
    let excluded = of_csv(text, |options| options.exclude = vec!["city".into(), "when".into()]).unwrap();
    assert_eq!(excluded.features, ["a", "flag"]);
}

#[test]
fn a_text_far_down_makes_a_column_of_texts() {
    let rows: String = (0..500).map(|row| format!("{},{row},{}\n", row % 7, u8::from(row == 3))).collect();
    let text = format!("a,b,y\n{rows}x,1,0\n");
    let dataset = of_csv(&text, |_| {}).unwrap();
    assert_eq!(dataset.features, ["b"]);
    let one_hot = of_csv(&text, |options| options.categorical = CategoricalRule::OneHot).unwrap();
    assert_eq!(one_hot.features.len(), 9, "{:?}", one_hot.features);
}

#[test]
fn many_texts_are_not_made_features() {
    let rows: String = (0..100).map(|row| format!("name{row},{row},{}\n", u8::from(row == 3))).collect();
    let dataset = of_csv(&format!("a,b,y\n{rows}"), |options| options.categorical = CategoricalRule::OneHot).unwrap();
    assert_eq!(dataset.features, ["b"]);
}

#[test]
fn labels_say_which_rows_are_anomalies() {
    for (values, expected) in [
        (["0", "1", "1"], Some([false, true, true])),
        (["false", "TRUE", "false"], Some([false, true, false])),
        (["n", "o", "n"], Some([false, true, false])),
        (["good", "weird", "weird"], Some([false, true, true])),
        (["fraud", "x", "x"], Some([true, false, false])),
        (["1", "-1", "1"], Some([false, true, false])),
        (["2", "2", "1"], Some([false, false, true])),
        (["a", "b", "c"], None),
    ] {
        let rows: String = values.iter().map(|value| format!("1,{value}\n")).collect();
        let labels = of_csv(&format!("a,y\n{rows}"), |_| {}).ok().and_then(|dataset| dataset.labels);
        assert_eq!(labels, expected.map(Vec::from), "{values:?}");
    }
    let said = of_csv("a,y\n1,a\n1,b\n1,c\n1,b\n", |options| options.anomaly = Some("b".into())).unwrap();
    assert_eq!(said.labels, Some(vec![false, true, false, true]));
}

#[test]
fn bad_labels_are_one_clear_sentence() {
    let cases = [
        (
            "a,y\n1,0\n2,0\n",
            "every row has the label `y` = 0: without an anomaly it cannot serve for evaluation; leave out --label \
            to compare without labels",
        ),
        (
            "a,y\n1,1\n2,1\n",
            "every row has the label `y` = 1: without a normal row it cannot serve for evaluation; leave out --label \
            to compare without labels",
        ),
        (
            "a,y\n1,0\n2,1\n3,2\n",
            "the label `y` is not binary, its values are 0, 1, 2: name a column with two values, or name the \
            value that means an anomaly with --anomaly VALUE",
        ),
        (
            "a,y\n1,0\n2,\n3,1\n",
            "the label `y` is missing in 1 rows, first on line 3 of t.csv: give each row a label, or say that \
            rows without one are normal, with --normal-label \"\"",
        ),
        (
            "a,y\n1,left\n2,right\n",
            "the label `y` has the values left, right, which are equally frequent: name the one that \
            means an anomaly with --anomaly VALUE",
        ),
        ("a,b\n1,0\n", "t.csv has no column `y`; its columns are a, b"),
        ("a,a,y\n1,0,1\n", "t.csv has two columns called `a`: give them different names"),
        ("a,y\n", "t.csv: there is no row of data, so there is nothing to compare on"),
        ("", "t.csv is empty: it should start with a header line that names its columns"),
        ("a,y\nx,0\ny,1\n", "t.csv has no column of numbers: there is nothing to compare detectors on"),
    ];
    for (text, sentence) in cases {
        assert_eq!(of_csv(text, |_| {}).unwrap_err(), sentence);
    }
    let error = of_csv("a,y\n1,0\n2,1\n", |options| options.anomaly = Some("7".into())).unwrap_err();
    assert_eq!(error, "no row has the label `y` = 7; its values are 0, 1");
    let many: String = (0..50).map(|row| format!("1,v{row:02}\n")).collect();
    let error = of_csv(&format!("a,y\n{many}"), |_| {}).unwrap_err();
    assert!(error.contains("v08, ...: name a column"), "{error}");
}

#[test]
fn labels_may_be_said_to_be_normal() {
    let text = "a,y\n1,\n2,Genuine\n3,card theft\n4,0\n5,refund\n";
    let labels = |normal: &[&str]| {
        let normal = normal.iter().map(|text| (*text).to_owned()).collect();
        of_csv(text, |options| options.normal = normal).map(|dataset| dataset.labels.unwrap())
    };
    assert_eq!(labels(&["", "genuine", "0.0"]), Ok(vec![false, false, true, false, true]));
    assert_eq!(labels(&["", "genuine", "0", "refund"]), Ok(vec![false, false, true, false, false]));
    assert!(labels(&["genuine"]).unwrap_err().contains("is missing in 1 rows, first on line 2 of t.csv"));
    let all = labels(&["", "genuine", "card theft", "0", "refund"]).unwrap_err();
    assert!(all.contains("every row with the label `y` is normal"), "{all}");
    let none = of_csv("a,y\n1,x\n2,z\n", |options| options.normal = vec!["ok".to_owned()]).unwrap_err();
    assert_eq!(none, "with --normal-label \"ok\", every row with the label `y` is an anomaly; its values are x, z");
}

/// A file that another program wrote: `tests/data/README.md` of the crate `records` says what is in it.
#[test]
fn records_of_avro_are_a_table() {
    let folder = Folder::new();
    let path = folder.file("payments.avro", include_bytes!("../../../../shared/records/tests/data/deflate.avro"));
    let table = read_with(&options(&[path], None)).unwrap();
    let (amount, score) = (column(&table, "amount"), column(&table, "score"));
    assert_eq!((amount.len(), amount[0], score[5]), (50, -2000.0, 1.25));
    assert!(score[0].is_nan());
    let has = |name: &str| table.features.iter().any(|feature| feature == name);
    assert!(has("fee") && has("at"), "{:?}", table.features);
    assert!(!has("items") && !has("channel"), "{:?}", table.features);
}

#[test]
fn json_lines_are_a_table() {
    let folder = Folder::new();
    let json = "{\"x\":1,\"in\":{\"side\":2.5},\"y\":false,\"tags\":[1]}\nnonsense\n\n{\"y\":true,\"when\":\"2024-01-01\",\"x\":\"3\"}\n";
    let files = [folder.file("a.jsonl", json), folder.file("b.csv", "y,x,when,in.side,tags\n0,4,,5,\n")];
    let dataset = read_with(&options(&files, Some("y"))).unwrap();
    assert_eq!(dataset.features, ["x", "in.side", "when"]);
    assert_eq!(column(&dataset, "x"), [1.0, 3.0, 4.0]);
    let inside = column(&dataset, "in.side");
    assert!(inside[0] == 2.5 && inside[1].is_nan() && inside[2] == 5.0, "{inside:?}");
    assert_eq!(dataset.labels, Some(vec![false, true, false]));
    assert_eq!(dataset.notes[0], "3 features are used: x, in.side, when");
    assert!(dataset.notes[1].starts_with("1 rows are no JSON objects and are left out, first on line 2 of "));
    assert_eq!(dataset.notes[2], "1 column of a type that is no number is left out: tags (a list or an object)");
    let array = folder.file("c.json", "[\n  {\n    \"x\": 1,\n    \"y\": 0\n  },\n  {\"x\": 2, \"y\": 1}, 7\n]\n");
    let dataset = read_with(&options(&[array], Some("y"))).unwrap();
    assert_eq!((column(&dataset, "x"), dataset.labels), (vec![1.0, 2.0], Some(vec![false, true])));
    assert!(dataset.notes.iter().any(|note| note.contains("first on line 6 of ")), "{:?}", dataset.notes);
    let error = read_with(&options(&[folder.file("e.json", "[{\"x\":1},")], None)).unwrap_err().to_string();
    assert!(error.contains("the JSON array has no end behind the record on line 1"), "{error}");
    let error = read_with(&options(&[folder.file("d.jsonl", "1\n2\n")], None)).unwrap_err().to_string();
    assert!(
        error.ends_with("d.jsonl holds no JSON object: one object per line, or an array of objects, would be right"),
        "{error}"
    );
}

#[test]
fn rows_with_too_few_fields_are_left_out_and_counted() {
    let dataset = of_csv("a,b,y\n1,2,0\n1,2\n3,4,1\n1,2,3,4\n", |_| {}).unwrap();
    assert_eq!(dataset.rows.n_samples(), 2);
    assert_eq!(dataset.notes.len(), 2);
    assert!(dataset.notes[1].starts_with("2 rows do not have 3 fields and are left out, first on line 3 of "));
}

#[test]
fn files_in_any_format_are_one_table() {
    let folder = Folder::new();
    let csv = folder.file("a.csv", "x,z,y\n1,2,0\n3,NaN,1\n");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"y,more,z,x\n0,7,6,5\n").unwrap();
    let gzip = folder.file("b.csv.gz", gzip.finish().unwrap());
    let mut frame = DataFrame::new_infer_height(vec![
        Column::new("x".into(), vec![Some(7i32), None]),
        Column::new("y".into(), vec![false, true]),
        Column::new("z".into(), vec![8f32, f32::INFINITY]),
    ])
    .unwrap();
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
    let parquet = folder.file("c.parquet", bytes);
    let dataset = read_with(&options(&[csv, gzip, parquet], Some("y"))).unwrap();
    assert_eq!(dataset.features, ["x", "z"]);
    let numbers: Vec<Option<f64>> =
        dataset.rows.values().iter().map(|value| (!value.is_nan()).then_some(*value)).collect();
    let expected = [1.0, 2.0, 3.0, -1.0, 5.0, 6.0, 7.0, 8.0, -1.0, -1.0];
    assert_eq!(numbers, expected.map(|value| (value > 0.0).then_some(value)));
    assert_eq!(dataset.labels, Some(vec![false, true, false, false, true]));
}

#[test]
fn a_file_that_lacks_a_column_is_refused() {
    let folder = Folder::new();
    let files = [folder.file("a.csv", "x,y\n1,0\n2,1\n"), folder.file("b.csv", "x,label\n1,0\n")];
    let error = read_with(&options(&files, Some("y"))).unwrap_err().to_string();
    assert!(error.ends_with("b.csv has no column `y`; its columns are x, label"), "{error}");
}

#[test]
fn parquet_of_texts_dates_and_other_types() {
    let moments: Int64Chunked = [Some(1_000), Some(2_500), None].into_iter().collect();
    let mut frame = DataFrame::new_infer_height(vec![
        Column::new("number".into(), ["1", "2.5", ""]),
        Column::new("text".into(), ["a", "b", "c"]),
        moments.with_name("at".into()).into_datetime(TimeUnit::Milliseconds, None).into_column(),
        Column::new("kind".into(), ["normal", "outlier", "normal"]),
    ])
    .unwrap();
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
    let folder = Folder::new();
    let dataset = read_with(&options(&[folder.file("t.parquet", bytes)], Some("kind"))).unwrap();
    assert_eq!(dataset.features, ["number", "at"]);
    assert_eq!(column(&dataset, "at")[..2], [1.0, 2.5]);
    assert_eq!(column(&dataset, "number")[..2], [1.0, 2.5]);
    assert_eq!(dataset.labels, Some(vec![false, true, false]));
}

/// A Parquet file with a column of each type that this build of Polars has no column for; two rows and a missing value.
fn every_type() -> Vec<u8> {
    use parquet::data_type::{ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType};
    use parquet::data_type::{Int32Type, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
    use parquet::schema::parser::parse_message_type;

    fn put<T: DataType>(group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>, values: [T::T; 2]) {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<T>().write_batch(&values, Some(&[1, 1, 0]), None).unwrap();
        column.close().unwrap();
    }

    let schema = "message m {
        optional int32 u8 (UINT_8); optional int32 u16 (UINT_16); optional int32 i8 (INT_8);
        optional int32 price (DECIMAL(9,2)); optional int64 total (DECIMAL(18,3));
        optional fixed_len_byte_array(12) large (DECIMAL(28,4)); optional byte_array any (DECIMAL(30,1));
        optional int64 id (DECIMAL(18,0)); optional int32 at (TIME(MILLIS,true)); optional int64 then (TIME(MICROS,false));
        optional int32 day (DATE); optional fixed_len_byte_array(2) half (FLOAT16); optional byte_array raw;
        optional int32 y (UINT_8);
    }";
    let mut bytes = Vec::new();
    let schema = std::sync::Arc::new(parse_message_type(schema).unwrap());
    let properties = std::sync::Arc::new(WriterProperties::default());
    let mut file = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    let fixed = |bytes: &[u8]| FixedLenByteArray::from(ByteArray::from(bytes.to_vec()));
    put::<Int32Type>(&mut group, [7, 200]);
    put::<Int32Type>(&mut group, [7, 60_000]);
    put::<Int32Type>(&mut group, [7, -100]);
    put::<Int32Type>(&mut group, [1250, -199]);
    put::<Int64Type>(&mut group, [9_007_199_254_740_993, -1]);
    put::<FixedLenByteArrayType>(
        &mut group,
        [fixed(&12_345i128.to_be_bytes()[4..]), fixed(&(-5i128).to_be_bytes()[4..])],
    );
    put::<ByteArrayType>(&mut group, [ByteArray::from(vec![0x7F]), ByteArray::from(vec![0xFF, 0x00])]);
    put::<Int64Type>(&mut group, [13_085, 12]);
    put::<Int32Type>(&mut group, [3_600_500, 0]);
    put::<Int64Type>(&mut group, [1_500_000, 86_399_000_000]);
    put::<Int32Type>(&mut group, [1, -1]);
    put::<FixedLenByteArrayType>(&mut group, [fixed(&[0x00, 0x3C]), fixed(&[0x00, 0xC0])]);
    put::<ByteArrayType>(&mut group, [ByteArray::from(vec![1]), ByteArray::from(vec![2])]);
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int32Type>().write_batch(&[0, 1, 0], Some(&[1, 1, 1]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    file.close().unwrap();
    bytes
}

#[test]
fn columns_of_every_type_are_read_or_named() {
    let folder = Folder::new();
    let dataset = read_with(&options(&[folder.file("t.parquet", every_type())], Some("y"))).unwrap();
    for (name, expected) in [
        ("u8", [7.0, 200.0]),
        ("u16", [7.0, 60_000.0]),
        ("i8", [7.0, -100.0]),
        ("price", [12.5, -1.99]),
        ("total", [9_007_199_254_740.993, -0.001]),
        ("large", [1.2345, -0.0005]),
        ("any", [12.7, -25.6]),
        ("id", [13_085.0, 12.0]),
        ("at", [3600.5, 0.0]),
        ("then", [1.5, 86_399.0]),
        ("day", [86_400.0, -86_400.0]),
        ("half", [1.0, -2.0]),
    ] {
        let found = column(&dataset, name);
        assert_eq!(found[..2], expected, "{name}");
        assert!(found[2].is_nan(), "{name}");
    }
    assert_eq!(dataset.labels, Some(vec![false, true, false]));
    assert!(
        dataset.notes.iter().any(|note| note.contains("of a type that is no number is left out: raw (")),
        "{:?}",
        dataset.notes
    );
}

#[test]
fn what_is_no_parquet_says_so() {
    let folder = Folder::new();
    let error = read_with(&options(&[folder.file("t.parquet", "no")], Some("y"))).unwrap_err().to_string();
    assert!(error.contains("t.parquet is not a complete Parquet file: "), "{error}");
    let error = read_with(&options(&[folder.file("e.parquet", "")], Some("y"))).unwrap_err().to_string();
    assert!(error.ends_with("e.parquet is empty: it should start with a header line that names its columns"));
}

#[test]
fn more_than_memory_holds_is_an_error_and_no_kill() {
    let folder = Folder::new();
    let file = folder.file("t.csv", "a,y\n1,0\n2,1\n");
    let error = read(&options(&[file], Some("y")), Budget(Some(1 << 20)), Progress { quiet: true }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 rows of 1 features need 161 MiB, but only 1 MiB is allowed: use a larger --max-memory, or fewer rows"
    );
}

#[test]
fn without_a_label_column_every_column_is_a_feature() {
    let dataset = of_csv("a,y\n1,0\n2,1\n", |options| options.label = None).unwrap();
    assert_eq!((dataset.features.len(), dataset.labels), (2, None));
}
