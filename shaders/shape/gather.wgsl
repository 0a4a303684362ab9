// y[o, j, i] = x[o, index[j], i]: Gather by indices that are known at run time only.
//
// Layout  all dense; x is outer · size · inner, y is outer · count · inner (UNITS: inner counts units).
// Work    one invocation takes one unit of y. Negative indices count from the back; what is out of range then is
//         clamped, as a kernel cannot refuse it.

#import common/index
#param units: u32
#param elements: u32    // of y (UNITS: units)
#param size: u32
#param count: u32
#param inner: u32
#if UNITS
#read x
#else
#read x elements
#endif
#read index elements
#write y

// Where element (unit) e of y lies in x.
fn place(e: u32) -> u32 {
    let i = e % params.inner;
    let rest = e / params.inner;
    let at = get_index(rest % params.count);
    let size = i32(params.size);
    let row = clamp(select(at, at + size, at < 0), 0, size - 1);
    return ((rest / params.count) * params.size + u32(row)) * params.inner + i;
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
#if UNITS
    store_y(u, load_x(place(u)));
#else
    var out = x_unit();
    for (var k = 0u; k < 4u; k++) {
        out[k] = get_x(place(min((u << 2u) + k, params.elements - 1u)));
    }
    store_y(u, out);
#endif
}
