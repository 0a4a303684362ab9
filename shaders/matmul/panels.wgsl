// y[p, m, i] = x[(p · inner + i) · inner_step + m · middle_step], in units: an operand of a product brought into panels, in
// which what a workgroup reads one after the other lies one after the other.
//
// Layout  x: rows of whole units. y: panels of `middle` times `inner` units. The last panel repeats the last row (or column
//         of units) of x, of which there are `limit`.
// Work    one invocation moves one unit.

#import common/index
#param units: u32
#param inner: u32
#param middle: u32
#param limit: u32
#param inner_step: u32
#param middle_step: u32
#read x
#write y

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
    let m = u / params.inner % params.middle;
    let i = min(u / (params.inner * params.middle) * params.inner + u % params.inner, params.limit - 1u);
    store_y(u, load_x(i * params.inner_step + m * params.middle_step));
}
