// y = value, everywhere.
//
// Layout  y: any.
// Work    one invocation writes one unit.

#import common/index
#param units: u32
#param value: i32
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
    store_y(u, y_unit(y_element(params.value)));
}
