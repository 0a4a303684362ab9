// y = t[x]: a function of each 8-bit integer, by a table of all 256.
//
// Layout  x and y alike; t begins with the least number that x may be, `offset` below 0.
// Work    one invocation takes one unit of y.

#import common/index
#read x
#read t
#write y
#param units: u32
#param offset: i32

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, 64u);
    if u >= params.units {
        return;
    }
    let at = vec4<u32>(load_x(u) + params.offset);
    store_y(u, vec4<i32>(get_t(at.x), get_t(at.y), get_t(at.z), get_t(at.w)));
}
