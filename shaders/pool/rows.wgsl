// y = the maximum or the mean of the x in a window, over one or two axes.
//
// Layout  x, y: rows padded to whole units.
// Work    one invocation computes one unit: four neighbouring outputs of a row. With KERNEL and STRIDE written out, the
//         SPAN pixels that they see in a row of x are read once, in whole units, from the element OFFSET of the first of
//         UNITS; UNITS_BEFORE of them lie before the row. Otherwise each output reads its own.

#import common/index
#import pool/window
#import pool/join
#if KERNEL
#read x
#else
#read x elements
#endif
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
    let in_pitch = (params.input_x + 3u) / 4u;
    let ty = taps_y(oy);
    var value = x_unit(NEUTRAL);
#if KERNEL
    // Columns of x that the four outputs see; those before the row wrap around and so lie beyond it.
    let column = ox * STRIDE - params.before_x;
#for i in SPAN
    let in{i} = column + {i}u < params.input_x;
#endfor
#for j in UNITS
    // Units before or beyond the row are read from within it, and not used.
    let unit{j} = min(max(ox / 4u * STRIDE + {j}u, UNITS_BEFORE) - UNITS_BEFORE, in_pitch - 1u);
#endfor
#endif
    for (var ky = 0u; ky < ty.end - ty.first; ky++) {
        let row = (plane * params.input_y + ty.position + ky * params.dilation_y) * in_pitch;
#if KERNEL
        var units: array<x_unit, UNITS>;
#for j in UNITS
        units[{j}] = load_x(row + unit{j});
#endfor
        var seen: array<x_element, SPAN>;
#for i in SPAN
        seen[{i}] = select(NEUTRAL, units[(OFFSET + {i}) / 4][(OFFSET + {i}) % 4], in{i});
#endfor
#for k in KERNEL
        value = join(value, x_unit(seen[{k}], seen[{k} + STRIDE], seen[{k} + 2 * STRIDE], seen[{k} + 3 * STRIDE]));
#endfor
#else
        for (var j = 0u; j < 4u; j++) {
            let tx = taps_x(min(ox + j, params.output_x - 1u));
            for (var kx = 0u; kx < tx.end - tx.first; kx++) {
                value[j] = join1(value[j], get_x(row * 4u + tx.position + kx * params.dilation_x));
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
