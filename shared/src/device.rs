//! Which device computes: asked for by name, or chosen, and in either case tried before it is used.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use burn::tensor::{Device, DeviceKind, Tensor};
use thiserror::Error;

/// What `--device` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceRequest {
    /// A real GPU when there is one, else the CPU.
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
#[derive(Debug, Error, PartialEq)]
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
}

impl ChosenDevice {
    /// The name without what differs from machine to machine, such as the number of threads: `cpu`.
    pub fn short_name(&self) -> &str {
        self.name.split_once(" (").map_or(self.name.as_str(), |(name, _)| name)
    }
}

impl fmt::Display for ChosenDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// Chooses and tries a device.
///
/// # Errors
/// [`DeviceError`] when a device that was named cannot be used. `auto` always finds one: the CPU.
pub fn choose(request: DeviceRequest) -> Result<ChosenDevice, DeviceError> {
    match request {
        DeviceRequest::Auto => Ok(choose_automatically()),
        DeviceRequest::Cpu => Ok(cpu("asked for")),
        named => try_gpu(named).map(|(device, name)| ChosenDevice { device, name, reason: "asked for".into() }),
    }
}

fn choose_automatically() -> ChosenDevice {
    if !has_gpu_driver() {
        return cpu("no GPU was found");
    }
    let mut candidates = Vec::new();
    if cfg!(feature = "cuda") {
        candidates.push(DeviceRequest::Cuda(0));
    }
    if cfg!(feature = "vulkan") {
        candidates.push(DeviceRequest::Vulkan(0));
    }
    candidates.push(DeviceRequest::Gpu(0));
    for candidate in candidates {
        if let Ok((device, name)) = try_gpu(candidate) {
            return ChosenDevice { device, name, reason: "the first GPU that works".into() };
        }
    }
    cpu("no GPU was found")
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
    ChosenDevice { device: Device::flex(), name: "cpu (flex)".to_owned(), reason }
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
    let silent = SilentPanics::install();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let sum = Tensor::<1>::from_floats([1.0, 2.0, 3.0], device).sum().into_data();
        let name = device.identity().map_or_else(|| "GPU".to_owned(), |identity| identity.name);
        (sum.iter::<f32>().next() == Some(6.0), name)
    }));
    let cause = silent.first_message();
    drop(silent);
    match result {
        Ok((true, name)) => Ok(name),
        Ok((false, name)) => Err(format!("{name} computes wrong sums")),
        Err(_) => Err(cause.as_deref().and_then(first_line).unwrap_or("it does not answer").to_owned()),
    }
}

fn first_line(text: &str) -> Option<&str> {
    if text.contains("AdapterUnavailable") {
        return Some("there is none");
    }
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(|line| line.trim_end_matches('.'))
}

type Hook = Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Sync + Send>;

/// Keeps the panics of a probe off the terminal: they are an answer, not a failure.
struct SilentPanics {
    previous: Option<Hook>,
    first: Arc<Mutex<Option<String>>>,
}

impl SilentPanics {
    fn install() -> Self {
        let previous = Some(std::panic::take_hook());
        let first = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&first);
        std::panic::set_hook(Box::new(move |panic| {
            if let Ok(mut seen) = seen.lock() {
                seen.get_or_insert_with(|| panic.payload_as_str().unwrap_or_default().to_owned());
            }
        }));
        Self { previous, first }
    }

    /// The first panic's message. It may be another thread's, of which the one that is caught is only an echo.
    fn first_message(&self) -> Option<String> {
        self.first.lock().ok().and_then(|first| first.clone())
    }
}

impl Drop for SilentPanics {
    fn drop(&mut self) {
        if let Some(previous) = self.previous.take() {
            std::panic::set_hook(previous);
        }
    }
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
