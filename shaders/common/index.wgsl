// The number of an invocation in a one-dimensional dispatch that may have been folded into y
// (a dispatch has at most 65,535 workgroups along a dimension). `size` is the workgroup's number of invocations.
fn linear_index(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32, size: u32) -> u32 {
    return (workgroup.x + workgroup.y * workgroups.x) * size + local;
}
