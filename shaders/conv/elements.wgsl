// What the convolutions that go element by element share: over up to three axes, with groups, strides and dilations, one
// invocation computes one unit, four neighbouring elements of y, each from scratch.
//
// Layout  x, w, y: linear. The biases follow the weights, or are a buffer of their own (BIAS). Of integers (QUANTIZED) they
//         are in the table `t`, as the zero points are, which are subtracted first.

#read x elements
#if QUANTIZED
#read w elements
#read t elements
#write y
#import quantize/finish
#param x_zero: u32
#param w_zero: u32
#param w_zero_each: u32
#param w_scale_each: u32
#param bias_each: u32

var<private> x_zero: i32;
var<private> w_zero: vec4<i32>;
#else
#read w elements exact
#if BIAS
#read b elements
#endif
#import conv/output
#endif
#param units: u32
#param outputs: u32
#param group_inputs: u32
#param group_outputs: u32
#param channels: u32
#param biases: u32
#param elements: u32
#param input_z: u32
#param output_z: u32
#param kernel_z: u32
#param stride_z: u32
#param dilation_z: u32
#param before_z: u32
#import conv/window

// Of the four elements of a unit: their places on each axis, their output channels, and where the first channel of x that
// they see begins. Beyond the last element the last one is taken again.
struct Places {
    z: vec4<u32>,
    y: vec4<u32>,
    x: vec4<u32>,
    o: vec4<u32>,
    first: vec4<u32>,
}

fn places(unit: u32) -> Places {
    let e = min(vec4<u32>(unit * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.elements - 1u));
    let plane = e / (params.output_x * params.output_y);
    let map = plane / params.output_z;
    let o = map % params.outputs;
    let first = (map / params.outputs * params.channels + o / params.group_outputs * params.group_inputs) * volume();
    return Places(plane % params.output_z, e / params.output_x % params.output_y, e % params.output_x, o, first);
}

// Elements of a channel of x.
fn volume() -> u32 {
    return params.input_z * params.input_y * params.input_x;
}

fn taps() -> u32 {
    return params.kernel_z * params.kernel_y * params.kernel_x;
}

// A tap's place in the kernel: z, y, x.
fn tap_place(tap: u32) -> vec3<u32> {
    let row = tap / params.kernel_x;
    return vec3<u32>(row / params.kernel_y, row % params.kernel_y, tap % params.kernel_x);
}

// Σ of w · x over the channels of x that an output sees, for one tap: x from the place (z, y, x) of the channel that
// begins at `first`, w from `weight` on in steps of `step`. 0 where the place is not inside x.
fn channels_sum(
    first: vec4<u32>,
    z: vec4<u32>,
    y: vec4<u32>,
    x: vec4<u32>,
    inside: vec4<bool>,
    weight: vec4<u32>,
    step: u32,
) -> x_unit {
    let none = vec4<u32>(0u);
    var at = select(none, first + (z * params.input_y + y) * params.input_x + x, inside);
    let channel = select(none, vec4<u32>(volume()), inside);
    var cell = weight;
    var sum = x_unit();
    for (var i = 0u; i < params.group_inputs; i++) {
        let v = x_unit(get_x(at.x), get_x(at.y), get_x(at.z), get_x(at.w));
        let m = w_unit(get_w(cell.x), get_w(cell.y), get_w(cell.z), get_w(cell.w));
#if QUANTIZED
        sum += (v - x_zero) * (m - w_zero);
#else
        sum += v * m;
#endif
        at += channel;
        cell += step;
    }
    return select(x_unit(), sum, inside);
}

#if !QUANTIZED
fn biases(o: vec4<u32>) -> vec4<f32> {
#if BIAS
    return vec4<f32>(get_b(o.x), get_b(o.y), get_b(o.z), get_b(o.w));
#else
    if params.biases == 0u {
        return vec4<f32>(0.0);
    }
    let b = params.biases;
    return vec4<f32>(exact_w(b, o.x), exact_w(b, o.y), exact_w(b, o.z), exact_w(b, o.w));
#endif
}
#endif
