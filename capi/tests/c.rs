//! Programs in C and C++ against the library, as an application has it: compiled without a warning, run under AddressSanitizer with its
//! look for leaks, under valgrind, on the CPU and on a GPU.
//!
//! A machine without a compiler for C++ or without valgrind skips what needs them, and says so; `RIMLIGHT_REQUIRE_C=1` makes that a
//! failure.

#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/digits.onnx");
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/images/digit_8.png");
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];

/// Where cargo has put the library: beside this test.
fn built() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// Whether a program is there; required where `RIMLIGHT_REQUIRE_C` is set.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var_os("RIMLIGHT_REQUIRE_C").is_none(), "there is no `{program}`");
        eprintln!("skipped: there is no `{program}`");
    }
    found
}

/// What a program said, all of it.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    said(&output)
}

/// An object that keeps libraries open: what a driver that was closed leaves behind has no name any more in a report of leaks.
fn kept(folder: &Path) -> PathBuf {
    let to = folder.join("keep.o");
    succeeds(Command::new("cc").args(WARNINGS).arg("-c").arg(Path::new(ROOT).join("tests/keep.c")).arg("-o").arg(&to));
    to
}

/// A program, compiled and linked with the shared library.
fn program(folder: &Path, compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
    let to = folder.join(Path::new(source).file_stem().unwrap());
    let mut command = Command::new(compiler);
    command.args(WARNINGS).args(flags).arg("-I").arg(Path::new(ROOT).join("include")).arg(Path::new(ROOT).join(source));
    if flags.iter().any(|flag| flag.starts_with("-fsanitize")) {
        command.arg(kept(folder));
    }
    command.arg("-o").arg(&to).arg("-L").arg(built()).args(["-lrimlight_c", "-lm"]);
    succeeds(&mut command);
    to
}

/// A program that finds the library where cargo has put it.
fn running(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", built());
    // What a driver keeps for the whole process is no leak of ours. Mesa and LLVM do so; all else is looked at.
    let suppressions = Path::new(ROOT).join("tests/drivers.supp");
    command.env("LSAN_OPTIONS", format!("suppressions={}:print_suppressions=0", suppressions.display()));
    command.env("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1");
    command
}

/// The CPU, and a GPU where there is one: in software too, required where `RIMLIGHT_REQUIRE_GPU` is set.
fn backends() -> Vec<&'static str> {
    match rimlight::Device::gpu() {
        Ok(_) => vec!["cpu", "gpu"],
        Err(error) => {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
            vec!["cpu"]
        }
    }
}

const SANITIZED: [&str; 5] = ["-std=c11", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"];

#[test]
fn wrong_calls_are_answered_and_nothing_leaks() {
    if !has("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let misuse = program(folder.path(), "cc", "tests/misuse.c", &SANITIZED);
    for backend in backends() {
        let text = succeeds(running(&misuse).args([MODEL, backend, PICTURE]));
        assert!(text.ends_with("0 failures\n"), "{text}");
    }
}

#[test]
fn a_leak_is_found() {
    if !has("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let leak = program(folder.path(), "cc", "tests/leak.c", &SANITIZED);
    let output = running(&leak).arg(MODEL).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("LeakSanitizer"), "{}", said(&output));
}

#[test]
fn valgrind_finds_nothing() {
    if !has("cc") || !has("valgrind") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let misuse = program(folder.path(), "cc", "tests/misuse.c", &["-std=c11", "-g", "-O1"]);
    // On the CPU: what a driver in software compiles while it runs is not valgrind's to judge.
    let mut command = running("valgrind");
    command.args(["-q", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=99"]);
    command.args(["--show-leak-kinds=definite,indirect", "--fair-sched=yes"]);
    succeeds(command.arg(&misuse).args([MODEL, "cpu", PICTURE]));
}

#[test]
fn the_example_classifies() {
    if !has("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let classify = program(folder.path(), "cc", "examples/classify.c", &SANITIZED);
    let run = |arguments: &[&str]| running(&classify).args(arguments).output().unwrap();
    for backend in backends() {
        let text = succeeds(running(&classify).args([MODEL, PICTURE, "--backend", backend]));
        let best = text.lines().find(|line| line.contains("class ")).unwrap_or_default();
        assert!(best.contains("class 8"), "{text}");
    }
    for (arguments, part) in [
        (&[][..], "give a model and a picture"),
        (&[MODEL], "give a model and a picture"),
        (&["none.onnx", PICTURE], "none.onnx"),
        (&[MODEL, "none.png"], "none.png"),
        (&[PICTURE, PICTURE], "not an ONNX model"),
        (&[MODEL, MODEL], "cannot be decoded"),
        (&[MODEL, PICTURE, "--backend", "tpu"], "auto, gpu or cpu"),
        (&[MODEL, PICTURE, "resize=squeeze"], "stretch, letterbox"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(part), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn the_static_library_links() {
    if !has("cc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("classify");
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-I"]).arg(Path::new(ROOT).join("include"));
    command.arg(Path::new(ROOT).join("examples/classify.c")).arg("-o").arg(&to);
    command.arg(built().join("librimlight_c.a")).args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"]);
    succeeds(&mut command);
    let text = succeeds(Command::new(&to).args([MODEL, PICTURE, "--backend", "cpu"]));
    assert!(text.contains("class 8"), "{text}");
}

#[test]
fn cpp_takes_the_header() {
    if !has("c++") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-std=c++17", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"];
    let embed = program(folder.path(), "c++", "tests/embed.cpp", &flags);
    let text = succeeds(running(&embed).args([MODEL, "cpu"]));
    assert!(text.contains("as it should be: cannot read 'no such file'"), "{text}");
}

#[test]
fn the_shared_library_has_its_name_and_gives_only_its_functions() {
    if !has("nm") || !has("readelf") {
        return;
    }
    let library = built().join("librimlight_c.so");
    let names = succeeds(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(&library));
    let header = std::fs::read_to_string(Path::new(ROOT).join("include/rimlight.h")).unwrap();
    let names: Vec<&str> = names.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(name.starts_with("rimlight_") && header.contains(&format!("{name}(")), "{name}");
    }
    assert!(succeeds(Command::new("readelf").arg("-d").arg(&library)).contains("soname: [librimlight_c.so]"));
}
