// Joining what the invocations of a workgroup hold. Every invocation must call these, and gets the result.
// WORKGROUP is a power of two.

var<workgroup> joined: array<vec4<f32>, WORKGROUP>;

fn workgroup_sum(v: vec4<f32>, local: u32) -> vec4<f32> {
    joined[local] = v;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half >>= 1u) {
        if local < half {
            joined[local] += joined[local + half];
        }
        workgroupBarrier();
    }
    let all = joined[0];
    // Nobody may begin the next join before all have read this one.
    workgroupBarrier();
    return all;
}

fn workgroup_max(v: vec4<f32>, local: u32) -> vec4<f32> {
    joined[local] = v;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half >>= 1u) {
        if local < half {
            joined[local] = max(joined[local], joined[local + half]);
        }
        workgroupBarrier();
    }
    let all = joined[0];
    workgroupBarrier();
    return all;
}
