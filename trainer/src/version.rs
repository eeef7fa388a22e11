//! `trainer version`: what this program is.

use shared::build::Build;

/// How the program was built, as lines or as JSON.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn version(is_json: bool) -> anyhow::Result<String> {
    let build = Build::new("trainer", &[("vulkan", cfg!(feature = "vulkan"))], &[]);
    if is_json { Ok(serde_json::to_string_pretty(&build)? + "\n") } else { Ok(format!("{build}\n")) }
}
