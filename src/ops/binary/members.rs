//! The table of element-wise functions of two tensors.

use super::evaluate::{compare, equal, numbers, power, truths};
use crate::graph::{Definition, DefinitionError, Dim, EvaluateError};
use crate::ops::broadcast::program::Operation;
use crate::tensor::{ElementType, Tensor};

type Result<T, E = EvaluateError> = std::result::Result<T, E>;

/// A tensor and the shape with which it broadcasts.
pub(super) type Side<'a> = (&'a Tensor, &'a [usize]);

/// The element types that a function takes; both operands have the same, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Numbers,
    /// Numbers, the second operand's type being any.
    Powers,
    Integers,
    Unsigned,
    Truths,
    Anything,
}

impl Takes {
    pub(super) fn allows(self, a: ElementType, b: ElementType) -> bool {
        let number = |t: ElementType| t.is_float() || t.is_integer();
        match self {
            Self::Powers => number(a) && number(b),
            _ if a != b => false,
            Self::Numbers => number(a),
            Self::Integers => a.is_integer(),
            Self::Unsigned => a.is_integer() && !a.is_signed_integer(),
            Self::Truths => a == ElementType::Bool,
            Self::Anything => true,
        }
    }
}

/// A function of two operands, in every form in which it is needed.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name in the standard.
    pub name: &'static str,
    pub takes: Takes,
    /// Whether it gives truth values.
    pub test: bool,
    /// The reference, given the shape of the result.
    pub evaluate: fn(Side<'_>, Side<'_>, &[usize]) -> Result<Tensor>,
    /// The kernel: an expression of `a` and `b` (four elements each).
    pub wgsl: &'static str,
    /// The kernel for integers, where that is another.
    pub integer: Option<&'static str>,
    /// The kernel for integers of 64 bits, and of 32 without a sign: an expression of single elements `a` and `b` as
    /// `common/wide` has them.
    pub wide: Option<&'static str>,
    /// What it is in a program of floating-point numbers.
    pub step: Option<Operation>,
    /// The function on dimensions, so that shapes are followed through arithmetic.
    pub dims: Option<fn(&Dim, &Dim) -> Dim>,
    /// How far kernel and reference may lie apart, relative to the value.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by tests"))]
    pub tolerance: f32,
}

