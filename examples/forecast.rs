//! Foretells what a sensor will say, and notices when it says what it should not.
//!
//! ```text
//! cargo run --release --example forecast -- --picture sensor.png
//! ```
//!
//! The network reads one value after the other, its state carried on the device ([`Session::carry`]), and gives means and
//! deviations of the next 24. `models/train/forecast.py` made up the sensor and trained the network.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rimlight::{Options, Session, TensorView};

#[path = "forecast/plot.rs"]
mod plot;
#[path = "program/mod.rs"]
mod program;
#[path = "forecast/readings.rs"]
mod readings;

use plot::Plot;
use program::{Failure, Typed, fits, say, wrong};
use readings::{DAY, Readings, when};

const HELP: &str = "\
Foretells what a sensor will say, and notices when it says what it should not. The sensor is the thermometer of a cold store,
every ten minutes; the network is part of the sources.

usage: forecast [READINGS.csv]

Without readings it takes two weeks that are shipped with it, with five faults in them. A table needs a column degrees, the
first row of midnight; a column fault may name what is known to be wrong.

  --model NAME      the network, by its name or its file (sensor, unless told)
  --threshold T     from how many deviations on a reading is odd (3.5, unless told)
  --picture FILE    draw the readings, what was foretold and what is odd into this .png
  --backend NAME    auto, gpu or cpu";

const OPTIONS: [&str; 4] = ["model", "threshold", "picture", "backend"];
const MODEL: &str = "sensor";
const SHOWN: &str = include_str!("forecast/sensor.csv");

/// What the network reads is (degrees - CENTRE) / SCALE.
const CENTRE: f32 = 4.0;
const SCALE: f32 = 2.0;
/// Readings that are foretold at each.
const AHEAD: usize = 24;
/// Readings of an hour.
const HOUR: usize = 6;
/// Odd is what is far off for half an hour on the whole.
const WINDOW: usize = 3;

/// Of each of the next values its mean and deviation.
type Forecast = Vec<(f32, f32)>;

/// What is foretold at each reading, and how long that took.
fn foretell(session: &mut Session, values: &[f32]) -> Result<(Vec<Forecast>, Vec<Duration>), Failure> {
    session.carry("next_state", "state")?;
    let x = session.input("x")?;
    let [mean, deviation] = ["mean", "deviation"].map(|name| session.output(name));
    let (mean, deviation) = (mean?, deviation?);
    let (mut forecasts, mut times) = (vec![], vec![]);
    for (i, value) in values.iter().enumerate() {
        let start = Instant::now();
        // The hour as a point on a circle.
        let hour = std::f64::consts::TAU * (i % DAY) as f64 / DAY as f64;
        let given = [(value - CENTRE) / SCALE, hour.sin() as f32, hour.cos() as f32];
        session.set(x, fits(TensorView::new([1, 3], &given))?)?;
        session.run()?;
        let means = fits(session.get(mean)?.as_slice::<f32>())?.to_vec();
        let deviations = fits(session.get(deviation)?.as_slice::<f32>())?;
        forecasts.push(means.into_iter().zip(deviations.iter().copied()).collect());
        times.push(start.elapsed());
    }
    Ok((forecasts, times))
}

/// How many deviations the readings of half an hour are, on the whole, away from what was foretold ten minutes before each.
/// Of the first day nothing is said: the network must see one.
fn oddness(values: &[f32], forecasts: &[Forecast]) -> Vec<f32> {
    let foretold = forecasts.iter().map(|forecast| forecast.first().copied().unwrap_or((0.0, 1.0)));
    let squares: Vec<f32> = std::iter::once(0.0)
        .chain(
            values.iter().skip(1).zip(foretold).map(|(value, (mean, deviation))| ((value - mean) / deviation).powi(2)),
        )
        .collect();
    let of = |i: usize| match i.checked_sub(DAY) {
        Some(_) => (squares[i + 1 - WINDOW..=i].iter().sum::<f32>() / WINDOW as f32).sqrt(),
        None => 0.0,
    };
    (0..values.len()).map(of).collect()
}

/// Where readings are odd, less than an hour apart: first, and the one after the last.
fn intervals(oddness: &[f32], threshold: f32) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = vec![];
    for (i, _) in oddness.iter().enumerate().filter(|(_, oddness)| **oddness >= threshold) {
        match found.last_mut() {
            Some((_, end)) if i - *end < HOUR => *end = i + 1,
            _ => found.push((i, i + 1)),
        }
    }
    found
}

/// The fault that an interval is about: one that is on, or was within the half day that the network has to forget it.
fn fault_of(readings: &Readings, (from, to): (usize, usize)) -> Option<usize> {
    readings.faults.iter().rposition(|&(_, begin, end)| begin < to && from < end + DAY / 2)
}

