// y = max(x, 0), element by element. A placeholder for the family's generator.
//
// Layout  any: x and y lie alike.
// Work    one invocation takes one unit of four elements.

#import common/index
#param units: u32
#read x
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
    store_y(u, max(load_x(u), y_unit(0.0)));
}
