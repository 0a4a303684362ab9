//! Known faults of drivers, and what is done about each.
//!
//! A row stands here only if its source is public and was read, and if Rimlight uses what it names. So these are not here:
//!
//! - Atomics in workgroup memory on Mali's own driver, which give each invocation its own sum
//!   (<https://github.com/gfx-rs/wgpu/issues/8643>): no kernel has any; a test looks that none gets them.
//! - Shaders without bounds checks, with which Mali-G715 loses the device (<https://github.com/linebender/vello/issues/1816>):
//!   all kernels are compiled with them.
//! - Workgroup memory that AMD's driver sets to zero without a barrier (<https://github.com/gfx-rs/wgpu/issues/4591>): none is.
//! - Compiled pipelines of Adreno drivers for Vulkan below 1.0.66, which cannot be handed on (ncnn's `src/gpu.cpp`): wgpu
//!   does not tell that version.

use std::fmt;

use super::adapter::AdapterInfo;

/// A known fault that applies to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// What the driver does wrong.
    pub fault: &'static str,
    /// What is done about it.
    pub remedy: &'static str,
    /// Where that is known from.
    pub source: &'static str,
    effect: Effect,
}

impl Applied {
    /// Whether the adapter is taken only where somebody asks for a GPU.
    pub(super) const fn is_to_be_asked_for(self) -> bool {
        matches!(self.effect, Effect::AskedForOnly)
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "known fault: {}; {} ({})", self.fault, self.remedy, self.source)
    }
}

/// What a row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// No cooperative matrices.
    NoMatrices,
    /// 16-bit floats are taken apart bit by bit.
    NoHalves,
    /// The adapter is not taken by itself.
    AskedForOnly,
}

/// A row: which devices, and what about them.
struct Quirk {
    /// The interface.
    backend: &'static str,
    /// The vendor's number; 0 for any.
    vendor: u32,
    /// What occurs in the adapter's name, without case; one of them does.
    names: &'static [&'static str],
    /// What occurs in the driver's name and version; one of them does.
    drivers: &'static [&'static str],
    /// What else must be so.
    and: fn(&AdapterInfo) -> bool,
    applied: Applied,
}

/// Any name, any driver.
const ANY: &[&str] = &[""];

const QUIRKS: [Quirk; 4] = [
    Quirk {
        backend: "vulkan",
        vendor: 0x5143,
        names: ANY,
        drivers: ANY,
        and: |_| true,
        applied: Applied {
            fault: "cooperative matrices on Adreno fail to compile, or answer wrong where lanes are told by their number",
            remedy: "none are used",
            source: "https://github.com/Tencent/ncnn/pull/6972",
            effect: Effect::NoMatrices,
        },
    },
    Quirk {
        backend: "vulkan",
        vendor: 0x8086,
        names: ANY,
        drivers: &["101.8826"],
        and: |_| true,
        applied: Applied {
            fault: "cooperative matrices lose the device on Intel's driver 32.0.101.8826 for Windows",
            remedy: "none are used",
            source: "https://github.com/IGCIT/Intel-GPU-Community-Issue-Tracker-IGCIT/issues/1487",
            effect: Effect::NoMatrices,
        },
    },
    Quirk {
        backend: "vulkan",
        vendor: 0,
        names: &["llvmpipe"],
        drivers: ANY,
        // wgpu knows it of its own adapters; a device that the application gives does not tell.
        and: |info| info.kind == super::AdapterKind::Software && !info.facts.dialect.halves,
        applied: Applied {
            fault: "lavapipe has conversions of 16-bit floats only on processors with instructions for them",
            remedy: "they are taken apart bit by bit",
            source: "https://github.com/httpsworldview/openmeters/issues/27",
            effect: Effect::NoHalves,
        },
    },
    Quirk {
        backend: "vulkan",
        vendor: 0,
        names: &["bxm-8-256"],
        drivers: ANY,
        and: |_| true,
        applied: Applied {
            fault: "Vulkan programs crash on PowerVR BXM-8-256",
            remedy: "it is taken only where a GPU is asked for",
            source: "https://github.com/gfx-rs/wgpu/issues/7669",
            effect: Effect::AskedForOnly,
        },
    },
];

