//! Logs to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Logs to standard error: JSON for services, short lines for people. `RUST_LOG` chooses what.
pub(super) fn init_logs(json: bool) {
    // Other crates' warnings, such as of a device that was tried in vain, are not for the user. Nor is it an error that a
    // client which can do nothing any more cannot leave its group: why it cannot is said elsewhere.
    let default = if json {
        "error,rdkafka::consumer::base_consumer=off,scorer=info,registry=info,window=info"
    } else {
        "error,rdkafka::consumer::base_consumer=off,scorer=warn,registry=warn,window=warn"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // That nobody reads the log any more, as in `2>&1 | head`, must not end a thread.
    let logs = logs.log_internal_errors(false);
    // Colours are for terminals, and for those who do not refuse them (no-color.org).
    let refuses_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let logs = logs.with_ansi(std::io::stderr().is_terminal() && !refuses_colour);
    // A second initialisation, in a test of several commands, changes nothing.
    let _ = if json { logs.json().try_init() } else { logs.without_time().with_target(false).try_init() };
}