impl Member {
    /// The member itself, or the one that stands for it under these attributes.
    pub(super) fn variant(&'static self, definition: &Definition) -> Result<&'static Self, DefinitionError> {
        match self.name {
            "Mod" if definition.flag("fmod", false)? => Ok(&MOD_TRUNCATED),
            "BitShift" => match definition.string("direction")?.as_deref() {
                Some("LEFT") => Ok(&SHIFT_LEFT),
                Some("RIGHT") => Ok(self),
                Some(other) => Err(DefinitionError::Value("direction", format!("is '{other}', not 'LEFT' or 'RIGHT'"))),
                None => Err(DefinitionError::Missing("direction")),
            },
            _ => Ok(self),
        }
    }
}

const NUMBER: Member = Member {
    name: "",
    takes: Takes::Numbers,
    test: false,
    evaluate: |_, _, _| Err(EvaluateError::Unsupported(String::new())),
    wgsl: "a",
    integer: None,
    wide: None,
    step: None,
    dims: None,
    tolerance: 0.0,
};

const TEST: Member = Member { test: true, ..NUMBER };

/// Mod with the sign of the dividend.
static MOD_TRUNCATED: Member = Member {
    name: "Mod",
    evaluate: |a, b, to| numbers(a, b, to, |a, b| a % b, |a, b| a.checked_rem(b).unwrap_or(0)),
    wgsl: "remainder4(a, b)",
    integer: Some("remainder_integer4(a, b)"),
    wide: Some("remainder64(a, b)"),
    ..NUMBER
};

static SHIFT_LEFT: Member = Member {
    name: "BitShift",
    takes: Takes::Unsigned,
    evaluate: |a, b, to| numbers(a, b, to, |a, _| a, |a, b| if b < 64 { a << b } else { 0 }),
    wgsl: "select(a << vec4<u32>(b & vec4<i32>(7)), vec4<i32>(0), b > vec4<i32>(7))",
    wide: Some("shift_left64(a, distance64(b))"),
    ..NUMBER
};

pub(super) static MEMBERS: &[Member] = &[
    Member {
        name: "Add",
        step: Some(Operation::Add),
        evaluate: |a, b, to| numbers(a, b, to, |a, b| a + b, i128::wrapping_add),
        wgsl: "a + b",
        dims: Some(Dim::add),
        wide: Some("add64(a, b)"),
        ..NUMBER
    },
    Member {
        name: "And",
        takes: Takes::Truths,
        evaluate: |a, b, to| truths(a, b, to, |a, b| a && b),
        wgsl: "a & b",
        ..TEST
    },
    Member {
        name: "BitShift",
        takes: Takes::Unsigned,
        evaluate: |a, b, to| numbers(a, b, to, |a, _| a, |a, b| if b < 64 { a >> b } else { 0 }),
        wgsl: "select(a >> vec4<u32>(b & vec4<i32>(7)), vec4<i32>(0), b > vec4<i32>(7))",
        wide: Some("shift_right64(a, distance64(b))"),
        ..NUMBER
    },
    Member {
        name: "BitwiseAnd",
        takes: Takes::Integers,
        evaluate: |a, b, to| numbers(a, b, to, |a, _| a, |a, b| a & b),
        wgsl: "a & b",
        wide: Some("a & b"),
        ..NUMBER
    },
    Member {
        name: "BitwiseOr",
        takes: Takes::Integers,
        evaluate: |a, b, to| numbers(a, b, to, |a, _| a, |a, b| a | b),
        wgsl: "a | b",
        wide: Some("a | b"),
        ..NUMBER
    },
    Member {
        name: "BitwiseXor",
        takes: Takes::Integers,
        evaluate: |a, b, to| numbers(a, b, to, |a, _| a, |a, b| a ^ b),
        wgsl: "a ^ b",
        wide: Some("a ^ b"),
        ..NUMBER
    },
    Member {
        name: "Div",
        step: Some(Operation::Div),
        // Integers are truncated toward zero; by zero they give 0.
        evaluate: |a, b, to| numbers(a, b, to, |a, b| a / b, |a, b| if b == 0 { 0 } else { a.wrapping_div(b) }),
        wgsl: "a / b",
        integer: Some("select(a / b, vec4<i32>(0), b == vec4<i32>(0))"),
        dims: Some(divide),
        // Vulkan allows a division 2.5 units in the last place.
        tolerance: 4e-7,
        wide: Some("divide64(a, b)"),
        ..NUMBER
    },
    Member {
        name: "Equal",
        takes: Takes::Anything,
        evaluate: equal,
        wgsl: "select(vec4<i32>(0), vec4<i32>(1), a == b)",
        wide: Some("select(0, 1, all(a == b))"),
        ..TEST
    },
    Member {
        name: "Greater",
        evaluate: |a, b, to| compare(a, b, to, |a, b| a > b, |a, b| a > b),
        wgsl: "select(vec4<i32>(0), vec4<i32>(1), a > b)",
        wide: Some("select(0, 1, less64(b, a))"),
        ..TEST
    },
    Member {
        name: "GreaterOrEqual",
        evaluate: |a, b, to| compare(a, b, to, |a, b| a >= b, |a, b| a >= b),
        wgsl: "select(vec4<i32>(0), vec4<i32>(1), a >= b)",
        wide: Some("select(0, 1, !less64(a, b))"),
        ..TEST
    },
    Member {
        name: "Less",
        evaluate: |a, b, to| compare(a, b, to, |a, b| a < b, |a, b| a < b),
        wgsl: "select(vec4<i32>(0), vec4<i32>(1), a < b)",
        wide: Some("select(0, 1, less64(a, b))"),
        ..TEST
    },
    Member {
        name: "LessOrEqual",
        evaluate: |a, b, to| compare(a, b, to, |a, b| a <= b, |a, b| a <= b),
        wgsl: "select(vec4<i32>(0), vec4<i32>(1), a <= b)",
        wide: Some("select(0, 1, !less64(b, a))"),
        ..TEST
    },
    Member {
        name: "Max",
        step: Some(Operation::Max),
        evaluate: |a, b, to| numbers(a, b, to, |a, b| if a > b || a.is_nan() { a } else { b }, i128::max),
        wgsl: "select(b, a, (a > b) | is_nan4(a))",
        integer: Some("max(a, b)"),
        dims: Some(Dim::maximum),
        wide: Some("larger64(a, b)"),
        ..NUMBER
    },
    Member {
        name: "Min",
        step: Some(Operation::Min),
        evaluate: |a, b, to| numbers(a, b, to, |a, b| if a < b || a.is_nan() { a } else { b }, i128::min),
        wgsl: "select(b, a, (a < b) | is_nan4(a))",
        integer: Some("min(a, b)"),
        dims: Some(Dim::minimum),
        wide: Some("smaller64(a, b)"),
        ..NUMBER
    },
    Member {
        name: "Mod",
        // With the sign of the divisor; by zero integers give 0.
        evaluate: |a, b, to| {
            numbers(
                a,
                b,
                to,
                |a, b| a - b * (a / b).floor(),
                |a, b| match a.checked_rem(b) {
                    Some(r) if r != 0 && (r < 0) != (b < 0) => r + b,
                    Some(r) => r,
                    None => 0,
                },
            )
        },
        wgsl: "a - b * floor(a / b)",
        integer: Some("modulo_integer4(a, b)"),
        tolerance: 1e-5,
        wide: Some("modulo64(a, b)"),
        ..NUMBER
    },
    Member {
        name: "Mul",
        step: Some(Operation::Mul),
        evaluate: |a, b, to| numbers(a, b, to, |a, b| a * b, i128::wrapping_mul),
        wgsl: "a * b",
        dims: Some(Dim::mul),
        wide: Some("multiply64(a, b)"),
        ..NUMBER
    },
    Member {
        name: "Or",
        takes: Takes::Truths,
        evaluate: |a, b, to| truths(a, b, to, |a, b| a || b),
        wgsl: "a | b",
        ..TEST
    },
    Member {
        name: "PRelu",
        evaluate: |a, b, to| {
            numbers(a, b, to, |a, b| if a < 0.0 { a * b } else { a }, |a, b| if a < 0 { a.wrapping_mul(b) } else { a })
        },
        wgsl: "select(a, a * b, a < x0_unit())",
        wide: Some("select(a, multiply64(a, b), is_negative64(a))"),
        ..NUMBER
    },
    Member {
        name: "Pow",
        takes: Takes::Powers,
        evaluate: power,
        wgsl: "pow4(vec4<f32>(a), vec4<f32>(b))",
        // An exponent of 80 powers of e costs that many roundings of the logarithm.
        tolerance: 1e-5,
        ..NUMBER
    },
    Member {
        name: "Sub",
        step: Some(Operation::Sub),
        evaluate: |a, b, to| numbers(a, b, to, |a, b| a - b, i128::wrapping_sub),
        wgsl: "a - b",
        dims: Some(Dim::sub),
        wide: Some("subtract64(a, b)"),
        ..NUMBER
    },
    Member {
        name: "Xor",
        takes: Takes::Truths,
        evaluate: |a, b, to| truths(a, b, to, |a, b| a != b),
        wgsl: "a ^ b",
        ..TEST
    },
];

/// The quotient, truncated: for dimensions, which are not negative, rounded down.
fn divide(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Known(a), Dim::Known(b)) => a.checked_div(*b).map_or(Dim::Unknown, Dim::Known),
        (_, Dim::Known(..0)) => Dim::Unknown,
        _ => a.floor_div(b),
    }
}
