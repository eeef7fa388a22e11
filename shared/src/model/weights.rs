//! The file of a model's large arrays, in the safetensors format.
//!
//! Its name has the hash of its content, so that a new one never takes the place of the one that a `model.json` refers to.

use std::fs;
use std::path::Path;

use detectors::{AnyLearned, ArrayMut};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::fingerprint;

/// Arrays of fewer values stay in `model.json`, where people can read them.
const LARGE: usize = 1024;

const PREFIX: &str = "weights-";
const ENDING: &str = ".safetensors";

/// Where large arrays are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsFile {
    /// Name of the file beside `model.json`.
    pub file: String,
    /// SHA-256 of its content.
    pub sha256: String,
}

/// Whether a file of that name is of weights.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(ENDING) && !name.contains(['/', '\\'])
}

/// An array that was taken out.
struct Taken {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its values, little-endian.
    bytes: Vec<u8>,
}

impl Taken {
    fn new(name: String, array: &mut ArrayMut<'_>) -> Self {
        let (dtype, shape, bytes) = match array {
            ArrayMut::F32(array) => {
                let bytes = array.take().iter().flat_map(|value| value.to_le_bytes()).collect();
                (Dtype::F32, array.shape().to_vec(), bytes)
            }
            ArrayMut::I32(array) => {
                let bytes = array.take().iter().flat_map(|value| value.to_le_bytes()).collect();
                (Dtype::I32, array.shape().to_vec(), bytes)
            }
        };
        Self { name, dtype, shape, bytes }
    }

    fn view(&self) -> (&str, TensorView<'_>) {
        let view = TensorView::new(self.dtype, self.shape.clone(), &self.bytes);
        (&self.name, view.expect("an array has as many values as its shape says"))
    }
}

fn len(array: &ArrayMut<'_>) -> usize {
    match array {
        ArrayMut::F32(array) => array.values().len(),
        ArrayMut::I32(array) => array.values().len(),
    }
}

/// Takes the large arrays out; the file they go to and its content, when there are any.
pub(super) fn take(learned: &mut AnyLearned) -> Option<(WeightsFile, Vec<u8>)> {
    let large = learned.arrays().into_iter().filter(|(_, array)| len(array) >= LARGE);
    let taken: Vec<Taken> = large.map(|(name, mut array)| Taken::new(name, &mut array)).collect();
    if taken.is_empty() {
        return None;
    }
    let bytes = safetensors::serialize(taken.iter().map(Taken::view), None).expect("arrays have names of their own");
    let sha256 = fingerprint(&bytes);
    Some((WeightsFile { file: format!("{PREFIX}{}{ENDING}", &sha256[..8]), sha256 }, bytes))
}

/// Reads the file beside the model at `path` and gives the arrays their values back.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn give_back(learned: &mut AnyLearned, weights: &WeightsFile, path: &Path) -> Result<(), String> {
    let name = &weights.file;
    if !is_name(name) {
        return Err(format!("its weights are said to be in `{name}`, which is no name of such a file"));
    }
    let bytes = fs::read(path.with_file_name(name)).map_err(|error| format!("its {name} cannot be read: {error}"))?;
    if fingerprint(&bytes) != weights.sha256 {
        return Err(format!("its {name} is not what was written"));
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|error| format!("its {name} is not whole: {error}"))?;
    for (array_name, mut array) in learned.arrays() {
        let Ok(view) = file.tensor(&array_name) else { continue };
        fill(&mut array, &view).map_err(|problem| format!("in its {name}, `{array_name}` {problem}"))?;
    }
    Ok(())
}

fn fill(array: &mut ArrayMut<'_>, view: &TensorView<'_>) -> Result<(), String> {
    let words = || view.data().chunks_exact(4).map(|bytes| [bytes[0], bytes[1], bytes[2], bytes[3]]);
    match (array, view.dtype()) {
        (ArrayMut::F32(array), Dtype::F32) => array.fill(words().map(f32::from_le_bytes).collect()),
        (ArrayMut::I32(array), Dtype::I32) => array.fill(words().map(i32::from_le_bytes).collect()),
        (_, other) => Err(format!("is of type {other:?}")),
    }
}
