// y[n, o, z, y, x] = activate(Σ w[o, i, kz, ky, kx] · x[n, g·I + i, z·s − p + kz·d, …] + bias[o] + residual)
//
// The convolution over up to three axes, with groups, strides and dilations, that runs wherever nothing faster does; and
// that of integers (QUANTIZED), whose sums are in 32 bits and become what quantize/finish says.
//
// Layout  x, w, residual, y: linear; see conv/elements.
// Work    one invocation computes one unit: four neighbouring elements of y, each from scratch, tap by tap.

#import common/index
#import conv/elements

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
    // Where their windows begin; before the input these wrap around and so lie beyond it.
    let left = own.x * params.stride_x - params.before_x;
    let top = own.y * params.stride_y - params.before_y;
    let front = own.z * params.stride_z - params.before_z;
#if QUANTIZED
    x_zero = get_t(params.x_zero);
    w_zero = table4(params.w_zero, own.o * params.w_zero_each);
#endif
    var sum = x_unit();
    for (var tap = 0u; tap < taps(); tap++) {
        let place = tap_place(tap);
        let x = left + place.z * params.dilation_x;
        let y = top + place.y * params.dilation_y;
        let z = front + place.x * params.dilation_z;
        let in_plane = (x < vec4<u32>(params.input_x)) & (y < vec4<u32>(params.input_y));
        let inside = in_plane & (z < vec4<u32>(params.input_z));
        let weight = own.o * params.group_inputs * taps() + tap;
        sum += channels_sum(own.first, z, y, x, inside, weight, taps());
    }
#if QUANTIZED
    store_y(u, finished(sum, vec4<u32>(0u), own.o * params.w_scale_each, own.o * params.bias_each));
#else
    finish(u, sum + biases(own.o));
#endif
}
