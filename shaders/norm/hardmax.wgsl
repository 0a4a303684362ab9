// y = 1 at the place of each lane's maximum, 0 elsewhere.
//
// Layout  y: dense; element i of lane (o, k) lies at (o · length + i) · inner + k.   place: one element a lane, dense.
// Work    one invocation takes one unit of y.

#import common/index
#param units: u32
#param elements: u32
#param length: u32
#param inner: u32
#read place elements
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
    var y = y_unit();
    for (var j = 0u; j < 4u; j++) {
        let e = min(u * 4u + j, params.elements - 1u);
        let row = e / params.inner;
        let lane = row / params.length * params.inner + e % params.inner;
        y[j] = select(y_element(0), y_element(1), u32(get_place(lane)) == row % params.length);
    }
    store_y(u, y);
}
