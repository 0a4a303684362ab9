// y[…, offset …] = x: one part of a concatenation is copied into its place, unit by unit.
//
// Layout  any in which the part's rows are whole units: x is rows of `row` units, y has them `pitch` units apart.
// Work    one invocation takes one unit of x.

#import common/index
#param units: u32
#param row: u32
#param pitch: u32
#param offset: u32
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
    store_y(params.offset + (u / params.row) * params.pitch + u % params.row, load_x(u));
}
