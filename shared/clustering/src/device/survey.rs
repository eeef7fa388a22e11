//! All devices of a machine: what each is, and what was measured on it.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use burn::tensor::{Device, Tensor};
use cubecl::wgpu::wgpu;
use rayon::prelude::*;
use serde::Serialize;

use super::calibration::{fastest, points};
use super::guard::{caught, guarded};
use super::seen::{Seen, seen};
use super::{AUTO_RULE, ChosenDevice, DeviceClass, DeviceRequest, choose, diagnosis};
use crate::ops;

/// Clusters of the pass that is measured; rows have eight features.
const N_CLUSTERS: usize = 20;

/// Rows of that pass: more of them until a pass takes [`LONG_ENOUGH`].
const ROWS: [usize; 3] = [1 << 16, 1 << 19, 1 << 22];

/// Seconds of a pass that say more of the device than of the call.
const LONG_ENOUGH: f64 = 0.02;

/// Values that are copied: more bytes, with their copy, than caches hold, and fewer than any adapter lets a kernel read.
const COPIED: usize = 1 << 24;

/// Copies that a GPU is given at a time.
const COPIES: usize = 8;

/// Values that a thread copies at a time.
const COPIED_AT_A_TIME: usize = 1 << 16;

/// All devices, and what explains them.
#[derive(Debug, Clone, Serialize)]
pub struct Survey {
    /// The CPU, the GPUs in the order of their numbers, and a software adapter, where there is one.
    pub devices: Vec<DeviceReport>,
    /// Why no GPU is seen; nothing where one is.
    pub why_no_gpu: Option<String>,
    /// When `auto` takes a GPU.
    pub rule: &'static str,
}

/// One device.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceReport {
    /// What `--device` calls it.
    pub device: String,
    /// What it is.
    pub class: DeviceClass,
    /// Its name.
    pub name: String,
    /// Its driver and the version of that.
    pub driver: Option<String>,
    /// The largest array in its memory, in bytes.
    pub max_buffer_bytes: Option<u64>,
    /// The largest array that a kernel reads, in bytes.
    pub max_binding_bytes: Option<u64>,
    /// What was measured on it.
    pub measured: Option<Measured>,
    /// Why nothing was.
    pub problem: Option<String>,
}

/// How fast a device is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Points, of 8 features and with 20 clusters, that a pass of k-means assigns and adds up in a second.
    pub points_per_second: f64,
    /// Bytes that a copy within the device's memory reads and writes in a second.
    pub copied_bytes_per_second: f64,
}

/// What the graphics API says of an adapter.
#[derive(Debug, Clone, Default)]
struct Adapter {
    name: String,
    driver: Option<String>,
    max_buffer_bytes: Option<u64>,
    max_binding_bytes: Option<u64>,
}

impl Survey {
    /// Looks for all devices and measures them, which takes some seconds.
    ///
    /// It is for a program's beginning: graphics libraries may crash where another thread asks for devices at the same time.
    pub fn take() -> Self {
        let adapters = caught(adapters).unwrap_or_default();
        let seen = seen();
        let has_software = adapters.iter().any(|(class, _)| *class == DeviceClass::Software);
        let mut devices = vec![report(DeviceRequest::Cpu, DeviceClass::Cpu, Adapter::default())];
        devices.extend(gpus(seen).map(|(number, class)| {
            // Adapters of a class have the order of its devices.
            let before = gpus(seen).take(number).filter(|(_, other)| *other == class).count();
            let adapter = adapters.iter().filter(|(other, _)| *other == class).nth(before);
            report(DeviceRequest::Gpu(number), class, adapter.map(|(_, adapter)| adapter.clone()).unwrap_or_default())
        }));
        if has_software {
            let adapter = adapters.iter().find(|(class, _)| *class == DeviceClass::Software);
            let adapter = adapter.map(|(_, adapter)| adapter.clone()).unwrap_or_default();
            devices.push(report(DeviceRequest::Software, DeviceClass::Software, adapter));
        }
        let why_no_gpu = (seen.n_gpus() == 0).then(diagnosis::why_no_gpu);
        Self { devices, why_no_gpu, rule: AUTO_RULE }
    }
}

