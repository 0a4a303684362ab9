// y[o, d, i] = values[1] where index[o, i] is d, else values[0]: OneHot.
//
// Layout  all dense; y is outer · depth · inner.
// Work    one invocation takes one unit of y. Negative indices count from the back; one that is out of range is nowhere on.

#import common/index
#param units: u32
#param elements: u32    // of y
#param depth: u32
#param inner: u32
#read index elements
#read values elements
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
    var out = values_unit();
    for (var k = 0u; k < 4u; k++) {
        let e = min((u << 2u) + k, params.elements - 1u);
        let own = (e / params.inner) % params.depth;
        let given = i32(get_index(e / (params.inner * params.depth) * params.inner + e % params.inner));
        let at = select(given, given + i32(params.depth), given < 0);
        out[k] = get_values(u32(at == i32(own)));
    }
    store_y(u, out);
}
