// y[n, c] = the maximum or the mean of all positions of x[n, c].
//
// Layout  x: planes of `rows` rows, `pitch` elements apart (linear, or rows padded to whole units); y: linear.
// Work    a workgroup computes one unit of y: four planes, one after the other; its invocations share the rows' elements
//         and join what they found in workgroup memory.

#import common/index
#read x elements
#write y
#param units: u32
#param planes: u32
#param rows: u32
#param width: u32
#param pitch: u32

#if MAX
const NEUTRAL = x_element(#paste lowest);
#else
const NEUTRAL = x_element(0);
#endif

var<workgroup> found: array<x_unit, WORKGROUP>;

fn join(a: x_element, b: x_element) -> x_element {
#if MAX
    return max(a, b);
#else
    return a + b;
#endif
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, 0u, 1u);
    let positions = params.rows * params.width;
    var value = x_unit(NEUTRAL);
    // The same for a whole workgroup: none of it reaches the barrier.
    if u >= params.units {
        return;
    }
#for j in 4
    {
        let plane = min(u * 4u + {j}u, params.planes - 1u) * params.rows;
        for (var p = local; p < positions; p += WORKGROUP) {
            let row = p / params.width;
            value[{j}] = join(value[{j}], get_x((plane + row) * params.pitch + p - row * params.width));
        }
    }
#endfor
    found[local] = value;
    workgroupBarrier();
    if local == 0u {
        for (var i = 1u; i < WORKGROUP; i++) {
            let other = found[i];
            value = x_unit(join(value.x, other.x), join(value.y, other.y), join(value.z, other.z), join(value.w, other.w));
        }
#if !MAX
        value /= x_unit(x_element(positions));
#endif
        store_y(u, value);
    }
}
