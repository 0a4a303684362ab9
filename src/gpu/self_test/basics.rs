//! What all kernels lean on: loops, barriers, atomics, integer dot products, storage, subgroups, and that an index outside
//! of a buffer harms nothing.

use std::time::Duration;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
#[cfg(target_arch = "wasm32")]
use web_time::Instant;

use half::f16;

use super::super::GpuDevice;
use super::report::{SelfCheck, Verdict};
use super::work::{Bench, Memory};
use crate::error::DeviceError;
use crate::kernel::{Binding, Dialect, Dispatch, Kernel, Storage};

/// Invocations of a workgroup, and of all.
const WORKGROUP: usize = 64;
const INVOCATIONS: usize = 2 * WORKGROUP;
/// Turns of the long loop: enough that a driver which cuts loops short shows.
const TURNS: u32 = 3000;
/// Elements beyond the ends at which reads and writes outside begin.
const BEYOND: u32 = 3;
/// Bytes behind each buffer that nothing may touch.
const CANARY: usize = 8192;
/// What lies in them: no result is this.
const CANARY_BYTE: u8 = 0xa5;

/// What is checked at the start of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basic {
    Loops,
    Barriers,
    Atomics,
    Dots,
    Bounds,
    Halves,
    Words64,
    Subgroups,
}

impl Basic {
    /// Those of `self_test/core.wgsl`, each with its define.
    const CORE: [(Self, &'static str); 5] = [
        (Self::Loops, "LOOPS"),
        (Self::Barriers, "BARRIERS"),
        (Self::Atomics, "ATOMICS"),
        (Self::Dots, "DOTS"),
        (Self::Bounds, "BOUNDS"),
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loops => "loops",
            Self::Barriers => "workgroup memory and barriers",
            Self::Atomics => "atomics in storage",
            Self::Dots => "integer dot products",
            Self::Bounds => "indices outside of a buffer",
            Self::Halves => "storage in 16-bit floats",
            Self::Words64 => "storage in words of 64 bits",
            Self::Subgroups => "subgroups",
        }
    }
}

/// What one of them found.
pub(super) type Found = (Basic, SelfCheck);

impl GpuDevice {
    /// Checks them all. Those that can run as one kernel do, and one by one only where that one answers wrong.
    ///
    /// # Errors
    /// If the device is lost, or does not answer.
    pub(super) async fn check_basics(&self) -> Result<Vec<Found>, DeviceError> {
        let mut found = self.together(&Basic::CORE.map(|(basic, _)| basic)).await?;
        found.extend(self.check_storage().await?);
        found.extend(self.together(&[Basic::Subgroups]).await?);
        Ok(found)
    }

    /// Checks storage alone.
    ///
    /// # Errors
    /// As [`GpuDevice::check_basics`].
    pub(super) async fn check_storage(&self) -> Result<Vec<Found>, DeviceError> {
        self.together(&[Basic::Halves, Basic::Words64]).await
    }

    /// Checks what one kernel can check at once, and one by one where something is wrong: what does not compile takes the
    /// others with it.
    async fn together(&self, basics: &[Basic]) -> Result<Vec<Found>, DeviceError> {
        let all = self.basics_of_one(basics).await?;
        if basics.len() == 1 || all.iter().all(|(_, check)| check.verdict.is_good()) {
            return Ok(all);
        }
        let mut found = vec![];
        for &basic in basics {
            found.extend(self.basics_of_one(&[basic]).await?);
        }
        // Wrong only where all are one: then whatever was wrong there is.
        match found.iter().all(|(_, check)| check.verdict.is_good()) {
            true => Ok(all),
            false => Ok(found),
        }
    }