/// The numbers of the GPUs, and what they are.
fn gpus(seen: Seen) -> impl Iterator<Item = (usize, DeviceClass)> {
    (0..seen.n_gpus()).filter_map(move |number| seen.number(number).map(|(_, class)| (number, class)))
}

fn report(request: DeviceRequest, class: DeviceClass, adapter: Adapter) -> DeviceReport {
    let Adapter { name: adapter_name, driver, max_buffer_bytes, max_binding_bytes } = adapter;
    let measured = choose(request).and_then(|chosen| {
        let measured = guarded(&chosen, || measure(&chosen))?;
        Ok((chosen.name, measured))
    });
    let (name, measured, problem) = match measured {
        Ok((name, measured)) => (name, Some(measured), None),
        Err(failure) => (adapter_name, None, Some(failure.what_happened())),
    };
    let device = request.to_string();
    DeviceReport { device, class, name, driver, max_buffer_bytes, max_binding_bytes, measured, problem }
}

fn measure(chosen: &ChosenDevice) -> Measured {
    let device = &chosen.device;
    let copied_bytes_per_second = if chosen.is_cpu() { copy_on_host() } else { copy_on(device) };
    Measured { points_per_second: points_per_second(device), copied_bytes_per_second }
}

fn points_per_second(device: &Device) -> f64 {
    let centroids = points(N_CLUSTERS).to_tensor(device); // (n_clusters, n_features)
    let mut rate = 0.0;
    for n_samples in ROWS {
        let x = points(n_samples).into_tensor(device); // (n_samples, n_features)
        let seconds = fastest(|| {
            black_box(ops::assign_and_accumulate(&x, &centroids).inertia);
        });
        rate = n_samples as f64 / seconds.max(1e-9);
        if seconds >= LONG_ENOUGH {
            break;
        }
    }
    rate
}

/// Bytes a second of an operation that reads each value once and writes it once.
fn copy_on(device: &Device) -> f64 {
    let values = Tensor::<1>::zeros([COPIED], device);
    let seconds = fastest(|| {
        for _ in 0..COPIES {
            black_box(values.clone().add_scalar(1.0));
        }
        device.sync().expect("a device that fails is told by the guard");
    });
    bytes_per_second(COPIES, seconds)
}

fn copy_on_host() -> f64 {
    let (from, mut to) = (vec![1.0_f32; COPIED], vec![0.0_f32; COPIED]);
    let seconds = fastest(|| {
        let parts = to.par_chunks_mut(COPIED_AT_A_TIME).zip(from.par_chunks(COPIED_AT_A_TIME));
        parts.for_each(|(to, from)| to.copy_from_slice(from));
        black_box(&to);
    });
    bytes_per_second(1, seconds)
}

fn bytes_per_second(copies: usize, seconds: f64) -> f64 {
    (2 * size_of::<f32>() * COPIED * copies) as f64 / seconds.max(1e-9)
}

/// What the graphics API says of its adapters, in its order.
fn adapters() -> Vec<(DeviceClass, Adapter)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    // Outside of browsers the list is there at once.
    let listing = pin!(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let Poll::Ready(adapters) = listing.poll(&mut Context::from_waker(Waker::noop())) else { return Vec::new() };
    adapters.iter().filter_map(of_adapter).collect()
}

fn of_adapter(adapter: &wgpu::Adapter) -> Option<(DeviceClass, Adapter)> {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    let class = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => DeviceClass::Discrete,
        wgpu::DeviceType::IntegratedGpu => DeviceClass::Integrated,
        wgpu::DeviceType::VirtualGpu => DeviceClass::Virtual,
        wgpu::DeviceType::Cpu => DeviceClass::Software,
        wgpu::DeviceType::Other => return None,
    };
    let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
    let adapter = Adapter {
        name: info.name,
        driver: (!driver.is_empty()).then_some(driver),
        max_buffer_bytes: Some(limits.max_buffer_size),
        max_binding_bytes: Some(limits.max_storage_buffer_binding_size),
    };
    Some((class, adapter))
}
