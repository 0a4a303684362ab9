//! Why there is no GPU, and what to do about it.

use std::path::{Path, PathBuf};

use super::adapter::{AdapterKind, AdapterRequest, Considered};

/// What the machine shows of GPUs without a driver being asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Whether this is Linux: the rest is only looked at there.
    pub linux: bool,
    /// The render nodes below `/dev/dri`, each with whether it can be opened.
    pub render_nodes: Vec<(PathBuf, bool)>,
    /// Whether an NVIDIA GPU is there (`/dev/nvidia0`) or a Jetson's (`/dev/nvhost-gpu`).
    pub nvidia: bool,
    /// Whether a Vulkan driver is installed (an ICD manifest).
    pub vulkan_driver: bool,
    /// Whether this is inside a container.
    pub container: bool,
}

impl Machine {
    /// Looks at this machine.
    pub fn look() -> Self {
        if !cfg!(target_os = "linux") {
            return Self::default();
        }
        let nodes = list(Path::new("/dev/dri"))
            .into_iter()
            .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("renderD")));
        let open = |path: &Path| std::fs::OpenOptions::new().read(true).write(true).open(path).is_ok();
        let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"];
        let folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
        Self {
            linux: true,
            render_nodes: nodes
                .map(|path| {
                    let opens = open(&path);
                    (path, opens)
                })
                .collect(),
            nvidia: ["/dev/nvidia0", "/dev/nvhost-gpu"].iter().any(|p| Path::new(p).exists()),
            vulkan_driver: named.iter().any(|name| std::env::var_os(name).is_some())
                || folders.iter().any(|folder| !list(Path::new(folder)).is_empty()),
            container: ["/.dockerenv", "/run/.containerenv"].iter().any(|p| Path::new(p).exists())
                || std::env::var_os("container").is_some(),
        }
    }
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|e| e.path()).collect();
    paths.sort();
    paths
}

/// One sentence on why nothing was taken, and one on what to do.
pub fn why_none(considered: &[Considered], request: &AdapterRequest, machine: &Machine) -> String {
    if let Some(name) = &request.name {
        let known: Vec<_> = considered.iter().map(|c| c.info.to_string()).collect();
        let meant = considered.iter().any(|c| c.info.kind == AdapterKind::Software && !request.software);
        return match known.as_slice() {
            [] => format!("no adapter's name holds '{name}': none was found at all; {}", remedy(machine)),
            _ if meant => format!(
                "no GPU's name holds '{name}' without it being in software; there are {}; `--backend gpu` takes those in software",
                known.join(", ")
            ),
            _ => format!("no adapter's name holds '{name}'; there are {}", known.join(", ")),
        };
    }
    let software: Vec<_> = considered.iter().map(|c| c.info.name.as_str()).collect();
    if software.is_empty() {
        return format!("no adapter was found; {}", remedy(machine));
    }
    format!(
        "only GPUs in software were found ({}), which are slower than the CPU itself; `--backend gpu` (`Device::gpu`) takes them all the same; for a real one, {}",
        software.join(", "),
        remedy(machine)
    )
}

fn remedy(machine: &Machine) -> String {
    if !machine.linux {
        return "install the GPU's driver".to_owned();
    }
    if let Some((path, _)) = machine.render_nodes.iter().find(|(_, opens)| !opens) {
        return format!(
            "{} is there but may not be opened: `sudo usermod -aG render,video $USER`, then log in again",
            path.display()
        );
    }
    if machine.nvidia {
        return "an NVIDIA GPU is there, but its Vulkan driver is not: install libnvidia-gl, or in a container set \
                `NVIDIA_DRIVER_CAPABILITIES=all`"
            .to_owned();
    }
    if machine.render_nodes.is_empty() && machine.container {
        return "this container was given no GPU: start it with `--device /dev/dri`, or `--gpus all` for NVIDIA"
            .to_owned();
    }
    if !machine.vulkan_driver {
        return "there is no Vulkan driver: install mesa-vulkan-drivers, or the vendor's".to_owned();
    }
    if machine.render_nodes.is_empty() {
        return "the kernel shows no GPU (/dev/dri is empty): load its module or install its driver".to_owned();
    }
    "a GPU and a Vulkan driver are there, but the driver offers no adapter: `vulkaninfo` says more".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(machine: Machine) -> String {
        why_none(&[], &AdapterRequest::auto(), &machine)
    }

    #[test]
    fn the_remedy_fits_what_is_missing() {
        let linux = Machine { linux: true, ..Machine::default() };
        assert!(advice(Machine { container: true, ..linux.clone() }).contains("--device /dev/dri"));
        assert!(advice(linux.clone()).contains("no Vulkan driver"));
        let locked = vec![(PathBuf::from("/dev/dri/renderD128"), false)];
        assert!(advice(Machine { render_nodes: locked, ..linux.clone() }).contains("usermod"));
        assert!(advice(Machine { nvidia: true, container: true, ..linux }).contains("NVIDIA_DRIVER_CAPABILITIES"));
    }
}
