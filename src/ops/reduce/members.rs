//! The table of reductions.

use crate::graph::Dim;

/// A function of two dimensions.
type OfDims = fn(&Dim, &Dim) -> Dim;

/// A function of a set of numbers, in every form in which it is needed.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name in the standard.
    pub name: &'static str,
    /// The reference on floating-point numbers. Of no numbers it gives what the standard says.
    pub floats: fn(&[f64]) -> f64,
    /// The reference on integers; sums and products wrap around.
    pub integers: fn(&[i128]) -> i128,
    /// The kernel: how a value `v` is mapped, how two (`a` and `b`) are joined, with what joining begins, and how `all`
    /// (of params.count values) is finished.
    pub map: &'static str,
    pub join: &'static str,
    pub start: &'static str,
    pub finish: &'static str,
    /// With what joining begins and how it is finished for integers; `None` where there is no kernel for them.
    pub integer: Option<(&'static str, &'static str)>,
    /// The kernel for integers of 64 bits, and of 32 without a sign, as `common/wide` has them: map, join, start (of
    /// numbers with a sign, and of those without), finish.
    pub wide: Option<[&'static str; 5]>,
    /// The parameters of the kernel for any of them: `map`, `join`, `start` and `root`.
    pub any: Option<(u32, u32, f32, u32)>,
    /// The function on two dimensions, so that shapes are followed.
    pub dims: Option<(i64, OfDims)>,
}

const SUM: Member = Member {
    name: "",
    floats: |v| v.iter().sum(),
    integers: |v| v.iter().fold(0, |a, b| a.wrapping_add(*b)),
    map: "v",
    join: "a + b",
    start: "0.0",
    finish: "all",
    integer: None,
    wide: None,
    any: Some((0, 0, 0.0, 0)),
    dims: None,
};

impl Member {
    /// Whether it divides by the count.
    pub(super) fn is_mean(&self) -> bool {
        self.name == "ReduceMean"
    }
}

const WHOLE: Option<(&str, &str)> = Some(("0", "all"));

pub(super) static MEMBERS: &[Member] = &[
    Member {
        name: "ReduceL1",
        floats: |v| v.iter().map(|v| v.abs()).sum(),
        integers: |v| v.iter().fold(0, |a, b| a.wrapping_add(b.wrapping_abs())),
        map: "abs(v)",
        integer: WHOLE,
        wide: Some(["magnitude64(v)", "add64(a, b)", "vec2<u32>(0u)", "vec2<u32>(0u)", "all"]),
        any: Some((2, 0, 0.0, 0)),
        ..SUM
    },
    Member {
        name: "ReduceL2",
        floats: |v| v.iter().map(|v| v * v).sum::<f64>().sqrt(),
        integers: |v| rounded(v.iter().map(|&v| (v as f64).powi(2)).sum::<f64>().sqrt()),
        map: "v * v",
        finish: "sqrt4(all)",
        any: Some((1, 0, 0.0, 1)),
        ..SUM
    },
    Member {
        name: "ReduceLogSum",
        floats: |v| v.iter().sum::<f64>().ln(),
        integers: |v| rounded((v.iter().map(|&v| v as f64).sum::<f64>()).ln()),
        finish: "log4(all)",
        any: None,
        ..SUM
    },
    Member {
        name: LOG_SUM_EXP,
        floats: |v| {
            let max = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            // Infinities are the result themselves.
            if max.is_infinite() { max } else { max + v.iter().map(|v| (v - max).exp()).sum::<f64>().ln() }
        },
        integers: |v| rounded(v.iter().map(|&v| (v as f64).exp()).sum::<f64>().ln()),
        finish: "top + log4(all)",
        any: None,
        ..SUM
    },
    Member {
        name: "ReduceMax",
        floats: |v| v.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        integers: |v| v.iter().copied().max().unwrap_or(i128::MIN),
        join: "max(a, b)",
        start: "-infinity4()",
        integer: Some(("-2147483647 - 1", "all")),
        dims: Some((i64::MIN, Dim::maximum)),
        wide: Some(["v", "larger64(a, b)", "vec2<u32>(0u, 0x80000000u)", "vec2<u32>(0u)", "all"]),
        any: Some((0, 1, f32::NEG_INFINITY, 0)),
        ..SUM
    },
    Member {
        name: "ReduceMean",
        floats: |v| v.iter().sum::<f64>() / v.len() as f64,
        integers: |v| v.iter().fold(0i128, |a, b| a.wrapping_add(*b)).checked_div(v.len() as i128).unwrap_or(0),
        finish: "all / params.count",
        integer: Some(("0", "all / i32(params.count)")),
        wide: Some(["v", "add64(a, b)", "vec2<u32>(0u)", "vec2<u32>(0u)", "divide64(all, integer64(params.count))"]),
        ..SUM
    },
    Member {
        name: "ReduceMin",
        floats: |v| v.iter().copied().fold(f64::INFINITY, f64::min),
        integers: |v| v.iter().copied().min().unwrap_or(i128::MAX),
        join: "min(a, b)",
        start: "infinity4()",
        integer: Some(("2147483647", "all")),
        dims: Some((i64::MAX, Dim::minimum)),
        wide: Some(["v", "smaller64(a, b)", "vec2<u32>(0xffffffffu, 0x7fffffffu)", "vec2<u32>(0xffffffffu)", "all"]),
        any: Some((0, 2, f32::INFINITY, 0)),
        ..SUM
    },
    Member {
        name: "ReduceProd",
        floats: |v| v.iter().product(),
        integers: |v| v.iter().fold(1, |a, b| a.wrapping_mul(*b)),
        join: "a * b",
        start: "1.0",
        integer: Some(("1", "all")),
        dims: Some((1, Dim::mul)),
        wide: Some(["v", "multiply64(a, b)", "vec2<u32>(1u, 0u)", "vec2<u32>(1u, 0u)", "all"]),
        any: Some((0, 3, 1.0, 0)),
        ..SUM
    },
    Member {
        name: "ReduceSum",
        integer: WHOLE,
        dims: Some((0, Dim::add)),
        wide: Some(["v", "add64(a, b)", "vec2<u32>(0u)", "vec2<u32>(0u)", "all"]),
        ..SUM
    },
    Member {
        name: "ReduceSumSquare",
        floats: |v| v.iter().map(|v| v * v).sum(),
        integers: |v| v.iter().fold(0, |a, b| a.wrapping_add(b.wrapping_mul(*b))),
        map: "v * v",
        integer: WHOLE,
        wide: Some(["multiply64(v, v)", "add64(a, b)", "vec2<u32>(0u)", "vec2<u32>(0u)", "all"]),
        any: Some((1, 0, 0.0, 0)),
        ..SUM
    },
];

/// The one whose maximum is taken out first.
pub(super) const LOG_SUM_EXP: &str = "ReduceLogSumExp";

#[expect(clippy::cast_possible_truncation, reason = "toward zero and saturating, as a cast of the standard's")]
const fn rounded(v: f64) -> i128 {
    v as i128
}
