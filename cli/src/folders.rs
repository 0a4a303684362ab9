//! Where models lie: in a folder that the user names, and where pulled ones are kept. The examples look there too.

use std::path::PathBuf;

/// The folder that `RIMLIGHT_MODELS` names.
pub fn local_folder() -> Option<PathBuf> {
    std::env::var_os("RIMLIGHT_MODELS").filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// Where pulled models are kept: `RIMLIGHT_CACHE`, or the place that the system has for such things.
pub fn cache_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(folder) = variable("RIMLIGHT_CACHE") {
        return Some(folder);
    }
    let caches = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Caches"))
    } else {
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))
    };
    caches.map(|folder| folder.join("rimlight").join("models"))
}
