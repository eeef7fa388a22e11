//! Which device computes: asked for by name, or chosen by how long the work would take, and in either case tried before
//! it is used.

mod calibration;
mod diagnosis;
mod guard;
mod predict;
mod request;
mod rule;
mod seen;
mod survey;

use std::fmt;
use std::path::PathBuf;

pub use burn::tensor::Device;
use burn::tensor::{DeviceKind, Tensor};
use serde::Serialize;

pub use calibration::cache_folder;
pub use guard::guarded;
pub use predict::{Calibration, Cost, Job, Speed};
pub use request::{DEVICE_NAMES, DeviceError, DeviceRequest};
pub use rule::AUTO_RULE;
pub use survey::{DeviceReport, Measured, Survey};

use crate::ops::is_cpu;
use guard::caught;
use rule::Decision;
use seen::seen;

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceClass {
    /// The CPU, by kernels of its own.
    Cpu,
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the memory of the CPU.
    Integrated,
    /// A part of a GPU, in a virtual machine.
    Virtual,
    /// A software adapter: the CPU, by the code for GPUs.
    Software,
}

impl fmt::Display for DeviceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpu => "cpu",
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Software => "software",
        })
    }
}

/// A device that was tried, and why it is the one.
#[derive(Debug, Clone)]
pub struct ChosenDevice {
    /// The device.
    pub device: Device,
    /// What it is: `cpu (flex)` or a GPU's name.
    pub name: String,
    /// Of what kind it is.
    pub class: DeviceClass,
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
        let class = DeviceClass::Discrete;
        Self { device, name: "absent".to_owned(), class, reason: "a test".to_owned(), is_automatic: true }
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

/// Chooses and tries a device for work of which nothing is known: `auto` takes the first discrete GPU if it works.
///
/// # Errors
/// [`DeviceError`] when a device that was named cannot be used. `auto` always finds one: the CPU.
pub fn choose(request: DeviceRequest) -> Result<ChosenDevice, DeviceError> {
    match request {
        DeviceRequest::Auto => Ok(first_gpu().unwrap_or_else(|why_none| cpu(&why_none))),
        DeviceRequest::Cpu => Ok(cpu("asked for")),
        named => try_gpu(named),
    }
}

/// As [`choose`], by a name that [`DeviceRequest`] understands.
///
/// # Errors
/// As [`choose`], and when there is no such name.
pub fn choose_by_name(name: &str) -> Result<ChosenDevice, DeviceError> {
    choose(name.parse()?)
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
            DeviceRequest::Auto => Ok(match first_gpu() {
                Ok(gpu) => Self::measured(gpu, cache.as_deref()),
                Err(why_none) => Self::One(cpu(&why_none)),
            }),
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

    /// The device for `job` by [`AUTO_RULE`], and why.
    pub fn for_job(&self, job: &Job) -> ChosenDevice {
        match self {
            Self::One(device) => device.clone(),
            Self::Measured { gpu, calibration } => {
                let Decision { takes_gpu, reason } = rule::decide(job, &gpu.name, calibration);
                if takes_gpu { ChosenDevice { reason, ..gpu.clone() } } else { cpu(&reason) }
            }
        }
    }
}

fn cause_of(failure: &DeviceError) -> &str {
    match failure {
        DeviceError::Lost { cause, .. } | DeviceError::Unusable { cause, .. } => cause,
        DeviceError::Unknown(_) | DeviceError::ThroughVulkan(_) | DeviceError::NotBuilt { .. } => "it cannot be used",
    }
}

/// The first discrete GPU, or why there is none that can be used.
fn first_gpu() -> Result<ChosenDevice, String> {
    if !has_gpu_driver() {
        return Err("no GPU was found".to_owned());
    }
    match seen().number(0) {
        Some((_, DeviceClass::Discrete)) => {}
        Some((_, class)) => return Err(format!("the GPU is {class}, and `auto` takes a discrete one only")),
        None => return Err(format!("no GPU can be used: {}", diagnosis::why_no_gpu())),
    }
    let mut candidates = Vec::new();
    if cfg!(feature = "vulkan") {
        candidates.push(DeviceRequest::Vulkan(0));
    }
    candidates.push(DeviceRequest::Gpu(0));
    let mut why_none = String::new();
    for candidate in candidates {
        match try_gpu(candidate) {
            Ok(gpu) => {
                return Ok(ChosenDevice { reason: "the first discrete GPU".to_owned(), is_automatic: true, ..gpu });
            }
            Err(failure) => why_none = format!("the GPU cannot be used: {}", cause_of(&failure)),
        }
    }
    Err(why_none)
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
    let (device, name) = (Device::flex(), "cpu (flex)".to_owned());
    ChosenDevice { device, name, class: DeviceClass::Cpu, reason, is_automatic: false }
}

/// The device that was asked for by name, after a small computation on it came out right.
fn try_gpu(request: DeviceRequest) -> Result<ChosenDevice, DeviceError> {
    let unusable = |cause: String| DeviceError::Unusable { name: request.to_string(), cause };
    let numbered = |number: usize| seen().number(number).ok_or_else(|| unusable(why_not(number)));
    let (device, class) = match request {
        DeviceRequest::Software => (Device::wgpu(DeviceKind::Cpu), DeviceClass::Software),
        DeviceRequest::Gpu(number) => {
            let (kind, class) = numbered(number)?;
            (Device::wgpu(kind), class)
        }
        DeviceRequest::Vulkan(number) => {
            ensure_vulkan()?;
            let (kind, class) = numbered(number)?;
            (vulkan(kind), class)
        }
        DeviceRequest::Auto | DeviceRequest::Cpu => return Ok(cpu("asked for")),
    };
    let name = probe(&device).map_err(unusable)?;
    Ok(ChosenDevice { device, name, class, reason: "asked for".to_owned(), is_automatic: false })
}

/// Why there is no GPU of this number.
fn why_not(number: usize) -> String {
    match seen().n_gpus() {
        0 => format!("there is none: {}", diagnosis::why_no_gpu()),
        1 => format!("there is one GPU, number 0, and none of number {number}"),
        n_gpus => format!("the GPUs have the numbers 0 to {}, and none is {number}", n_gpus - 1),
    }
}

fn ensure_vulkan() -> Result<(), DeviceError> {
    if cfg!(feature = "vulkan") {
        return Ok(());
    }
    Err(DeviceError::NotBuilt { name: "vulkan".to_owned(), feature: "vulkan" })
}

#[cfg(feature = "vulkan")]
fn vulkan(kind: DeviceKind) -> Device {
    Device::vulkan(kind)
}

#[cfg(not(feature = "vulkan"))]
fn vulkan(kind: DeviceKind) -> Device {
    Device::wgpu(kind)
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
    fn the_cpu_is_always_there() {
        let chosen = choose(DeviceRequest::Cpu).unwrap();
        assert!(chosen.to_string().starts_with("cpu (flex): asked for; "), "{chosen}");
    }

    #[cfg(not(feature = "vulkan"))]
    #[test]
    fn what_was_not_built_says_how_to_build_it() {
        let error = choose_by_name("vulkan:1").unwrap_err().to_string();
        assert_eq!(error, "device `vulkan` is not in this program: build it with `cargo build --features vulkan`");
    }
}
