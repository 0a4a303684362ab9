// y[to + u] = x[start + u] for `units` units: parts of several tensors that lie in one buffer one after another, put together
// or taken apart.
//
// Work    one invocation takes one unit.

#import common/index
#param units: u32
#param start: u32
#param to: u32
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
    store_y(params.to + u, y_unit(load_x(params.start + u)));
}
