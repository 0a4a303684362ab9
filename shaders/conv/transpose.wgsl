// y[n, o, p] = activate(Σ w[i, o, k] · x[n, g·I + i, q] + bias[o]) over all taps k and places q with q·s + k·d − before = p
//
// The transposed convolution over up to three axes, with groups, strides and dilations.
//
// Layout  x, w, y: linear. The biases follow the weights, or are a buffer of their own (BIAS).
// Work    one invocation computes one unit: four neighbouring elements of y; each gathers from the inputs that reach it.

#import common/index
#import common/activation
#read x elements
#read w elements exact
#if BIAS
#read b elements
#endif
#write y
#param alpha: f32
#param beta: f32
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
#param input_y: u32
#param output_y: u32
#param kernel_y: u32
#param stride_y: u32
#param dilation_y: u32
#param before_y: u32
#param input_x: u32
#param output_x: u32
#param kernel_x: u32
#param stride_x: u32
#param dilation_x: u32
#param before_x: u32

// Whether an output is reached from an input: t, the output's place before the stride, is none below 0 (its top bit is
// clear), a multiple of the stride, and lies in the input.
fn reached(t: vec4<u32>, position: vec4<u32>, stride: u32, input: u32) -> vec4<bool> {
    return (t < vec4<u32>(0x80000000u)) & (position * stride == t) & (position < vec4<u32>(input));
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, WORKGROUP);
    if u >= params.units {
        return;
    }
    // The four outputs' places; beyond the last element the last one is computed again.
    let e = min(vec4<u32>(u * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.elements - 1u));
    let plane = e / (params.output_x * params.output_y);
    let map = plane / params.output_z;
    let n = map / params.outputs;
    let o = map % params.outputs;
    let left = e % params.output_x + params.before_x;
    let top = e / params.output_x % params.output_y + params.before_y;
    let front = plane % params.output_z + params.before_z;
    let volume = params.input_z * params.input_y * params.input_x;
    let first = (n * params.channels + o / params.group_outputs * params.group_inputs) * volume;
    let taps = params.kernel_z * params.kernel_y * params.kernel_x;
    var sum = vec4<f32>(0.0);
    for (var tap = 0u; tap < taps; tap++) {
        // Before the first input these wrap around, to places beyond the last one.
        let tx = left - tap % params.kernel_x * params.dilation_x;
        let ty = top - tap / params.kernel_x % params.kernel_y * params.dilation_y;
        let tz = front - tap / (params.kernel_x * params.kernel_y) * params.dilation_z;
        let x = tx / params.stride_x;
        let y = ty / params.stride_y;
        let z = tz / params.stride_z;
        let inside = reached(tx, x, params.stride_x, params.input_x) & reached(ty, y, params.stride_y, params.input_y)
            & reached(tz, z, params.stride_z, params.input_z);
        let none = vec4<u32>(0u);
        var at = select(none, first + (z * params.input_y + y) * params.input_x + x, inside);
        let step = select(none, vec4<u32>(volume), inside);
        let channel = o / params.group_outputs * params.group_inputs;
        var weight = (channel * params.group_outputs + o % params.group_outputs) * taps + tap;
        var part = vec4<f32>(0.0);
        for (var i = 0u; i < params.group_inputs; i++) {
            let v = vec4<f32>(get_x(at.x), get_x(at.y), get_x(at.z), get_x(at.w));
            part += v * vec4<f32>(get_w(weight.x), get_w(weight.y), get_w(weight.z), get_w(weight.w));
            at += step;
            weight += params.group_outputs * taps;
        }
        sum += select(vec4<f32>(0.0), part, inside);
    }
#if BIAS
    sum += vec4<f32>(get_b(o.x), get_b(o.y), get_b(o.z), get_b(o.w));
#else
    if params.biases != 0u {
        let b = params.biases;
        sum += vec4<f32>(exact_w(b, o.x), exact_w(b, o.y), exact_w(b, o.z), exact_w(b, o.w));
    }
#endif
    store_y(u, activate(sum, ACTIVATION, params.alpha, params.beta));
}
