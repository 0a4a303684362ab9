//! Gives the shared library the name by which programs look for it: without one, they would keep the path it was linked from.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if matches!(system.as_str(), "linux" | "android" | "freebsd") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,librimlight_c.so");
    }
    if system == "macos" || system == "ios" {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/librimlight_c.dylib");
    }
}
