// y[n, o, z, y, x] = activate(Σ w[o, i, kz, ky, kx] · x[n, g·I + i, z·s − p + kz·d, …] + bias[o] + residual)
//
// The convolution over up to three axes, with groups, strides and dilations, that runs wherever nothing faster does.
//
// Layout  x, w, residual, y: linear. The biases follow the weights, or are a buffer of their own (BIAS).
// Work    one invocation computes one unit: four neighbouring elements of y, each from scratch.

#import common/index
#import common/activation
#read x elements
#read w elements
#if BIAS
#read b elements
#endif
#if RESIDUAL
#read residual
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
    let first = n * params.channels + o / params.group_outputs * params.group_inputs;
    var weight = o * params.group_inputs * params.kernel_z * params.kernel_y * params.kernel_x;
    var sum = 0.0;
    for (var i = 0u; i < params.group_inputs; i++) {
        for (var kz = 0u; kz < params.kernel_z; kz++) {
            let z = oz * params.stride_z + kz * params.dilation_z - params.before_z;
            for (var ky = 0u; ky < params.kernel_y; ky++) {
                let y = oy * params.stride_y + ky * params.dilation_y - params.before_y;
                if z < params.input_z && y < params.input_y {
                    let row = (((first + i) * params.input_z + z) * params.input_y + y) * params.input_x;
                    for (var kx = 0u; kx < params.kernel_x; kx++) {
                        let x = ox * params.stride_x + kx * params.dilation_x - params.before_x;
                        if x < params.input_x {
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
    var v = vec4<f32>(output(e), output(min(e + 1u, last)), output(min(e + 2u, last)), output(min(e + 3u, last)));
#if RESIDUAL
    v += load_residual(u);
#endif
    store_y(u, activate(v, ACTIVATION, params.alpha, params.beta));
}
