//! Small histories, and the program run on them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

pub const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";

/// The lines of `n` invoices, two lines each, of which one in twenty is large.
pub fn invoices(n: usize) -> String {
    (0..n).flat_map(|invoice| [line(invoice, 0), line(invoice, 1)]).collect()
}

fn line(invoice: usize, index: usize) -> String {
    let quantity = if invoice.is_multiple_of(20) { 900 + invoice } else { 1 + (invoice * 7 + index * 3) % 12 };
    let price = 0.5 + ((invoice * 13 + index * 5) % 40) as f64 / 8.0;
    let (number, hour) = (500_000 + invoice, 8 + invoice % 10);
    format!(
        "{number},S{index},\"LAMP, \"\"RED\"\"\",{quantity},3/{}/2010 {hour}:05,{price},C{},France\n",
        1 + invoice % 28,
        invoice % 9
    )
}

/// A file with a header and these lines.
pub fn csv(lines: &str) -> Vec<u8> {
    format!("{HEADER}\n{lines}").into_bytes()
}

/// The real history of purchases.
pub fn real_history() -> Option<PathBuf> {
    requirements::real_data("online_retail/training.csv")
}

/// A file of the real transactions.
pub fn real_transactions(name: &str) -> Option<PathBuf> {
    requirements::real_data(&format!("transactions/{name}"))
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A folder to run the program in.
pub struct Workplace {
    folder: TempDir,
}

impl Workplace {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A folder with history.csv in it.
    pub fn with_history(lines: &str) -> Self {
        let workplace = Self::new();
        workplace.write("history.csv", &csv(lines));
        workplace
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file in the temporary folder");
    }

    /// Runs `trainer` in the folder, on the CPU.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_trainer"))
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes UTF-8");
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Trains on `input` into the folder `models`.
    pub fn train(&self, input: &str, more: &[&str]) -> Run {
        let fixed = ["--device", "cpu", "--max-k", "5", "--n-init", "2", "--input", input];
        let given = |flag: &str| more.contains(&flag);
        let fixed = if given("--k") { [&fixed[..2], &fixed[4..]].concat() } else { fixed.to_vec() };
        self.run(&[more, &fixed].concat())
    }

    /// Fails the test unless training fails with exactly this sentence and leaves no trace.
    pub fn assert_refused(&self, input: &str, more: &[&str], sentence: &str) {
        let run = self.train(input, more);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert_eq!(run.stderr, format!("error: {sentence}\n"));
        assert!(!self.path("models").exists(), "nothing is half-written");
    }

    /// The model file of a detector of the pipeline `invoices`.
    pub fn model(&self, detector: &str) -> String {
        let path = self.path("models").join("invoices").join(detector).join("model.json");
        fs::read_to_string(path).expect("a model file")
    }
}
