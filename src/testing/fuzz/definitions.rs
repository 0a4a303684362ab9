//! Definitions and tensors as a hostile file has them.

use crate::graph::{Attribute, Definition};
use crate::ops::names;
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor};
use crate::testing::Random;

/// What a hostile file draws.
impl Random {
    fn many<T>(&mut self, most: usize, mut f: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| f(self)).collect()
    }

    /// An integer: mostly a plausible one, now and then one at an edge.
    pub fn integer(&mut self) -> i64 {
        const EDGES: [i64; 14] = [
            i64::MIN,
            i64::MIN + 1,
            -(1 << 33),
            -(1 << 31) - 1,
            -7,
            64,
            255,
            1 << 16,
            (1 << 31) - 1,
            1 << 31,
            1 << 32,
            1 << 40,
            i64::MAX - 1,
            i64::MAX,
        ];
        if self.one_in(6) { self.pick(&EDGES) } else { self.below(8) as i64 - 2 }
    }

    fn float(&mut self) -> f32 {
        self.pick(&[0.0, 1.0, -1.0, 0.5, 2.0, 3.7, -0.75, 1e30, -1e30, 1e-30, f32::NAN, f32::INFINITY, f32::MIN])
    }
}

/// Names that attributes have, by their types.
const INTS: [&str; 15] = [
    "pooled_shape",
    "axes",
    "kernel_shape",
    "strides",
    "dilations",
    "pads",
    "output_padding",
    "output_shape",
    "perm",
    "split",
    "starts",
    "ends",
    "shape",
    "value_ints",
    "axis",
];
const INT: [&str; 45] = [
    "offset_group",
    "output_height",
    "output_width",
    "sampling_ratio",
    "size",
    "time_axis",
    "batch_axis",
    "align_corners",
    "center_point_box",
    "axis",
    "keepdims",
    "group",
    "to",
    "ceil_mode",
    "count_include_pad",
    "storage_order",
    "p",
    "blocksize",
    "num_outputs",
    "num_groups",
    "transA",
    "transB",
    "batch_dims",
    "exclusive",
    "reverse",
    "upper",
    "k",
    "dtype",
    "select_last_index",
    "noop_with_empty_axes",
    "allowzero",
    "start",
    "end",
    "is_causal",
    "q_num_heads",
    "kv_num_heads",
    "qk_matmul_output_mode",
    "softmax_precision",
    "exclude_outside",
    "antialias",
    "fmod",
    "stash_type",
    "training_mode",
    "value_int",
    "detect_negative",
];
const FLOAT: [&str; 16] = [
    "spatial_scale",
    "alpha",
    "beta",
    "epsilon",
    "gamma",
    "bias",
    "lambd",
    "ratio",
    "scale",
    "softcap",
    "cubic_coeff_a",
    "extrapolation_value",
    "value_float",
    "value",
    "min",
    "max",
];
const TEXT: [&str; 11] = [
    "padding_mode",
    "pixel_format",
    "mode",
    "auto_pad",
    "coordinate_transformation_mode",
    "nearest_mode",
    "direction",
    "approximate",
    "reduction",
    "keep_aspect_ratio_policy",
    "axis",
];
const WORDS: [&str; 36] = [
    "bilinear",
    "bicubic",
    "zeros",
    "border",
    "reflection",
    "avg",
    "",
    "constant",
    "reflect",
    "edge",
    "wrap",
    "SAME_UPPER",
    "SAME_LOWER",
    "VALID",
    "NOTSET",
    "nearest",
    "linear",
    "cubic",
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
    "half_pixel_symmetric",
    "round_prefer_floor",
    "round_prefer_ceil",
    "floor",
    "ceil",
    "LEFT",
    "RIGHT",
    "tanh",
    "none",
    "DCR",
    "CRD",
    "stretch",
    "not_larger",
];
fn tensor(random: &mut Random, element_type: ElementType, shape: &[usize]) -> Tensor {
    let n = elements(shape).unwrap();
    let made = match element_type {
        ElementType::String => Tensor::from_strings(shape, (0..n).map(|_| random.integer().to_string()).collect()),
        t if t.is_any_float() => Tensor::from_f64(t, shape, (0..n).map(|_| random.float().into()).collect()),
        t => Tensor::from_integers(t, shape, &(0..n).map(|_| random.integer().into()).collect::<Vec<i128>>()),
    };
    made.unwrap()
}

pub fn any_tensor(random: &mut Random, like: Option<&Tensor>) -> Tensor {
    // Most operators want inputs of one type and of shapes that have to do with each other.
    let element_type = match like {
        Some(like) if !random.one_in(3) => like.element_type(),
        _ => random.pick(&ElementType::ALL),
    };
    let shape = match like {
        Some(like) if random.one_in(2) => like.shape().to_vec(),
        _ => random.many(5, |random| random.pick(&[0, 1, 1, 2, 3, 4, 5, 8])),
    };
    let shape = if random.one_in(4) { vec![random.below(5)] } else { shape };
    tensor(random, element_type, &shape)
}

fn attribute(random: &mut Random, definition: Definition) -> Definition {
    match random.below(8) {
        0..=2 => {
            let (name, value) = (random.pick(&INTS), random.many(5, Random::integer));
            definition.attribute(name, value)
        }
        3..=4 => {
            let (name, value) = (random.pick(&INT), random.integer());
            definition.attribute(name, value)
        }
        5 => {
            let (name, value) = (random.pick(&FLOAT), random.float());
            definition.attribute(name, value)
        }
        6 => {
            let (name, value) = (random.pick(&TEXT), random.pick(&WORDS));
            definition.attribute(name, value)
        }
        _ => {
            let (name, value) = match random.below(3) {
                0 => ("scales", Attribute::Floats(random.many(5, Random::float))),
                1 => ("value_floats", Attribute::Floats(random.many(5, Random::float))),
                _ => ("value", Attribute::Tensor(any_tensor(random, None))),
            };
            definition.attribute(name, value)
        }
    }
}

pub fn definition(random: &mut Random) -> Definition {
    let all: Vec<_> = names().collect();
    let (domain, name) = random.pick(&all);
    let mut made = Definition { domain: domain.to_owned(), ..Definition::new(name) };
    if random.one_in(3) {
        made.opset = 1 + random.below(25) as i64;
    }
    made.inputs = random.below(5);
    made.outputs = 1 + random.below(4);
    for _ in 0..random.below(6) {
        made = attribute(random, made);
    }
    made
}