    async fn basics_of_one(&self, basics: &[Basic]) -> Result<Vec<Found>, DeviceError> {
        let start = Instant::now();
        let verdicts = match basics.first() {
            Some(Basic::Halves | Basic::Words64) => self.storage(basics).await,
            Some(Basic::Subgroups) => self.subgroups().await.map(|verdict| vec![verdict]),
            _ => self.core(basics).await,
        };
        let verdicts = match verdicts {
            Ok(verdicts) => verdicts,
            Err(error @ DeviceError::Refused { .. }) => vec![Verdict::Failed(error.to_string()); basics.len()],
            Err(error) => return Err(error),
        };
        let mut time = start.elapsed();
        let check = |(&basic, verdict): (&Basic, Verdict)| {
            let time = std::mem::replace(&mut time, Duration::ZERO);
            (basic, SelfCheck { name: basic.name().to_owned(), verdict, time })
        };
        Ok(basics.iter().zip(verdicts).map(check).collect())
    }

    /// Runs one dispatch of a kernel that no plan has.
    async fn alone(&self, dispatch: Dispatch, dialect: Dialect, bench: Bench) -> Result<Vec<Vec<u8>>, DeviceError> {
        let pipeline = self.own_pipeline(&dispatch.kernel, dialect).await?;
        self.work(&[dispatch], &[pipeline], &bench).await
    }

