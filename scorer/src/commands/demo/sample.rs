//! What the demo replays: a file of the user's, or the pipeline's sample.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use shared::pipeline::Pipeline;
use shared::shipped;

use crate::file::{InputFile, read_scenarios};

/// A file, and what is known of it.
pub(super) struct Sample {
    /// The file.
    pub input: InputFile,
    /// What kind of anomaly entities are known to be, by key, where a file beside it says so.
    pub scenarios: BTreeMap<String, String>,
}

impl Sample {
    /// The file that was named, or the pipeline's sample: from the folder that the program runs in, or else built in.
    ///
    /// # Errors
    /// When there is neither, or it cannot be read.
    pub fn open(named: Option<PathBuf>, pipeline: &Pipeline) -> Result<Self> {
        if let Some(path) = named {
            return Ok(Self { input: InputFile::open(&path)?, scenarios: BTreeMap::new() });
        }
        let Some((samples, stream)) = pipeline.samples().and_then(|it| Some((it, shipped::stream(it.stream)?))) else {
            bail!("pipeline `{}` has no sample data: name the file to replay with --input FILE", pipeline.name)
        };
        let input = InputFile::open_or_built_in(stream)?;
        let labels = samples.labels.and_then(shipped::labels).map(InputFile::open_or_built_in).transpose()?;
        // What is built in says nothing of a file that lies here.
        let labels = labels.filter(|labels| labels.is_built_in() == input.is_built_in());
        let scenarios = labels.map(|labels| read_scenarios(labels, pipeline)).transpose()?.unwrap_or_default();
        Ok(Self { input, scenarios })
    }

    /// Where it is from.
    pub fn name(&self) -> String {
        if self.input.is_built_in() {
            return "sample data that are built into the program".to_owned();
        }
        self.input.path().display().to_string()
    }
}
