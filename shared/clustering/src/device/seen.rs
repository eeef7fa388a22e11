//! Which GPUs there are to choose from.

use std::sync::OnceLock;

use burn::tensor::{Device, DeviceKind, DeviceType};

use super::DeviceClass;
use super::guard::caught;

/// How many devices of each kind the graphics API shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub discrete: usize,
    pub integrated: usize,
    pub virtual_gpus: usize,
}

/// What there is on this machine; it is looked for once.
pub(super) fn seen() -> Seen {
    static SEEN: OnceLock<Seen> = OnceLock::new();
    // Where the graphics libraries fail, there is nothing.
    *SEEN.get_or_init(|| caught(look).unwrap_or_default())
}

fn look() -> Seen {
    let devices = Device::enumerate(DeviceType::Wgpu).into_vec();
    let count = |kind: fn(usize) -> DeviceKind| {
        (0..devices.len()).take_while(|&number| devices.contains(&Device::wgpu(kind(number)))).count()
    };
    Seen {
        discrete: count(DeviceKind::DiscreteGpu),
        integrated: count(DeviceKind::IntegratedGpu),
        virtual_gpus: count(DeviceKind::VirtualGpu),
    }
}

impl Seen {
    /// How many GPUs there are.
    pub fn n_gpus(self) -> usize {
        self.discrete + self.integrated + self.virtual_gpus
    }

    /// The GPU of a number: those with memory of their own come first, then those that share it, then virtual ones.
    pub fn number(self, number: usize) -> Option<(DeviceKind, DeviceClass)> {
        let Some(rest) = number.checked_sub(self.discrete) else {
            return Some((DeviceKind::DiscreteGpu(number), DeviceClass::Discrete));
        };
        let Some(last) = rest.checked_sub(self.integrated) else {
            return Some((DeviceKind::IntegratedGpu(rest), DeviceClass::Integrated));
        };
        (last < self.virtual_gpus).then_some((DeviceKind::VirtualGpu(last), DeviceClass::Virtual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discrete_gpus_have_the_first_numbers() {
        let seen = Seen { discrete: 2, integrated: 1, virtual_gpus: 1 };
        let expected = [
            Some((DeviceKind::DiscreteGpu(0), DeviceClass::Discrete)),
            Some((DeviceKind::DiscreteGpu(1), DeviceClass::Discrete)),
            Some((DeviceKind::IntegratedGpu(0), DeviceClass::Integrated)),
            Some((DeviceKind::VirtualGpu(0), DeviceClass::Virtual)),
            None,
        ];
        assert_eq!([0, 1, 2, 3, 4].map(|number| seen.number(number)), expected);
        assert_eq!(seen.n_gpus(), 4);
        assert_eq!(Seen::default().number(0), None);
    }
}
