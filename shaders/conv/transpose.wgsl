// y[n, o, p] = activate(Σ w[i, o, k] · x[n, g·I + i, q] + bias[o]) over all taps k and places q with q·s + k·d − before = p
//
// The transposed convolution over up to three axes, with groups, strides and dilations.
//
// Layout  x, w, y: linear. The biases follow the weights, or are a buffer of their own (BIAS).
// Work    one invocation computes one unit: four neighbouring elements of y; each gathers from the inputs that reach it.

#import common/index
#import common/activation
#read x elements
#read w elements
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

// One output, by its index in y. Positions that would lie before the input wrap around and so lie beyond it.
fn output(element: u32) -> f32 {
    let ox = element % params.output_x;
    let oy = (element / params.output_x) % params.output_y;
    let plane = element / (params.output_x * params.output_y);
    let oz = plane % params.output_z;
    let o = (plane / params.output_z) % params.outputs;
    let n = plane / (params.output_z * params.outputs);
    let group = o / params.group_outputs;
    let taps = params.kernel_z * params.kernel_y * params.kernel_x;
    var sum = 0.0;
    for (var i = 0u; i < params.group_inputs; i++) {
        let c = group * params.group_inputs + i;
        let first = (n * params.channels + c) * params.input_z;
        var weight = (c * params.group_outputs + o % params.group_outputs) * taps;
        for (var kz = 0u; kz < params.kernel_z; kz++) {
            let tz = oz + params.before_z - kz * params.dilation_z;
            let z = tz / params.stride_z;
            for (var ky = 0u; ky < params.kernel_y; ky++) {
                let ty = oy + params.before_y - ky * params.dilation_y;
                let y = ty / params.stride_y;
                let whole = z * params.stride_z == tz && y * params.stride_y == ty;
                if whole && fits(tz, z, params.input_z) && fits(ty, y, params.input_y) {
                    let row = ((first + z) * params.input_y + y) * params.input_x;
                    for (var kx = 0u; kx < params.kernel_x; kx++) {
                        let tx = ox + params.before_x - kx * params.dilation_x;
                        let x = tx / params.stride_x;
                        if x * params.stride_x == tx && fits(tx, x, params.input_x) {
                            sum += get_w(weight + kx) * get_x(row + x);
                        }
                    }
                }
                weight += params.kernel_x;
            }
        }
    }
#if BIAS
    sum += get_b(o);
#else
    if params.biases != 0u {
        sum += get_w(params.biases + o);
    }
#endif
    return sum;
}

// Whether a place that was not below 0 (its top bit is clear) lies in the input.
fn fits(t: u32, position: u32, input: u32) -> bool {
    return t < 0x80000000u && position < input;
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
    let last = params.elements - 1u;
    let e = u * 4u;
    let v = vec4<f32>(output(e), output(min(e + 1u, last)), output(min(e + 2u, last)), output(min(e + 3u, last)));
    store_y(u, activate(v, ACTIVATION, params.alpha, params.beta));
}
