//! Where the window listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// An address to listen on: an IP address, or `localhost`, and a port; port 0 is any that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(SocketAddr);

/// A text that is no such address.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("use an address and a port, such as 127.0.0.1:8600 or [::1]:8600; 0.0.0.0:8600 is reached from other machines")]
pub struct AddressError;

impl Address {
    /// The address.
    pub fn socket(&self) -> SocketAddr {
        self.0
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        self.0.ip().is_loopback()
    }
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        Self(socket)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let of_local = || {
            let port = text.strip_prefix("localhost:")?.parse().ok()?;
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
        };
        text.parse().ok().or_else(of_local).map(Self).ok_or(AddressError)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a `Host` header names this machine itself. A page of another site that has its name lead here ("DNS rebinding")
/// sends that name.
pub(super) fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_others_are_explained() {
        let of = |text: &str| text.parse::<Address>().map(|address| (address.to_string(), address.is_local()));
        assert_eq!(of("127.0.0.1:8600"), Ok(("127.0.0.1:8600".to_owned(), true)));
        assert_eq!(of("localhost:1"), Ok(("127.0.0.1:1".to_owned(), true)));
        assert_eq!(of("[::1]:0"), Ok(("[::1]:0".to_owned(), true)));
        assert_eq!(of("0.0.0.0:8600"), Ok(("0.0.0.0:8600".to_owned(), false)));
        assert!(!of("[::]:8600").unwrap().1);
        for bad in ["", "8600", ":8600", "127.0.0.1", "localhost", "example.org:80", "localhost:99999", "::1:80:"] {
            assert_eq!(of(bad), Err(AddressError), "{bad}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:8600", "127.0.0.1:8600", "127.9.9.9", "[::1]:8600", "[::1]"] {
            assert!(is_local_host(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example:8600", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:1", "["]
        {
            assert!(!is_local_host(host), "{host}");
        }
    }
}
