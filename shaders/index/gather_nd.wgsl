// y[b, j, …] = x[b, index[b, j, 0], index[b, j, 1], …, …]: slices of x by tuples of TAKEN indices (GatherND).
//
// Layout  all dense; x is batches of `batch` elements (WHOLE: units), in which index k moves by step_k; a slice has
//         `slice` of them. Each batch has `each` tuples.
// Work    one invocation takes one unit of y. Negative indices count from the back; what is out of range then is
//         clamped, as a kernel cannot refuse it.

#import common/index
#param units: u32
#param elements: u32    // of y (WHOLE: units)
#param slice: u32
#param each: u32
#param batch: u32
#for k in TAKEN
#param length{k}: u32
#param step{k}: u32
#endfor
#if WHOLE
#read x
#else
#read x elements
#endif
#read index elements
#write y

fn from_front(i: i32, length: u32) -> u32 {
    let size = i32(length);
    return u32(clamp(select(i, i + size, i < 0), 0, size - 1));
}

// Where element (unit) e of y lies in x.
fn place(e: u32) -> u32 {
    let tuple = e / params.slice;
    var at = (tuple / params.each) * params.batch + e % params.slice;
#for k in TAKEN
    at += from_front(get_index(tuple * u32(TAKEN) + {k}u), params.length{k}) * params.step{k};
#endfor
    return at;
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
#if WHOLE
    store_y(u, load_x(place(u)));
#else
    var out = x_unit();
    for (var k = 0u; k < 4u; k++) {
        out[k] = get_x(place(min((u << 2u) + k, params.elements - 1u)));
    }
    store_y(u, out);
#endif
}
