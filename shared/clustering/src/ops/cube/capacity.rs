//! How much memory a GPU has, where the runtime that computes on it does not say: WebGPU has no such question, but the
//! Vulkan driver behind it has.

#[cfg(any(target_os = "linux", target_os = "windows"))]
pub(super) use vulkan::of;

/// Bytes of memory of a device: nothing here knows.
#[cfg(not(any(target_os = "linux", target_os = "windows")))]
pub(super) fn of(_: &cubecl::prelude::DeviceProperties) -> Option<u64> {
    None
}

#[cfg(any(target_os = "linux", target_os = "windows"))]
mod vulkan {
    use std::str::FromStr;
    use std::sync::{Mutex, PoisonError};

    use cubecl::future::block_on;
    use cubecl::prelude::DeviceProperties;
    use cubecl::wgpu::wgpu::hal::api::Vulkan;
    use cubecl::wgpu::wgpu::{Backends, Instance, InstanceDescriptor};

    /// The bit of a heap that is memory of the device.
    const DEVICE_LOCAL: u32 = 1;

    /// What was found of the devices that were asked for, by their address: to ask takes a moment.
    static FOUND: Mutex<Vec<(String, Option<u64>)>> = Mutex::new(Vec::new());

    /// Bytes of memory of the device with these properties, where its driver says so.
    pub(in crate::ops::cube) fn of(properties: &DeviceProperties) -> Option<u64> {
        let address = properties.identity.physical.as_ref()?.pci_address?;
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        let name = address.to_string();
        if let Some((_, bytes)) = found.iter().find(|(known, _)| *known == name) {
            return *bytes;
        }
        let bytes = ask(&address);
        found.push((name, bytes));
        bytes
    }

    /// Bytes of the largest heap of the card at `address`.
    fn ask<Address: FromStr + PartialEq>(address: &Address) -> Option<u64> {
        let descriptor =
            InstanceDescriptor { backends: Backends::VULKAN, ..InstanceDescriptor::new_without_display_handle() };
        let adapters = block_on(Instance::new(descriptor).enumerate_adapters(Backends::VULKAN));
        let is_there = |bus_id: &str| bus_id.parse::<Address>().is_ok_and(|there| there == *address);
        let adapter = adapters.into_iter().find(|adapter| is_there(&adapter.get_info().device_pci_bus_id))?;
        // SAFETY: the adapter is only asked, nothing of it is destroyed, and it lives until this function returns.
        let driver = unsafe { adapter.as_hal::<Vulkan>() }?;
        let instance = driver.shared_instance().raw_instance();
        // SAFETY: the card is one that this instance has enumerated.
        let memory = unsafe { instance.get_physical_device_memory_properties(driver.raw_physical_device()) };
        let heaps = memory.memory_heaps_as_slice().iter();
        heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
    }
}