impl Quirk {
    fn applies(&self, info: &AdapterInfo) -> bool {
        let (name, driver) = (info.name.to_lowercase(), info.driver.to_lowercase());
        info.backend == self.backend
            && (self.vendor == 0 || info.vendor & 0xffff == self.vendor)
            && self.names.iter().any(|part| name.contains(part))
            && self.drivers.iter().any(|part| driver.contains(part))
            && (self.and)(info)
    }
}

/// Avoids what is known to be wrong with an adapter's driver, and notes it.
pub(super) fn apply(info: &mut AdapterInfo) {
    info.quirks = QUIRKS.iter().filter(|quirk| quirk.applies(info)).map(|quirk| quirk.applied).collect();
    for quirk in &info.quirks {
        match quirk.effect {
            Effect::NoMatrices => info.facts.matrix_side = None,
            Effect::NoHalves => info.facts.dialect.halves = false,
            Effect::AskedForOnly => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::AdapterKind;
    use crate::kernel::shaders::SHADERS;
    use crate::kernel::{DeviceClass, DeviceFacts};

    fn made_up(backend: &'static str, name: &str, driver: &str, vendor: u32) -> AdapterInfo {
        let mut info = AdapterInfo {
            name: name.to_owned(),
            backend,
            driver: driver.to_owned(),
            kind: AdapterKind::Integrated,
            vendor,
            device: 0,
            features: vec![],
            facts: DeviceFacts { matrix_side: Some(16), ..DeviceFacts::floor(DeviceClass::Intel) },
            max_buffer_size: 1 << 28,
            quirks: vec![],
        };
        apply(&mut info);
        info
    }

    #[test]
    fn rows_apply_to_their_devices_alone() {
        let cases = [
            (
                "vulkan",
                "Adreno (TM) 840",
                "Qualcomm Technologies Inc. Adreno Vulkan Driver",
                0x5143,
                Some(Effect::NoMatrices),
            ),
            ("gl", "Adreno (TM) 840", "", 0x5143, None),
            (
                "vulkan",
                "Intel(R) Arc(TM) Pro B70 Graphics",
                "Intel Corporation 101.8826",
                0x8086,
                Some(Effect::NoMatrices),
            ),
            ("vulkan", "Intel(R) Arc(TM) Pro B70 Graphics", "Intel Corporation 101.9000", 0x8086, None),
            ("vulkan", "PowerVR B-Series BXM-8-256", "1.15@6133110", 0x1010, Some(Effect::AskedForOnly)),
            ("vulkan", "PowerVR B-Series BXE-4-32", "", 0x1010, None),
            ("vulkan", "NVIDIA GeForce RTX 4080", "NVIDIA 565.90", 0x10de, None),
        ];
        for (backend, name, driver, vendor, effect) in cases {
            let info = made_up(backend, name, driver, vendor);
            assert_eq!(info.quirks.first().map(|quirk| quirk.effect), effect, "{name} {driver}");
            assert_eq!(info.facts.matrix_side.is_none(), effect == Some(Effect::NoMatrices), "{name} {driver}");
        }
    }

    #[test]
    fn every_row_has_an_address_as_its_source() {
        for quirk in QUIRKS {
            assert!(quirk.applied.source.starts_with("https://github.com/"), "{}", quirk.applied.fault);
        }
    }

    #[test]
    fn no_kernel_has_atomics_in_workgroup_memory() {
        for (path, text) in SHADERS {
            let has = |line: &str| line.contains("var<workgroup>") && line.contains("atomic<");
            assert!(!text.lines().any(has), "{path}: then Mali needs a row (wgpu#8643)");
        }
    }
}
