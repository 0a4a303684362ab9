//! ONNX's own tests of every operator, on the CPU and again in a GPU session: every row runs in every run, and ends as
//! `data/conformance.toml` says. The folder `RIMLIGHT_CONFORMANCE` holds them, below `node` and `simple`
//! (`.ci/conformance-data` fetches it).

use std::path::PathBuf;
use std::time::Duration;

use rimlight::{Device, Unsupported};
use rimlight_cli::conformance::{self, Bounds, Expectations, Ran, compare, readme};
use rimlight_tests::root;

/// Seconds that one test may take: a hundred times what the slowest needs.
const TIMEOUT: Duration = Duration::from_secs(60);

fn expectations() -> Expectations {
    let text = std::fs::read_to_string(root().join("tests/data/conformance.toml")).expect("the file of expectations");
    Expectations::read(&text).expect("a readable file of expectations")
}

fn tests() -> Option<Vec<PathBuf>> {
    let Some(folder) = std::env::var_os("RIMLIGHT_CONFORMANCE").map(PathBuf::from) else {
        eprintln!(
            "skipped: RIMLIGHT_CONFORMANCE names no folder of ONNX's backend tests (.ci/conformance-data fetches it)"
        );
        return None;
    };
    // Tests run in their crate's folder; a relative path is meant from the repository's root.
    let folder = if folder.is_relative() { root().join(folder) } else { folder };
    let kind = |kind: &str| {
        let found = conformance::find(&folder.join(kind));
        assert!(
            !found.is_empty(),
            "RIMLIGHT_CONFORMANCE names '{}', which holds no tests in '{kind}'",
            folder.display()
        );
        found
    };
    Some(["node", "simple"].iter().flat_map(|name| kind(name)).collect())
}

fn ends_as_expected(device: &Device) {
    let Some(tests) = tests() else { return };
    let list = expectations();
    let rows = conformance::run(&tests, device, Bounds::default(), TIMEOUT, &|_| {});
    let ran = Ran::on(device);
    let update = format!(
        "`rimlight conformance $RIMLIGHT_CONFORMANCE/node $RIMLIGHT_CONFORMANCE/simple --backend {} \
         --expectations tests/data/conformance.toml --write --readme README.md` writes what is found",
        ran.name().to_lowercase()
    );
    let differences = list.differences(&rows, ran);
    let (n, all) = (differences.len(), differences.join("\n"));
    assert!(
        n == 0,
        "{n} tests end in another way than tests/data/conformance.toml says:\n{all}\nIf that is right, {update}."
    );
    if matches!(ran, Ran::Cpu | Ran::Gpu { software: true }) {
        let text = std::fs::read_to_string(root().join("README.md")).expect("the README");
        let updated = readme::updated(&text, &rows, ran.name()).expect("a README with a table");
        assert!(updated == text, "the README counts otherwise; {update}");
    }
}

#[test]
fn every_row_ends_as_expected_on_the_cpu() {
    ends_as_expected(&Device::cpu());
}

#[test]
fn every_row_ends_as_expected_in_a_gpu_session() {
    match Device::gpu() {
        Ok(device) => ends_as_expected(&device),
        Err(error) => {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
        }
    }
}

#[test]
fn reasons_come_from_the_list_and_bounds_are_those_of_tests() {
    let list = expectations();
    for reason in list.unsupported.keys() {
        assert!(Unsupported::ALL.iter().any(|listed| listed.name() == reason), "'{reason}' is no reason");
    }
    let tests: Vec<String> = tests().into_iter().flatten().map(|test| conformance::name(&test)).collect();
    for (test, ..) in compare::OWN {
        assert!(
            tests.is_empty() || tests.iter().any(|name| name == test),
            "{test} has bounds, but there is no such test"
        );
    }
}
