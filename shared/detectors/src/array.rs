//! An array of a model: a shape and its values, in the model's file or in one beside it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A type that arrays are made of.
pub trait Element: Copy + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned {}

impl Element for f32 {}
impl Element for i32 {}

/// Values in row-major order.
///
/// In a model's file it is `{ "shape": [2, 3], "values": [...] }`; where the values lie in the file beside it,
/// `{ "shape": [2, 3] }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(bound(serialize = "T: Element", deserialize = "T: Element"))]
pub struct Array<T> {
    shape: Vec<usize>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    values: Vec<T>,
}

impl<T: Element> Array<T> {
    /// An array of this shape.
    ///
    /// # Panics
    /// When there are not as many values as the shape says.
    pub fn new(shape: impl Into<Vec<usize>>, values: Vec<T>) -> Self {
        let shape = shape.into();
        assert_eq!(shape.iter().product::<usize>(), values.len(), "as many values as the shape {shape:?} says");
        Self { shape, values }
    }

    /// The length of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All values, row-major.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Row `index` of an array with two dimensions.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, index: usize) -> &[T] {
        let width = self.shape[1];
        &self.values[index * width..(index + 1) * width]
    }

    /// Whether it has this shape and all its values: an array that was read may lack them.
    pub fn has_shape(&self, shape: &[usize]) -> bool {
        self.shape == shape && shape.iter().try_fold(1usize, |n, &len| n.checked_mul(len)) == Some(self.values.len())
    }

    /// Takes the values out, to be kept elsewhere.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.values)
    }

    /// Gives it back its values.
    ///
    /// # Errors
    /// When there are not as many as the shape says.
    pub fn fill(&mut self, values: Vec<T>) -> Result<(), String> {
        let expected = self.shape.iter().try_fold(1usize, |n, &len| n.checked_mul(len));
        if expected != Some(values.len()) {
            return Err(format!("has {} values where its shape is {:?}", values.len(), self.shape));
        }
        self.values = values;
        Ok(())
    }
}

impl Array<f32> {
    /// Whether all values are finite.
    pub fn is_finite(&self) -> bool {
        self.values.iter().all(|value| value.is_finite())
    }
}

/// One of a model's arrays, whatever its type.
#[derive(Debug)]
pub enum ArrayMut<'a> {
    /// Of float32.
    F32(&'a mut Array<f32>),
    /// Of int32.
    I32(&'a mut Array<i32>),
}
