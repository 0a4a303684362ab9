// y = the maximum or the mean of the x in a window, over up to three axes.
//
// Layout  x, y: linear.
// Work    one invocation computes one unit: four neighbouring elements of y, each from scratch.

#import common/index
#import pool/window
#import pool/join
#read x elements
#write y

// One output, by its index in y.
fn output(element: u32) -> x_element {
    let plane = element / (params.output_x * params.output_y);
    let tx = taps_x(element % params.output_x);
    let ty = taps_y((element / params.output_x) % params.output_y);
    let tz = taps_z(plane % params.output_z);
    let first = plane / params.output_z * params.input_z;
    var value = NEUTRAL;
    for (var kz = 0u; kz < tz.end - tz.first; kz++) {
        for (var ky = 0u; ky < ty.end - ty.first; ky++) {
            let z = first + tz.position + kz * params.dilation_z;
            let row = (z * params.input_y + ty.position + ky * params.dilation_y) * params.input_x;
            for (var kx = 0u; kx < tx.end - tx.first; kx++) {
                value = join1(value, get_x(row + tx.position + kx * params.dilation_x));
            }
        }
    }
#if !MAX
    value /= x_element(max(tz.counted * ty.counted * tx.counted, 1u));
#endif
    return value;
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
    store_y(u, y_unit(output(e), output(min(e + 1u, last)), output(min(e + 2u, last)), output(min(e + 3u, last))));
}
