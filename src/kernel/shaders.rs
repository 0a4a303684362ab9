//! The shaders' texts, built into the library.

/// Pairs every file below `shaders/` with its text. One line a shader.
macro_rules! shaders {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../shaders/", $path)))),*]
    };
}

/// Every shader: its path below `shaders/` and its text.
pub const SHADERS: &[(&str, &str)] = shaders! {
    "attention/rows.wgsl",
    "common/activation.wgsl",
    "common/half.wgsl",
    "common/index.wgsl",
    "common/lanes.wgsl",
    "common/math.wgsl",
    "common/workgroup.wgsl",
    "conv/depthwise_channels4.wgsl",
    "conv/depthwise_rows.wgsl",
    "conv/direct.wgsl",
    "conv/register.wgsl",
    "conv/subgroup.wgsl",
    "conv/subgroup_pointwise.wgsl",
    "conv/subgroup_rows.wgsl",
    "conv/transpose.wgsl",
    "conv/workgroup.wgsl",
    "convert/blocks.wgsl",
    "convert/gather.wgsl",
    "elementwise/broadcast.wgsl",
    "elementwise/unary.wgsl",
    "matmul/batch.wgsl",
    "matmul/finish.wgsl",
    "matmul/generic.wgsl",
    "matmul/register.wgsl",
    "matmul/subgroup.wgsl",
    "matmul/vector.wgsl",
    "matmul/workgroup.wgsl",
    "norm/apply.wgsl",
    "norm/normalize.wgsl",
    "norm/softmax.wgsl",
    "norm/softmax_apply.wgsl",
    "norm/softmax_statistics.wgsl",
    "norm/statistics.wgsl",
    "pool/channels4.wgsl",
    "pool/direct.wgsl",
    "pool/global.wgsl",
    "pool/global_channels4.wgsl",
    "pool/rows.wgsl",
    "pool/window.wgsl",
    "reduce/arg.wgsl",
    "reduce/general.wgsl",
    "reduce/lanes.wgsl",
    "resize/nearest.wgsl",
    "resize/taps.wgsl",
    "shape/concat.wgsl",
    "shape/gather.wgsl",
    "shape/place.wgsl",
    "shape/remap.wgsl",
    "shape/strided.wgsl",
    "shape/transpose.wgsl",
};

/// The text of a shader.
pub fn text(path: &str) -> Option<&'static str> {
    SHADERS.iter().find(|(p, _)| *p == path).map(|(_, text)| *text)
}
