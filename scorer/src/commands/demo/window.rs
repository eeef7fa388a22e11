//! The demo's window in the browser.

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use window::{Access, Address};

use super::super::Loaded;
use super::super::window::{RunOf, Window};
use super::GROUP;
use crate::args::{DeliveryArg, DemoArgs};

/// Where it is when nobody says where.
const PORT: u16 = 8600;

/// The window that was asked for; without a word about it, one where somebody is there to look. `None` where there is none.
///
/// # Errors
/// When the address that was named is taken.
pub(super) fn bind(args: &DemoArgs, loaded: &Loaded) -> Result<Option<Window>> {
    let run = RunOf { group: GROUP, instance_id: None, delivery: DeliveryArg::AtLeastOnce };
    if let Some(address) = args.listen {
        return Window::bind(Access::new(address, None)?, &run, loaded).map(Some);
    }
    if args.no_listen || !std::io::stdout().is_terminal() {
        return Ok(None);
    }
    let at = |port| {
        let address = Address::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Window::bind(Access::new(address, None)?, &run, loaded)
    };
    at(PORT).or_else(|_| at(0)).map(Some)
}

/// Waits until somebody ends the program.
///
/// # Errors
/// When signals cannot be waited for.
pub(super) async fn stay() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