    async fn core(&self, basics: &[Basic]) -> Result<Vec<Verdict>, DeviceError> {
        let mut kernel = Kernel::of("self_test/core.wgsl").define("WORKGROUP", WORKGROUP as i64);
        for (_, define) in Basic::CORE.iter().filter(|(basic, _)| basics.contains(basic)) {
            kernel = kernel.define(define, 1);
        }
        let units = 4 * INVOCATIONS + 1;
        let bytes = [INVOCATIONS * 4, 16 * 4, units * 16];
        let storage = Storage::I32;
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), storage)
            .bind(Binding::Output(0), storage)
            .bind(Binding::Output(1), storage)
            .param("invocations", INVOCATIONS)
            .param("turns", TURNS)
            .param("beyond", BEYOND)
            .workgroups((INVOCATIONS / WORKGROUP) as u32, 1, 1);
        let seeds = seeds();
        let guarded = |content: Vec<u8>| {
            let bound = content.len();
            let mut bytes = content;
            bytes.resize(bound + CANARY, CANARY_BYTE);
            Memory { bytes, bound }
        };
        let bench = Bench {
            inputs: vec![Some(guarded(bytemuck::cast_slice(&seeds).to_vec()))],
            outputs: vec![Some(Memory::new(vec![0xff; bytes[1]])), Some(guarded(vec![0; bytes[2]]))],
            ..Bench::default()
        };
        let results = self.alone(dispatch, self.facts().dialect, bench).await?;
        let largest: Vec<i32> = bytemuck::pod_collect_to_vec(&results[0]);
        let found: Vec<i32> = bytemuck::pod_collect_to_vec(&results[1][..bytes[2]]);
        let part = |slot: usize| &found[slot * INVOCATIONS * 4..(slot + 1) * INVOCATIONS * 4];
        let verdict = |basic: &Basic| match basic {
            Basic::Loops => compared(part(0), &loops(&seeds)),
            Basic::Barriers => compared(part(1), &barriers(&seeds)),
            Basic::Atomics => compared(&largest, &atomics(&seeds)),
            Basic::Dots => compared(part(2), &dots(&seeds)),
            _ => bounds(part(3), &seeds, &results[1][bytes[2]..]),
        };
        Ok(basics.iter().map(verdict).collect())
    }

    async fn storage(&self, basics: &[Basic]) -> Result<Vec<Verdict>, DeviceError> {
        let (values, units) = (numbers(), numbers().len() / 4);
        let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
        let storage = if basics.contains(&Basic::Halves) { Storage::F16 } else { Storage::F32 };
        let mut dialect = self.facts().dialect;
        dialect.words64 &= basics.contains(&Basic::Words64);
        let kernel = Kernel::of("self_test/storage.wgsl").define("WORKGROUP", WORKGROUP as i64);
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), storage)
            .bind(Binding::Input(1), Storage::F32)
            .bind(Binding::Output(0), Storage::F32)
            .bind(Binding::Output(1), storage)
            .param("units", units)
            .workgroups(units.div_ceil(WORKGROUP) as u32, 1, 1);
        let stored = |half: bool| match half {
            true => bytemuck::cast_slice(&halves).to_vec(),
            false => bytemuck::cast_slice(&values).to_vec(),
        };
        let half = storage == Storage::F16;
        let bench = Bench {
            inputs: vec![Some(Memory::new(stored(half))), Some(Memory::new(stored(false)))],
            outputs: vec![
                Some(Memory::unwritten(units as u64 * 16)),
                Some(Memory::unwritten(units as u64 * storage.unit_bytes())),
            ],
            ..Bench::default()
        };
        let results = self.alone(dispatch, dialect, bench).await?;
        let floats = |bytes: &[u8], half: bool| -> Vec<f32> {
            match half {
                true => bytemuck::pod_collect_to_vec::<u8, f16>(bytes).iter().map(|v| v.to_f32()).collect(),
                false => bytemuck::pod_collect_to_vec(bytes),
            }
        };
        let doubled: Vec<f32> =
            values.iter().zip(&halves).map(|(&v, h)| if half { h.to_f32() * 2.0 } else { v * 2.0 }).collect();
        let halved: Vec<f32> =
            values.iter().map(|&v| if half { f16::from_f32(v * 0.5).to_f32() } else { v * 0.5 }).collect();
        let verdict = match compared(&floats(&results[0], false), &doubled) {
            Verdict::Right => compared(&floats(&results[1], half), &halved),
            wrong => wrong,
        };
        let words64 = self.facts().dialect.words64;
        let absent = || Verdict::Absent("it is a way of software adapters alone".to_owned());
        Ok(basics
            .iter()
            .map(|basic| if *basic == Basic::Words64 && !words64 { absent() } else { verdict.clone() })
            .collect())
    }

    async fn subgroups(&self) -> Result<Verdict, DeviceError> {
        let Some(lanes) = self.facts().subgroup_size else {
            return Ok(Verdict::Absent("it has none, or none of a fixed size".to_owned()));
        };
        if lanes > self.facts().max_invocations {
            return Ok(Verdict::Absent(format!("no workgroup has room for one of {lanes}")));
        }
        let (groups, lanes) = (3usize, lanes as usize);
        let values: Vec<f32> = (0..groups * lanes).map(|i| ((i * 37 + 11) % 101) as f32 - 50.0).collect();
        let dispatch = Dispatch::of(Kernel::of("self_test/subgroups.wgsl").define("LANES", lanes as i64))
            .bind(Binding::Input(0), Storage::F32)
            .bind(Binding::Output(0), Storage::F32)
            .workgroups(groups as u32, 1, 1);
        let bench = Bench {
            inputs: vec![Some(Memory::new(bytemuck::cast_slice(&values).to_vec()))],
            outputs: vec![Some(Memory::unwritten((3 * values.len() * 16) as u64))],
            ..Bench::default()
        };
        // What words of 64 bits do wrong is no fault of subgroups.
        let dialect = Dialect { words64: false, ..self.facts().dialect };
        let results = self.alone(dispatch, dialect, bench).await?;
        let got: Vec<f32> = bytemuck::pod_collect_to_vec(&results[0]);
        let mut expected = vec![];
        for (group, of) in values.chunks(lanes).enumerate() {
            let [sum, most, least] = [of.iter().sum(), max(of.iter().copied()), max(of.iter().map(|v| -v))];
            for lane in 0..lanes {
                expected.extend([of[0], of[1 % lanes], of[lanes - 1], lane as f32]);
                let v = of[2 % lanes];
                expected.extend([v, v + 1.0, v * 2.0, -v]);
                expected.extend([sum, most, least, (7 + group) as f32]);
            }
        }
        // Small whole numbers: sums are exact in any order.
        Ok(compared(&got, &expected))
    }
}

fn max(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(f32::NEG_INFINITY, f32::max)
}

fn seeds() -> Vec<i32> {
    (0..INVOCATIONS as i32).map(|i| (i * 73 + 29) & 255).collect()
}

