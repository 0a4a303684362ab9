// Joining what the invocations have found that work on one lane (COOPERATIVE: a workgroup of them, WORKGROUP, a power of
// two; otherwise there is one, and what it found is all). Every invocation must call these, and gets the result.

#if COOPERATIVE
var<workgroup> joined: array<vec4<f32>, WORKGROUP>;
#endif

fn workgroup_sum(v: vec4<f32>, local: u32) -> vec4<f32> {
#if COOPERATIVE
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
#else
    return v;
#endif
}

fn workgroup_max(v: vec4<f32>, local: u32) -> vec4<f32> {
#if COOPERATIVE
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
#else
    return v;
#endif
}
