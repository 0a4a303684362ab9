// Which lane an invocation works on, and which of its steps: an invocation takes a lane alone, or (COOPERATIVE) a whole
// workgroup takes one, in steps of the workgroup, so that its lane is the same for all of it.

#import common/index

#if COOPERATIVE
const ADVANCE = u32(WORKGROUP);
#else
const ADVANCE = 1u;
#endif

fn own_lane(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
#if COOPERATIVE
    return linear_index(workgroup, workgroups, 0u, 1u);
#else
    return linear_index(workgroup, workgroups, local, WORKGROUP);
#endif
}

// The first of an invocation's steps; the others follow ADVANCE apart.
fn first_step(local: u32) -> u32 {
#if COOPERATIVE
    return local;
#else
    return 0u;
#endif
}
