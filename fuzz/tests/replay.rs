//! The targets on the corpus and on the findings of the past.

use std::fs;
use std::path::{Path, PathBuf};

use rimlight_fuzz::{TARGETS, samples};

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

/// The files of a folder, in order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_file_that_is_kept_passes() {
    for (name, run) in TARGETS {
        let kept = files(&folder("corpus", name));
        assert!(!kept.is_empty(), "there is no corpus for {name}");
        for file in kept.into_iter().chain(files(&folder("regressions", name))) {
            let bytes = fs::read(&file).unwrap();
            let outcome = std::panic::catch_unwind(|| run(&bytes));
            assert!(outcome.is_ok(), "{name}: {}", file.display());
        }
    }
}

/// Bytes of a length below `most`, always the same ones for a seed.
fn drawn(seed: u64, most: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = next() as usize % most;
    (0..length).map(|_| (next() >> 32) as u8).collect()
}

/// Cases of each target; `RIMLIGHT_FUZZ_CASES` gives another number, `RIMLIGHT_FUZZ_TARGET` one target, `RIMLIGHT_FUZZ_FIRST`
/// the first seed.
fn cases(target: &str) -> u64 {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    if std::env::var("RIMLIGHT_FUZZ_TARGET").is_ok_and(|wanted| wanted != target) {
        return 0;
    }
    number("RIMLIGHT_FUZZ_CASES").unwrap_or(match target {
        // What it reads must be a file: `damaged` has those.
        "reader" => 0,
        "backends" => 12,
        _ => 400,
    })
}

#[test]
fn drawn_cases_pass() {
    let first = std::env::var("RIMLIGHT_FUZZ_FIRST").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut failed = vec![];
    for (name, run) in TARGETS {
        for seed in first..first + cases(name) {
            let bytes = drawn(seed, 160);
            if std::panic::catch_unwind(|| run(&bytes)).is_err() {
                failed.push(format!("{name}: seed {seed}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Writes what the corpus began with: `cargo test -p rimlight-fuzz -- --ignored seeds`.
#[test]
#[ignore = "writes files"]
fn seeds_are_written() {
    let reader = folder("corpus", "reader");
    fs::create_dir_all(&reader).unwrap();
    for (name, bytes) in samples::all() {
        fs::write(reader.join(name), bytes).unwrap();
    }
    for (name, _) in TARGETS.iter().filter(|(name, _)| *name != "reader") {
        let folder = folder("corpus", name);
        fs::create_dir_all(&folder).unwrap();
        for seed in 0..8 {
            fs::write(folder.join(format!("drawn{seed}")), drawn(seed, 160)).unwrap();
        }
    }
}
