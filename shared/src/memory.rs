//! Amounts of memory: as people write them, what the machine has, what the process takes.

use std::fmt;
use std::fs;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The part of the machine's memory that is taken when nothing is said: (3, 4) is three quarters.
const SHARE: (u64, u64) = (3, 4);

/// A number of bytes, as people write it: `2GiB`, `512 MiB`, `1.5GB`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// As it can be typed: without a space.
    pub fn typed(self) -> String {
        self.to_string().replace(' ', "")
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use a size such as 512MiB, 2GiB or 1.5GB".to_owned();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => KIB,
            "m" | "mib" => MIB,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        let bytes = number * factor as f64;
        if (1.0..1e18).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Size {
    /// In a unit of which there are at least ten, or whole ones, so that what is shown can be typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 1 << 30), ("MiB", MIB), ("KiB", KIB)];
        let fits = |&&(_, unit): &&(&str, u64)| self.0 >= 10 * unit || (self.0 >= unit && self.0.is_multiple_of(unit));
        match units.iter().find(fits) {
            Some((name, unit)) => write!(f, "{} {name}", self.0.div_ceil(*unit)),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// What a program may take: what was asked for, or else three quarters of the machine's memory; `None` where the system does
/// not tell how much that is.
pub fn allowed(asked: Option<Size>) -> Option<u64> {
    asked.map(|size| size.0).or_else(|| Some(machine_memory()? / SHARE.1 * SHARE.0))
}

/// The most memory that the process has had, in bytes; `None` where the system does not tell.
pub fn peak() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The memory that the process has now, in bytes; `None` where the system does not tell.
pub fn resident() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The memory that the machine has, or that the process may take of it.
fn machine_memory() -> Option<u64> {
    let installed = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(limit.map_or(installed, |limit: u64| limit.min(installed)))
}

/// The number after `name` in a file of the kernel, which counts in kB.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * KIB)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("2GiB", 2 << 30), ("512 MiB", 512 << 20), ("1.5GB", 1_500_000_000), ("4096", 4096), ("64m", 64 << 20)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "GiB", "-1GiB", "1 potato", "0", "1e3", "1..5GB", "9999999999GB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_at_least_what_is_meant(bytes in 1..(1u64 << 50)) {
            let shown: Size = Size(bytes).typed().replace("bytes", "B").parse().unwrap();
            prop_assert!(shown.0 >= bytes && shown.0 <= bytes + bytes / 10 + 1);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_has_had_memory() {
        assert!(peak().unwrap() >= resident().unwrap() && resident().unwrap() > MIB);
        assert!(machine_memory().unwrap() > 64 * MIB);
        assert_eq!(allowed(Some(Size(7))), Some(7));
        assert!(allowed(None).unwrap() < machine_memory().unwrap());
    }
}
