// y[c] = x[c with c_axis replaced by index[c]]: GatherElements.
//
// Layout  all dense; index and y have the same dimensions (size_i, innermost first), and element c of x, its place along
//         the axis apart, lies at Σ c_i · stride_i (0 along the axis). Neighbours along the axis are `step` apart.
// Work    one invocation takes one unit of y. Negative indices count from the back; what is out of range then is
//         clamped, as a kernel cannot refuse it.

#import common/index
#param units: u32
#param elements: u32    // of y
#param length: u32      // of x along the axis
#param step: u32
#for i in RANK
#param size{i}: u32
#param stride{i}: u32
#endfor
#read x elements
#read index elements
#write y

// Where element e of y lies in x.
fn place(e: u32) -> u32 {
    var rest = e;
    var at = 0u;
#for i in RANK
    at += (rest % params.size{i}) * params.stride{i};
    rest = rest / params.size{i};
#endfor
    let length = i32(params.length);
    let i = get_index(e);
    return at + u32(clamp(select(i, i + length, i < 0), 0, length - 1)) * params.step;
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
    var out = x_unit();
    for (var k = 0u; k < 4u; k++) {
        out[k] = get_x(place(min((u << 2u) + k, params.elements - 1u)));
    }
    store_y(u, out);
}
