// What the lanes of a subgroup tell each other: broadcasts of lanes that are known when it is compiled, sums, largest numbers.
//
// Layout  x: a number for each invocation. y: three units for each invocation.
// Work    a workgroup is one subgroup of LANES lanes, as in all kernels that use them.

#read x elements
#write y

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let i = workgroup.x * LANES + lane;
    let v = get_x(i);
    let last = subgroupBroadcast(v, LANES - 1u);
    store_y(3u * i, vec4<f32>(subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), last, f32(lane)));
    let unit = subgroupBroadcast(vec4<f32>(v, v + 1.0, v * 2.0, -v), 2u);
    store_y(3u * i + 1u, unit);
    let word = subgroupBroadcast(lane * 7u + workgroup.x, 1u);
    store_y(3u * i + 2u, vec4<f32>(subgroupAdd(v), subgroupMax(v), subgroupMax(-v), f32(word)));
}
