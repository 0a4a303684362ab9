// y = the maximum or the mean of the x in a window, over one or two axes.
//
// Layout  x, y: rows padded to whole units.
// Work    one invocation computes one unit: four neighbouring outputs of a row. With KERNEL and STRIDE written out, each
//         row of x is read once, SPAN elements for the four outputs; otherwise each output reads its own.

#import common/index
#import pool/window
#import pool/join
#read x elements
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
    let pitch = (params.output_x + 3u) / 4u;
    let ox = u % pitch * 4u;
    let oy = (u / pitch) % params.output_y;
    let plane = u / (pitch * params.output_y);
    let row_length = (params.input_x + 3u) / 4u * 4u;
    let ty = taps_y(oy);
    var value = x_unit(NEUTRAL);
#if KERNEL
    // Columns of x that the four outputs see; those before the row wrap around and so lie beyond it.
    let column = ox * STRIDE - params.before_x;
#for i in SPAN
    let c{i} = column + {i}u;
    let in{i} = c{i} < params.input_x;
    let at{i} = select(0u, c{i}, in{i});
#endfor
#endif
    for (var ky = 0u; ky < ty.end - ty.first; ky++) {
        let row = (plane * params.input_y + ty.position + ky * params.dilation_y) * row_length;
#if KERNEL
        var seen: array<x_element, SPAN>;
#for i in SPAN
        seen[{i}] = select(NEUTRAL, get_x(row + at{i}), in{i});
#endfor
#for k in KERNEL
        value = join(value, x_unit(seen[{k}], seen[{k} + STRIDE], seen[{k} + 2 * STRIDE], seen[{k} + 3 * STRIDE]));
#endfor
#else
        for (var j = 0u; j < 4u; j++) {
            let tx = taps_x(min(ox + j, params.output_x - 1u));
            for (var kx = 0u; kx < tx.end - tx.first; kx++) {
                value[j] = join1(value[j], get_x(row + tx.position + kx * params.dilation_x));
            }
        }
#endif
    }
#if !MAX
    for (var j = 0u; j < 4u; j++) {
        let tx = taps_x(min(ox + j, params.output_x - 1u));
        value[j] /= x_element(max(ty.counted * tx.counted, 1u));
    }
#endif
    store_y(u, value);
}
