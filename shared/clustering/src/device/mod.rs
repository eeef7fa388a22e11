//! Which device computes: asked for by name, or chosen by how long the work would take, and in either case tried before
//! it is used.

mod calibration;
mod guard;
mod predict;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use burn::tensor::Device;
use burn::tensor::{DeviceKind, Tensor};
use thiserror::Error;

pub use calibration::cache_folder;
pub use guard::guarded;
pub use predict::{Calibration, Cost, Job, Speed};

use crate::ops::is_cpu;
use guard::caught;

/// What `--device` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceRequest {
    /// A real GPU where there is one and the work is done sooner there, else the CPU.
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
    /// An NVIDIA GPU through CUDA, by number.
    Cuda(usize),
}

/// Names that [`DeviceRequest`] understands, for help texts and errors.
pub const DEVICE_NAMES: &str = "auto, cpu, gpu, gpu:N, software, vulkan, vulkan:N, cuda or cuda:N";

/// Why a device cannot be used.
#[derive(Debug, Clone, Error, PartialEq)]
pub enum DeviceError {
    /// No such name.
    #[error("unknown device `{0}`: use {DEVICE_NAMES}")]
    Unknown(String),
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
            ("cuda", number) => Ok(Self::Cuda(number.unwrap_or(0))),
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
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// A device that was tried, and why it is the one.
#[derive(Debug, Clone)]
pub struct ChosenDevice {
    /// The device.
    pub device: Device,
    /// What it is: `cpu (flex)` or a GPU's name.
    pub name: String,
    /// Why it was taken.
    pub reason: String,
    /// Whether it was chosen, so that another may take its place, or asked for by name.
    pub is_automatic: bool,
}

impl ChosenDevice {
    /// The name without what differs from machine to machine, such as the number of threads: `cpu`.
    pub fn short_name(&self) -> &str {
        self.name.split_once(" (").map_or(self.name.as_str(), |(name, _)| name)
    }

    /// A GPU that is not there: for tests of what happens when one fails.
    pub fn absent() -> Self {
        let device = Device::wgpu(DeviceKind::DiscreteGpu(usize::from(u8::MAX)));
        Self { device, name: "absent".to_owned(), reason: "a test".to_owned(), is_automatic: true }
    }

    /// Whether it is the CPU.
    pub fn is_cpu(&self) -> bool {
        is_cpu(&self.device)
    }

    /// The CPU, where it may take the place of this device, which failed.
    ///
    /// # Errors
    /// The failure, when the device was asked for by name.
    pub fn replaced_after(&self, failure: DeviceError) -> Result<Self, DeviceError> {
        if self.is_automatic { Ok(cpu(&format!("{} failed", self.name))) } else { Err(failure) }
    }
}

impl fmt::Display for ChosenDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// Chooses and tries a device for work of which nothing is known: `auto` takes the first GPU that works.
///
/// # Errors
/// [`DeviceError`] when a device that was named cannot be used. `auto` always finds one: the CPU.
pub fn choose(request: DeviceRequest) -> Result<ChosenDevice, DeviceError> {
    match request {
        DeviceRequest::Auto => Ok(first_gpu().unwrap_or_else(|| cpu("no GPU was found"))),
        DeviceRequest::Cpu => Ok(cpu("asked for")),
        named => {
            let (device, name) = try_gpu(named)?;
            Ok(ChosenDevice { device, name, reason: "asked for".into(), is_automatic: false })
        }
    }
}

/// What there is to choose from for a job.
#[derive(Debug, Clone)]
pub enum Devices {
    /// One that was named, or the CPU where there is no GPU.
    One(ChosenDevice),
    /// A GPU and the CPU, and how fast they are.
    Measured {
        /// The GPU.
        gpu: ChosenDevice,
        /// How fast it and the CPU are.
        calibration: Calibration,
    },
}

impl Devices {
    /// Looks for devices, and measures how fast they are where there is a choice: where a GPU was found and none was named.
    ///
    /// What was measured is kept in the folder `cache`, so it takes its second or so once.
    ///
    /// # Errors
    /// [`DeviceError`] when a device that was named cannot be used.
    pub fn find(request: DeviceRequest, cache: Option<PathBuf>) -> Result<Self, DeviceError> {
        match request {
            DeviceRequest::Auto => Ok(first_gpu()
                .map_or_else(|| Self::One(cpu("no GPU was found")), |gpu| Self::measured(gpu, cache.as_deref()))),
            named => choose(named).map(Self::One),
        }
    }

    /// A choice between the CPU and `gpu`, which are measured, unless they were before.
    pub fn measured(gpu: ChosenDevice, cache: Option<&std::path::Path>) -> Self {
        match calibration::calibrate(&gpu, cache) {
            Ok(calibration) => Self::Measured { gpu: ChosenDevice { is_automatic: true, ..gpu }, calibration },
            Err(failure) => Self::One(cpu(&format!("{} failed when it was tried: {}", gpu.name, cause_of(&failure)))),
        }
    }

