//! Pipeline files that ship.

/// A pipeline file that ships with the program.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub text: &'static str,
    /// Sample data, where it has some. The others are for somebody else's data, which are theirs to get.
    pub samples: Option<Samples>,
}

/// The files of sample data, by their paths in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Samples {
    /// History to train on.
    pub history: &'static str,
    /// What came after it.
    pub stream: &'static str,
    /// What entities of the stream are known to be, where its records do not say so themselves.
    pub labels: Option<&'static str>,
}

const INVOICES: Samples = Samples {
    history: "resources/training.csv",
    stream: "resources/production.csv",
    labels: Some("resources/production_labels.csv"),
};

const TRANSACTIONS: Samples = Samples {
    history: "resources/transactions/training.jsonl.gz",
    stream: "resources/transactions/production.jsonl.gz",
    labels: None,
};

/// The pipeline file of this name in the repository.
macro_rules! shipped {
    ($name:literal, $samples:expr) => {
        Shipped {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../resources/pipelines/", $name, ".toml")),
            samples: $samples,
        }
    };
}

/// All of them.
pub const PIPELINES: [Shipped; 8] = [
    shipped!("invoices", Some(INVOICES)),
    shipped!("invoices-spark", Some(INVOICES)),
    shipped!("transactions", Some(TRANSACTIONS)),
    shipped!("fraud-handbook", None),
    shipped!("online-retail", None),
    shipped!("paysim", None),
    shipped!("sparkov", None),
    shipped!("creditcard", None),
];

/// The one with this name.
pub fn pipeline(name: &str) -> Option<Shipped> {
    PIPELINES.into_iter().find(|shipped| shipped.name == name)
}
