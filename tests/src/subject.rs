//! What a trial is of: a pipeline, its models, and records for it.

use std::path::{Path, PathBuf};

use crate::records::{Records, Spoilt, Waiting};
use crate::{
    Cards, Clock, Lines, Payments, PipelineFile, real_data, real_transactions, repository, text, train, trainer,
};

/// Longer than any trial: the cancellation windows wait for every partition, so that they are the same in every run.
const IDLE_TIMEOUT: &str = "60m";

/// How many of the real card payments are sent before they are repeated.
const CARDS: usize = 40_000;

/// A pipeline, its models, and records for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Sessions: real lines of invoices.
    Invoices,
    /// Records that are looked at with the past of two keys, where none waits for another: simulated payments. The order between
    /// several partitions would decide what comes out, so there is one.
    Payments,
    /// The same where each waits for those before it, so that there may be several partitions and hops between them.
    WaitingPayments,
    /// Records that are looked at with the past of one key: real card payments.
    Cards,
}

impl Subject {
    /// The one of a pipeline that ships.
    pub fn of(pipeline: &str) -> Option<Self> {
        match pipeline {
            "invoices" => Some(Self::Invoices),
            "transactions" => Some(Self::Payments),
            "transactions-waiting" => Some(Self::WaitingPayments),
            "fraud-handbook" => Some(Self::Cards),
            _ => None,
        }
    }

    /// As many partitions as `wanted`, or as many as there may be.
    pub fn partitions(self, wanted: u32) -> u32 {
        if self == Self::Payments { 1 } else { wanted }
    }

    /// Whether the last records wait, so that only one who knows that it is the end judges them.
    pub(crate) fn waits(self) -> bool {
        self == Self::WaitingPayments
    }

    pub(crate) fn pipeline(self, clock: Clock) -> PipelineFile {
        match self {
            Self::Invoices => clock.of_sessions(PipelineFile::invoices().with("idle_timeout", IDLE_TIMEOUT)),
            Self::Payments => PipelineFile::of("transactions"),
            Self::WaitingPayments => PipelineFile::waiting_payments(),
            Self::Cards => PipelineFile::of("fraud-handbook"),
        }
    }

    /// The folder of its models, where training is needed `folder`; `None` where the real data are missing and tests may be skipped.
    pub(crate) fn models(self, folder: &Path) -> Option<PathBuf> {
        match self {
            Self::Invoices => train(&real_data("training.csv")?, folder),
            Self::Payments | Self::WaitingPayments => return Some(repository().join("models")),
            Self::Cards => {
                let history = real_transactions("training.csv")?;
                let how = ["--models", text(folder), "--device", "cpu", "--quiet"];
                let run = trainer(&[&["--pipeline", "fraud-handbook", "--input", text(&history)][..], &how].concat());
                assert_eq!(run.code, Some(0), "{}", run.stderr);
            }
        }
        Some(folder.to_owned())
    }

    /// `None` where the real data are missing and tests may be skipped.
    pub(crate) fn records(self) -> Option<Box<dyn Records>> {
        Some(match self {
            Self::Invoices => Box::new(Lines::of_production()?),
            Self::Payments => Box::new(Spoilt::new(Payments::new())),
            Self::WaitingPayments => Box::new(Waiting(Spoilt::new(Payments::new()))),
            Self::Cards => Box::new(Spoilt::new(Cards::of_production(CARDS)?)),
        })
    }
}
