// y[n, c] = the maximum or the mean of all positions of x[n, c].
//
// Layout  x, y: channels in groups of four.
// Work    a workgroup computes one unit of y: four channels; its invocations share the positions and join what they
//         found in workgroup memory.

#import common/index
#read x
#write y
#param units: u32
#param positions: u32

#if MAX
const NEUTRAL = x_unit(#paste lowest);
#else
const NEUTRAL = x_unit(0);
#endif

var<workgroup> found: array<x_unit, WORKGROUP>;

fn join(a: x_unit, b: x_unit) -> x_unit {
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
    // The same for a whole workgroup: none of it reaches the barrier.
    if u >= params.units {
        return;
    }
    var value = NEUTRAL;
    for (var p = local; p < params.positions; p += WORKGROUP) {
        value = join(value, load_x(u * params.positions + p));
    }
    found[local] = value;
    workgroupBarrier();
    if local == 0u {
        for (var i = 1u; i < WORKGROUP; i++) {
            value = join(value, found[i]);
        }
#if !MAX
        value /= x_unit(x_element(params.positions));
#endif
        store_y(u, value);
    }
}
