// t[begin + i] = x[i mod elements]: numbers on their way into a table of 32-bit integers, floats by their bits (BITS).
//
// Layout  all linear; `begin` counts units.
// Work    one invocation takes one unit of t.

#import common/index
#param units: u32
#param begin: u32
#param elements: u32
#read x elements
#write t

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
    var out = vec4<i32>();
    for (var k = 0u; k < 4u; k++) {
        let v = get_x(((u << 2u) + k) % params.elements);
#if BITS
        out[k] = bitcast<i32>(v);
#else
        out[k] = v;
#endif
    }
    store_t(params.begin + u, out);
}
