// y[n, o, p] = activate(Σ w[i, o, k] · x[n, g·I + i, q] + bias[o]) over all taps k and places q with q·s + k·d − before = p
//
// The transposed convolution over up to three axes, with groups, strides and dilations.
//
// Layout  x, w, y: linear; see conv/elements.
// Work    one invocation computes one unit: four neighbouring elements of y; each gathers from the inputs that reach it.

#import common/index
#import conv/elements

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
    let own = places(u);
    let left = own.x + params.before_x;
    let top = own.y + params.before_y;
    let front = own.z + params.before_z;
    let channel = own.o / params.group_outputs * params.group_inputs;
    let map = channel * params.group_outputs + own.o % params.group_outputs;
    var sum = vec4<f32>(0.0);
    for (var tap = 0u; tap < taps(); tap++) {
        // Before the first input these wrap around, to places beyond the last one.
        let place = tap_place(tap);
        let tx = left - place.z * params.dilation_x;
        let ty = top - place.y * params.dilation_y;
        let tz = front - place.x * params.dilation_z;
        let x = tx / params.stride_x;
        let y = ty / params.stride_y;
        let z = tz / params.stride_z;
        let inside = reached(tx, x, params.stride_x, params.input_x) & reached(ty, y, params.stride_y, params.input_y)
            & reached(tz, z, params.stride_z, params.input_z);
        sum += channels_sum(own.first, z, y, x, inside, map * taps() + tap, params.group_outputs * taps());
    }
    finish(u, sum + biases(own.o));
}
