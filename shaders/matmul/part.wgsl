// The units of k that a workgroup adds up: from `x` to before `y`. With SPLIT workgroups along z take `part` of them each, a
// multiple of four, and their sums are added by matmul/join.

#if SPLIT
#param part: u32
#endif

fn part_of_k(z: u32) -> vec2<u32> {
    let k4 = (params.k + 3u) / 4u;
#if SPLIT
    return vec2<u32>(z * params.part, min((z + 1u) * params.part, k4));
#else
    return vec2<u32>(0u, k4);
#endif
}
