// y[e] = VALUE: elements that depend on nothing but their place (EyeLike, Range, ConstantOfShape).
//
// VALUE   an expression of type y_unit; `e` are the places of the unit's four elements, `params.a` and `params.b` are the
//         bits of what it needs beside.
// Layout  dense.
// Work    one invocation takes one unit of y.

#import common/index
#param units: u32
#param a: u32
#param b: u32
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
    let e = vec4<u32>(u << 2u) + vec4<u32>(0u, 1u, 2u, 3u);
    store_y(u, #paste VALUE);
}