fn run(typed: &Typed) -> Result<(), Failure> {
    let text = match typed.rest.as_slice() {
        [] => SHOWN.to_owned(),
        [path] => std::fs::read_to_string(path)
            .map_err(|e| wrong(format!("cannot read '{}': {e}", Path::new(path).display())))?,
        _ => return Err(wrong("one table at a time")),
    };
    let readings = readings::read(&text).map_err(wrong)?;
    let values = &readings.values;
    let threshold = typed.number("threshold", 3.5, [0.1, 1000.0])?;
    let model = program::model(&typed.text("model").unwrap_or_else(|| MODEL.to_owned()))?;
    let device = typed.device()?;
    let mut session = model.session_with(&device, &Options::new())?;
    let (forecasts, times) = foretell(&mut session, values)?;
    let oddness = oddness(values, &forecasts);
    let odd = intervals(&oddness, threshold);

    for &(from, to) in &odd {
        let most = oddness[from..to].iter().copied().fold(0.0, f32::max);
        let known = fault_of(&readings, (from, to)).map(|fault| &readings.faults[fault]);
        let known = known.map_or(String::new(), |(name, begin, _)| format!("   {name}, since {}", when(*begin)));
        say!("odd from {} to {}, up to {most:4.1} deviations{known}", when(from), when(to));
    }
    let ahead = |i: usize, steps: usize| forecasts.get(i).and_then(|forecast| forecast.get(steps - 1)).copied();
    for (steps, name) in [(1, "ten minutes"), (HOUR, "an hour"), (AHEAD, "four hours")] {
        let offs = (DAY..values.len().saturating_sub(steps))
            .filter_map(|i| Some((ahead(i, steps)?.0 - values[i + steps]).abs()));
        let (sum, count) = offs.fold((0.0, 0), |(sum, count), off| (sum + off, count + 1));
        let next = ahead(values.len().wrapping_sub(1), steps).unwrap_or_default();
        say!(
            "{name:>11} ahead: off by {:.2} degrees on average; next {:.2} ± {:.2}",
            sum / count as f32,
            next.0,
            next.1
        );
    }
    let median = program::median(times);
    say!("{} readings on {}: {median:.3} ms each (median)", values.len(), device.name());
    if let Some(path) = typed.path("picture") {
        let bounds = |(mean, deviation): (f32, f32)| (mean - 2.0 * deviation, mean + 2.0 * deviation);
        let before = values.iter().take(HOUR).map(|&value| (value, value));
        let foretold = before.chain((0..values.len()).filter_map(|i| ahead(i, HOUR)).map(bounds));
        // After the last reading: what was foretold at it.
        let rest = (HOUR..AHEAD).filter_map(|steps| ahead(values.len().wrapping_sub(1), steps + 1)).map(bounds);
        let foretold: Vec<_> = foretold.chain(rest).collect();
        Plot { values, foretold: &foretold, oddness: &oddness, threshold, odd: &odd }.write(&path).map_err(wrong)?;
        say!("drawn into {}", path.display());
    }
    Ok(())
}

fn main() -> ExitCode {
    program::main("forecast", HELP, &OPTIONS, run)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forecasts are those of ONNX Runtime after hundreds of carried states; each fault is found, and nothing else is odd.
    #[test]
    fn faults_are_noticed_and_forecasts_are_those_of_others() {
        let expected: serde_json::Value = serde_json::from_str(include_str!("forecast/expected.json")).unwrap();
        let readings = readings::read(SHOWN).unwrap();
        let model = program::model(MODEL).unwrap();
        for device in program::tests::devices() {
            let mut session = model.session(&device).unwrap();
            let (forecasts, _) = foretell(&mut session, &readings.values).unwrap();
            for row in expected.as_array().unwrap() {
                let at = usize::try_from(row["at"].as_u64().unwrap()).unwrap();
                let [mean, deviation] = ["mean", "deviation"].map(|name| {
                    let values: Vec<f32> = serde_json::from_value(row[name].clone()).unwrap();
                    values
                });
                assert_eq!((forecasts[at].len(), mean.len(), deviation.len()), (AHEAD, AHEAD, AHEAD));
                for (k, (found, expected)) in forecasts[at].iter().zip(mean.into_iter().zip(deviation)).enumerate() {
                    let off = (found.0 - expected.0).abs().max((found.1 - expected.1).abs());
                    assert!(off < 1e-4, "reading {at}, {k} ahead: {found:?}, where {expected:?} is expected");
                }
            }
            let odd = intervals(&oddness(&readings.values, &forecasts), 3.5);
            let found: Vec<Option<usize>> = odd.iter().map(|&interval| fault_of(&readings, interval)).collect();
            assert!(found.iter().all(Option::is_some), "{odd:?}");
            assert!((0..readings.faults.len()).all(|fault| found.contains(&Some(fault))), "{odd:?}");
        }
    }
}