/// Numbers that 16-bit floats hold, halved and doubled too: how others are rounded WGSL leaves open. None is below the smallest
/// normal one, which a device may take for zero.
fn numbers() -> Vec<f32> {
    let steps = (0..120).map(|i| (i as f32 - 60.0) * 0.375);
    let ends = [0.0, 1.0, -1.0, 32_752.0, -32_752.0, 0.25, 0.000_976_562_5, 1000.5];
    steps.chain(ends).collect()
}

fn loops(seeds: &[i32]) -> Vec<i32> {
    let nested = |n: i32| {
        let mut sum = 0;
        for a in 0..n {
            sum += (0..=a).filter(|b| (a + b) & 3 != 1).map(|b| a * 5 - b).sum::<i32>();
            if sum > 20_000 {
                return -sum;
            }
        }
        sum
    };
    let collatz = |seed: i32| {
        let mut n = seed + 1;
        let mut steps = 0;
        while n != 1 {
            n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
            steps += 1;
        }
        steps
    };
    let long = |seed: i32| {
        let next = |x: u32, _| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((0..TURNS).fold(seed.cast_unsigned(), next) >> 1).cast_signed()
    };
    let counted = |n: i32| (0..n).map(|k| (k ^ n) * 3 - k).sum();
    seeds.iter().flat_map(|&s| [counted(s & 63), nested(s & 31), collatz(s), long(s)]).collect()
}

fn barriers(seeds: &[i32]) -> Vec<i32> {
    let of_group = |(group, of): (usize, &[i32])| {
        let last = of[WORKGROUP - 1];
        let sum = of.iter().sum();
        let values = |i: usize| [of[WORKGROUP - 1 - i], of[(i + 1) % WORKGROUP], sum, group as i32 - last];
        (0..WORKGROUP).flat_map(values).collect::<Vec<_>>()
    };
    seeds.chunks(WORKGROUP).enumerate().flat_map(of_group).collect()
}

fn atomics(seeds: &[i32]) -> Vec<i32> {
    let mut largest = vec![-1; 16];
    for (i, &seed) in (0..).zip(seeds) {
        largest[seed as usize & 15] = i;
    }
    largest
}

fn dots(seeds: &[i32]) -> Vec<i32> {
    let dot = |a: u32, b: u32| -> i32 {
        a.to_le_bytes()
            .iter()
            .zip(b.to_le_bytes())
            .map(|(&a, b)| i32::from(a.cast_signed()) * i32::from(b.cast_signed()))
            .sum()
    };
    let of_seed = |&seed: &i32| {
        let a = seed.cast_unsigned().wrapping_mul(0x0103_0507);
        let b = (seed + 1).cast_unsigned().wrapping_mul(0x11d3_f7fd);
        [dot(a, b), dot(b, b), dot(a, a), 0]
    };
    seeds.iter().flat_map(of_seed).collect()
}

/// What is read outside may be zero or anything that lies inside; what is written there, nowhere or inside.
pub(super) fn bounds(read: &[i32], seeds: &[i32], behind: &[u8]) -> Verdict {
    if let Some(value) = read.iter().find(|value| **value != 0 && !seeds.contains(value)) {
        return Verdict::Wrong {
            got: format!("{value:#x}, read from behind a buffer"),
            expected: "0, or what is in it".to_owned(),
        };
    }
    match behind.iter().position(|byte| *byte != CANARY_BYTE) {
        None => Verdict::Right,
        Some(at) => Verdict::Wrong {
            got: format!("a write to byte {at} behind a buffer"),
            expected: "a write that is dropped, or falls inside".to_owned(),
        },
    }
}

/// Whether they are the same, and else where they differ first.
fn compared<T: PartialEq + std::fmt::Display>(got: &[T], expected: &[T]) -> Verdict {
    match got.iter().zip(expected).position(|(g, e)| g != e) {
        None if got.len() == expected.len() => Verdict::Right,
        None => Verdict::Wrong { got: format!("{} numbers", got.len()), expected: format!("{}", expected.len()) },
        Some(i) => Verdict::Wrong { got: format!("{} at {i}", got[i]), expected: format!("{}", expected[i]) },
    }
}
