// y = x with updates at the places that indices name along an axis: y[index[c] for c_axis] = updates[c], or reduced with
// what is there (ScatterElements).
//
// Layout  all dense; x and y have the dimensions size_i, innermost first, of which updates cover the first limit_i (all,
//         along the axis). An element of y, its place along the axis apart, meets the updates at Σ c_i · stride_i
//         (0 along the axis), neighbours `step` apart. The axis has `length` elements, `inner` apart.
// Work    one invocation takes one unit of y and looks at each update that could meet its elements, in order: so
//         results do not depend on timing, and of several updates the last one counts. Indices that are out of range
//         meet nothing, as a kernel cannot refuse them.
// REDUCTION  0 the update itself, 1 sum, 2 product, 3 the smaller, 4 the larger

#import common/index
#import index/reduction
#param units: u32
#param elements: u32    // of y
#param length: u32
#param inner: u32
#param count: u32       // updates along the axis
#param step: u32
#for i in RANK
#param size{i}: u32
#param limit{i}: u32
#param stride{i}: u32
#endfor
#read x
#read index elements
#read updates elements
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
    var out = load_x(u);
    for (var k = 0u; k < 4u; k++) {
        let e = min((u << 2u) + k, params.elements - 1u);
        let own = i32((e / params.inner) % params.length);
        var rest = e;
        var first = 0u;
        var inside = true;
#for i in RANK
        inside = inside && rest % params.size{i} < params.limit{i};
        first += (rest % params.size{i}) * params.stride{i};
        rest = rest / params.size{i};
#endfor
        let count = select(0u, params.count, inside);
        for (var j = 0u; j < count; j++) {
            let at = first + j * params.step;
            let i = get_index(at);
            if select(i, i + i32(params.length), i < 0) == own {
                out[k] = reduced(out[k], get_updates(at));
            }
        }
    }
    store_y(u, out);
}
