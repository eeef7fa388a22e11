//! Names of devices, and why one of them cannot be used.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What `--device` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceRequest {
    /// As [`AUTO_RULE`](super::AUTO_RULE) says.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A real GPU through wgpu, by number.
    Gpu(usize),
    /// A software adapter of wgpu: the GPU's code path on the CPU, for tests.
    Software,
    /// A real GPU through Vulkan and SPIR-V, by number.
    Vulkan(usize),
}

/// Names that [`DeviceRequest`] understands, for help texts and errors.
pub const DEVICE_NAMES: &str = "auto, cpu, gpu, gpu:N, software, vulkan or vulkan:N";

/// Why a device cannot be used.
#[derive(Debug, Clone, Error, PartialEq)]
pub enum DeviceError {
    /// No such name.
    #[error("unknown device `{0}`: use {DEVICE_NAMES}")]
    Unknown(String),
    /// What is not reached by this name.
    #[error("there is no device `{0}`: GPUs of NVIDIA, AMD and Intel are reached through Vulkan, as `gpu` or `gpu:N`")]
    ThroughVulkan(String),
    /// The program was built without it.
    #[error("device `{name}` is not in this program: build it with `cargo build --features {feature}`")]
    NotBuilt {
        /// The device.
        name: String,
        /// The cargo feature.
        feature: &'static str,
    },
    /// It is not there or does not work.
    #[error("device `{name}` cannot be used: {cause}; use `--device cpu` or `--device auto`")]
    Unusable {
        /// The device.
        name: String,
        /// What happened.
        cause: String,
    },
    /// It failed in the middle of its work.
    #[error("device `{name}` failed: {cause}; use `--device cpu`, or `--device auto`, which goes on with the CPU")]
    Lost {
        /// The device.
        name: String,
        /// What happened.
        cause: String,
    },
}

impl DeviceError {
    /// What happened, without what to do about it.
    pub fn what_happened(&self) -> String {
        match self {
            Self::Lost { name, cause } => format!("device `{name}` failed: {cause}"),
            other => other.to_string(),
        }
    }
}

impl FromStr for DeviceRequest {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(text.to_owned());
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse::<usize>().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, number) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("software", None) => Ok(Self::Software),
            ("gpu", number) => Ok(Self::Gpu(number.unwrap_or(0))),
            ("vulkan", number) => Ok(Self::Vulkan(number.unwrap_or(0))),
            ("cuda", _) => Err(DeviceError::ThroughVulkan(text.to_owned())),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Software => f.write_str("software"),
            Self::Gpu(number) => write!(f, "gpu:{number}"),
            Self::Vulkan(number) => write!(f, "vulkan:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip() {
        for text in ["auto", "cpu", "software", "gpu:0", "gpu:3", "vulkan:1"] {
            assert_eq!(text.parse::<DeviceRequest>().unwrap().to_string(), text);
        }
        for bad in ["", "tpu", "gpu:", "gpu:x", "cpu:1", "auto:0"] {
            assert_eq!(bad.parse::<DeviceRequest>(), Err(DeviceError::Unknown(bad.into())));
        }
    }

    #[test]
    fn who_asks_for_cuda_is_told_how_to_reach_the_gpu() {
        for text in ["cuda", "cuda:0"] {
            let said = text.parse::<DeviceRequest>().unwrap_err().to_string();
            assert!(said.starts_with(&format!("there is no device `{text}`: ")) && said.contains("`gpu`"), "{said}");
        }
    }
}
