//! Which device computes: asked for by name, or chosen by how long the work would take, and in either case tried before
//! it is used.

mod calibration;
mod guard;
mod predict;
mod request;

use std::fmt;
use std::path::PathBuf;

pub use burn::tensor::Device;
use burn::tensor::{DeviceKind, Tensor};

pub use calibration::cache_folder;
pub use guard::guarded;
pub use predict::{Calibration, Cost, Job, Speed};
pub use request::{DEVICE_NAMES, DeviceError, DeviceRequest};

use crate::ops::is_cpu;
use guard::caught;

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
        DeviceError::Unknown(_) | DeviceError::ThroughVulkan(_) | DeviceError::NotBuilt { .. } => "it cannot be used",
    }
}

/// The first real GPU that works.
fn first_gpu() -> Option<ChosenDevice> {
    if !has_gpu_driver() {
        return None;
    }
    let mut candidates = Vec::new();
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
