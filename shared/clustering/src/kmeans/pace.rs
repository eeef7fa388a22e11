//! How far the host may be ahead of a device that it sends blocks to.

use burn::backend::DispatchDevice;
use burn::tensor::Device;
use cubecl::future::{DynFut, block_on};
use cubecl::prelude::Client;
use cubecl::server::ServerError;

/// Keeps the host at most a block ahead of the device.
pub(super) struct Pace {
    /// `None` where the device is done with a block before a call returns.
    client: Option<Client>,
    /// The end of what was sent last.
    last: Option<DynFut<Result<(), ServerError>>>,
}

impl Pace {
    pub(super) fn of(device: &Device) -> Self {
        let client = match device.as_dispatch() {
            DispatchDevice::Cube(device) => Some(device.client()),
            #[allow(unreachable_patterns)]
            _ => None,
        };
        Self { client, last: None }
    }

    /// A block was sent, and what is to be computed on it: the device begins with it, and the host waits for the block
    /// before it.
    ///
    /// # Panics
    /// When the device has failed, as burn's operations do: [`crate::device::guarded`] makes an error of it.
    pub(super) fn sent(&mut self) {
        let Some(client) = &self.client else { return };
        // In this order: to ask for the end of this block submits it, and some devices say only that all is done that was
        // submitted.
        if let Some(last) = self.last.take() {
            block_on(last).unwrap_or_else(|error| panic!("{error:?}"));
        }
        self.last = Some(client.sync());
    }
}
