//! The committed header is the one that cbindgen makes of the sources.

use std::path::Path;

#[test]
fn the_header_is_made_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    // In the order in which a reader meets them.
    let sources = [
        "version.rs",
        "status.rs",
        "failure.rs",
        "element.rs",
        "details.rs",
        "model.rs",
        "options.rs",
        "device.rs",
        "session/mod.rs",
        "picture.rs",
    ];
    let builder = cbindgen::Builder::new().with_config(config);
    let builder = sources.iter().fold(builder, |builder, source| builder.with_src(root.join("src").join(source)));
    let mut made = vec![];
    builder.generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();

    let committed = root.join("include/rimlight.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(&committed, &made).unwrap();
    }
    let found = std::fs::read_to_string(&committed).unwrap_or_default();
    assert!(made == found, "capi/include/rimlight.h is old: UPDATE_HEADER=1 cargo test -p rimlight-c --test header");
}
