//! What the planner knows of a device: numbers, not handles.

use std::fmt;

/// A class of devices that want the same shapes of kernels.
///
/// The choices that follow from a class stand in the operators' candidates; the sources in `docs/devices.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DeviceClass {
    /// NVIDIA, Jetson included.
    Nvidia,
    /// Qualcomm Adreno.
    Adreno,
    /// ARM Mali.
    Mali,
    /// Apple GPUs.
    Apple,
    /// Intel GPUs.
    Intel,
    /// AMD GPUs.
    Amd,
    /// Anything reached through OpenGL (ES).
    Gl,
    /// Browsers.
    Web,
    /// A GPU in software: lavapipe, SwiftShader.
    Software,
}

impl DeviceClass {
    /// Every class.
    pub const ALL: [Self; 9] = [
        Self::Nvidia,
        Self::Adreno,
        Self::Mali,
        Self::Apple,
        Self::Intel,
        Self::Amd,
        Self::Gl,
        Self::Web,
        Self::Software,
    ];

    /// The name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nvidia => "nvidia",
            Self::Adreno => "adreno",
            Self::Mali => "mali",
            Self::Apple => "apple",
            Self::Intel => "intel",
            Self::Amd => "amd",
            Self::Gl => "gl",
            Self::Web => "web",
            Self::Software => "software",
        }
    }
}

impl DeviceClass {
    /// About how many workgroups of 64 invocations keep all units of a device of this class busy. No interface tells the
    /// number of units. ONNX Runtime cuts its tiles smaller below 128 workgroups, which suits GPUs of a computer; phones have
    /// an eighth to a quarter of such a GPU's units. The others lie between: guesses.
    pub const fn busy_workgroups(self) -> u32 {
        match self {
            Self::Nvidia | Self::Amd => 128,
            Self::Intel | Self::Apple | Self::Gl | Self::Web => 64,
            Self::Adreno | Self::Mali => 32,
            // A thread of the host takes many workgroups, one after another.
            Self::Software => 1,
        }
    }
}

impl fmt::Display for DeviceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for DeviceClass {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|class| class.name() == name)
            .ok_or_else(|| format!("'{name}' is no device class; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// What a device's shaders can say, where devices differ: the same kernel is written one way or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Whether units of 32-bit floats are read and written as two words of 64 bits. Software adapters go lane by lane and
    /// word by word, so that this is half as many steps (lavapipe: 8 to 14 % off a whole network); on GPUs it gains nothing.
    pub words64: bool,
    /// Whether there are `pack2x16float` and `unpack2x16float`, as WebGPU says. Lavapipe has them only on processors with
    /// such instructions, so not on every 64-bit ARM; without them the bits are taken apart one by one.
    pub halves: bool,
}

impl Dialect {
    /// What WebGPU has.
    pub const COMMON: Self = Self { words64: false, halves: true };
}

/// The facts of a device that plans depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceFacts {
    /// Its class, real or forced.
    pub class: DeviceClass,
    /// The subgroup size, where subgroup operations exist and the size is always the same.
    pub subgroup_size: Option<u32>,
    /// Invocations that a workgroup may have.
    pub max_invocations: u32,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Storage buffers that one kernel may bind.
    pub max_storage_buffers: u32,
    /// Bytes that one binding may cover.
    pub max_binding_size: u64,
    /// Bytes that one buffer may have.
    pub max_buffer_size: u64,
    /// Workgroups along one dimension of a dispatch.
    pub max_workgroups: u32,
    /// Workgroups that keep all of the device busy: of a smaller grid, parts lie idle. See [`DeviceClass::busy_workgroups`].
    pub busy_workgroups: u32,
    /// Alignment of a binding's offset in a buffer, in bytes.
    pub offset_alignment: u64,
    /// The side of the square matrices that a subgroup multiplies as one, of 16-bit floats with sums in 32 bits; none unless
    /// they were asked for.
    pub matrix_side: Option<u32>,
    /// How kernels are written for it.
    pub dialect: Dialect,
}

impl DeviceFacts {
    /// Bytes that a tensor may take: one binding covers it, in whole 16 bytes, and an index of an element is a `u32`.
    pub fn tensor_limit(&self) -> u64 {
        self.max_binding_size.min(self.max_buffer_size).min(u64::from(u32::MAX)) / 16 * 16
    }

    /// The floor that Vulkan and WebGPU guarantee together, as a device of `class`.
    pub const fn floor(class: DeviceClass) -> Self {
        Self {
            class,
            subgroup_size: None,
            max_invocations: 128,
            workgroup_memory: 16_352,
            max_storage_buffers: 4,
            max_binding_size: 128 << 20,
            max_buffer_size: 256 << 20,
            max_workgroups: 65_535,
            busy_workgroups: class.busy_workgroups(),
            offset_alignment: 256,
            matrix_side: None,
            dialect: Dialect::COMMON,
        }
    }

    /// What lavapipe has, for plans that are made and compared without a device.
    pub const fn lavapipe() -> Self {
        Self {
            class: DeviceClass::Software,
            subgroup_size: Some(8),
            max_invocations: 1024,
            workgroup_memory: 32 << 10,
            max_storage_buffers: 32,
            max_binding_size: 128 << 20,
            max_buffer_size: (1 << 31) - 4,
            max_workgroups: 65_535,
            busy_workgroups: DeviceClass::Software.busy_workgroups(),
            offset_alignment: 32,
            matrix_side: None,
            dialect: Dialect { words64: true, halves: true },
        }
    }
}
