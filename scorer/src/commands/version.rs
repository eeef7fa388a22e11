//! `scorer version`: what this program is.

use anyhow::Result;
use shared::build::{Build, Format};

use super::console;

pub(super) fn version(is_json: bool) -> Result<()> {
    let build = build();
    if is_json {
        console::print_json(&serde_json::to_value(build)?)?
    } else {
        console::print(build)?
    }
    Ok(())
}

pub(super) fn build() -> Build {
    let features = [
        ("vulkan", cfg!(feature = "vulkan")),
        ("fault-injection", cfg!(feature = "fault-injection")),
        ("email", cfg!(feature = "email")),
        ("otel", cfg!(feature = "otel")),
        ("protobuf", cfg!(feature = "protobuf")),
    ];
    Build::new("scorer", &features, &[Format { of: "state", version: u32::from(crate::core::STATE_FORMAT) }])
}
