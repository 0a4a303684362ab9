// owner[index[e]] = the largest e with that index: of the elements that go to one place, the last one owns it.
//
// Layout  index, owner: dense; owner was filled with −1.
// Work    one invocation takes one element. What is out of range goes nowhere, as a kernel cannot refuse it.

#import common/index
#param elements: u32
#param places: u32
#read index elements
#update owner atomic

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let e = linear_index(workgroup, workgroups, local, WORKGROUP);
    if e >= params.elements {
        return;
    }
    let at = get_index(e);
    if at >= 0 && at < i32(params.places) {
        store_largest_owner(u32(at), i32(e));
    }
}
