// y = the maximum or the mean of the x in a window, over one or two axes.
//
// Layout  x, y: channels in groups of four.
// Work    one invocation computes one unit: four channels at one position.

#import common/index
#import pool/window
#import pool/join
#read x
#write y

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
    let tx = taps_x(u % params.output_x);
    let ty = taps_y((u / params.output_x) % params.output_y);
    let first = u / (params.output_x * params.output_y) * params.input_y;
    var value = x_unit(NEUTRAL);
    for (var ky = 0u; ky < ty.end - ty.first; ky++) {
        let row = (first + ty.position + ky * params.dilation_y) * params.input_x + tx.position;
        for (var kx = 0u; kx < tx.end - tx.first; kx++) {
            value = join(value, load_x(row + kx * params.dilation_x));
        }
    }
#if !MAX
    value /= x_unit(x_element(max(ty.counted * tx.counted, 1u)));
#endif
    store_y(u, value);
}
