// y[n, c] = the maximum or the mean of all positions of x[n, c].
//
// Layout  x: planes of `rows` rows of `width`, `pitch` elements apart (linear, or rows padded to whole units); y: linear.
//         CHANNELS4: x and y in groups of four channels, `rows` is 1.
// Work    a workgroup computes one unit of y: four channels; its invocations share the positions and join what they found
//         in workgroup memory.

#import common/index
#import pool/join
#if CHANNELS4
#read x
#else
#read x elements
#endif
#write y
#param units: u32
#param planes: u32
#param rows: u32
#param width: u32
#param pitch: u32

var<workgroup> found: array<x_unit, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, 0u, 1u);
    // The same for a whole workgroup: none of it reaches the barrier.
    if u >= params.units {
        return;
    }
    let positions = params.rows * params.width;
    var value = x_unit(NEUTRAL);
#if CHANNELS4
    for (var p = local; p < positions; p += WORKGROUP) {
        value = join(value, load_x(u * positions + p));
    }
#else
    let size = params.rows * params.pitch;
#for j in 4
    let plane{j} = min(u * 4u + {j}u, params.planes - 1u) * size;
#endfor
    for (var p = local; p < positions; p += WORKGROUP) {
        let row = p / params.width;
        let at = row * params.pitch + p - row * params.width;
        value = join(value, x_unit(get_x(plane0 + at), get_x(plane1 + at), get_x(plane2 + at), get_x(plane3 + at)));
    }
#endif
    found[local] = value;
    workgroupBarrier();
    if local == 0u {
        for (var i = 1u; i < WORKGROUP; i++) {
            value = join(value, found[i]);
        }
#if !MAX
        value /= x_unit(x_element(positions));
#endif
        store_y(u, value);
    }
}