    /// The device that does `job` sooner, and why.
    pub fn for_job(&self, job: &Job) -> ChosenDevice {
        match self {
            Self::One(device) => device.clone(),
            Self::Measured { gpu, calibration } => {
                let (on_gpu, on_cpu) = (calibration.gpu.seconds(job), calibration.cpu.seconds(job));
                let (of_gpu, of_cpu) = (predict::duration(on_gpu), predict::duration(on_cpu));
                if on_gpu < on_cpu {
                    let reason = format!("{} in {of_gpu}, on the CPU {of_cpu} (predicted)", job.name());
                    return ChosenDevice { reason, ..gpu.clone() };
                }
                cpu(&format!("{} in {of_cpu}, on {} {of_gpu} (predicted)", job.name(), gpu.name))
            }
        }
    }
}

fn cause_of(failure: &DeviceError) -> &str {
    match failure {
        DeviceError::Lost { cause, .. } | DeviceError::Unusable { cause, .. } => cause,
        DeviceError::Unknown(_) | DeviceError::NotBuilt { .. } => "it cannot be used",
    }
}

/// The first real GPU that works.
fn first_gpu() -> Option<ChosenDevice> {
    if !has_gpu_driver() {
        return None;
    }
    let mut candidates = Vec::new();
    if cfg!(feature = "cuda") {
        candidates.push(DeviceRequest::Cuda(0));
    }
    if cfg!(feature = "vulkan") {
        candidates.push(DeviceRequest::Vulkan(0));
    }
    candidates.push(DeviceRequest::Gpu(0));
    let (device, name) = candidates.into_iter().find_map(|candidate| try_gpu(candidate).ok())?;
    Some(ChosenDevice { device, name, reason: "the first GPU that works".into(), is_automatic: true })
}

/// Whether the system has a driver of a GPU at all. Looking for adapters takes a while and lets the graphics libraries
/// print warnings of their own, so it is not done in vain.
fn has_gpu_driver() -> bool {
    let nodes = ["/dev/dri", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg"];
    cfg!(not(target_os = "linux")) || nodes.iter().any(|node| std::path::Path::new(node).exists())
}

fn cpu(reason: &str) -> ChosenDevice {
    // The name goes into models, which do not depend on how many threads there were; the reason does not.
    let reason = format!("{reason}; {} threads", rayon::current_num_threads());
    ChosenDevice { device: Device::flex(), name: "cpu (flex)".to_owned(), reason, is_automatic: false }
}

/// The device behind a request for a GPU and its name, after a small computation on it came out right.
fn try_gpu(request: DeviceRequest) -> Result<(Device, String), DeviceError> {
    let unusable = |cause: String| DeviceError::Unusable { name: request.to_string(), cause };
    let kinds =
        |number| [DeviceKind::DiscreteGpu(number), DeviceKind::IntegratedGpu(number), DeviceKind::VirtualGpu(number)];
    let candidates: Vec<Device> = match request {
        DeviceRequest::Gpu(number) => kinds(number).map(Device::wgpu).into(),
        DeviceRequest::Software => vec![Device::wgpu(DeviceKind::Cpu)],
        DeviceRequest::Vulkan(number) => vulkan(kinds(number))?,
        DeviceRequest::Cuda(number) => vec![cuda(number)?],
        DeviceRequest::Auto | DeviceRequest::Cpu => Vec::new(),
    };
    let mut cause = "there is none".to_owned();
    for device in candidates {
        match probe(&device) {
            Ok(name) => return Ok((device, name)),
            Err(problem) => cause = problem,
        }
    }
    Err(unusable(cause))
}

#[cfg(feature = "vulkan")]
fn vulkan(kinds: [DeviceKind; 3]) -> Result<Vec<Device>, DeviceError> {
    Ok(kinds.map(Device::vulkan).into())
}

#[cfg(not(feature = "vulkan"))]
fn vulkan(_: [DeviceKind; 3]) -> Result<Vec<Device>, DeviceError> {
    Err(DeviceError::NotBuilt { name: "vulkan".into(), feature: "vulkan" })
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, DeviceError> {
    Ok(Device::cuda(number))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { name: "cuda".into(), feature: "cuda" })
}

/// Devices are lazy, and a missing one shows itself by a panic inside the driver's layer: so compute something.
fn probe(device: &Device) -> Result<String, String> {
    let (sum, name) = caught(|| {
        let sum = Tensor::<1>::from_floats([1.0, 2.0, 3.0], device).sum().into_data();
        (sum.iter::<f32>().next(), device.identity().map_or_else(|| "GPU".to_owned(), |identity| identity.name))
    })?;
    if sum == Some(6.0) { Ok(name) } else { Err(format!("{name} computes wrong sums")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip() {
        for text in ["auto", "cpu", "software", "gpu:0", "gpu:3", "vulkan:1", "cuda:0"] {
            assert_eq!(text.parse::<DeviceRequest>().unwrap().to_string(), text);
        }
        for bad in ["", "tpu", "gpu:", "gpu:x", "cpu:1", "auto:0"] {
            assert_eq!(bad.parse::<DeviceRequest>(), Err(DeviceError::Unknown(bad.into())));
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        let chosen = choose(DeviceRequest::Cpu).unwrap();
        assert!(chosen.to_string().starts_with("cpu (flex): asked for; "), "{chosen}");
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn what_was_not_built_says_how_to_build_it() {
        let error = choose(DeviceRequest::Cuda(0)).unwrap_err().to_string();
        assert_eq!(error, "device `cuda` is not in this program: build it with `cargo build --features cuda`");
    }
}
