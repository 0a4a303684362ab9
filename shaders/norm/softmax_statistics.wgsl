// Of each lane of x: its maximum m and its sum Σ_j exp(x_j - m), the first pass of a softmax whose lanes share units.
//
// Layout  x: dense; element i of lane (o, k) lies at (o · length + i) · inner + k.
//         y: a unit (m, sum, 0, 0) for each lane.
// Work    one invocation takes a lane, or one workgroup does (COOPERATIVE).

#import common/index
#import common/math
#if COOPERATIVE
#import common/workgroup
#endif
#param lanes: u32
#param length: u32
#param inner: u32
#read x elements
#write y

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
#if COOPERATIVE
    let lane = workgroup.x + workgroup.y * workgroups.x;
    let first = local;
    let advance = WORKGROUP;
#else
    let lane = linear_index(workgroup, workgroups, local, WORKGROUP);
    let first = 0u;
    let advance = 1u;
#endif
    if lane >= params.lanes {
        return;
    }
    let base = (lane / params.inner) * (params.length * params.inner) + lane % params.inner;
    var top = -3.40282347e+38;
    for (var i = first; i < params.length; i += u32(advance)) {
        top = max(top, get_x(base + i * params.inner));
    }
#if COOPERATIVE
    top = workgroup_max(vec4<f32>(top), local).x;
#endif
    var sum = 0.0;
    // Four at a time, because exp4 computes four. Places beyond the end count for nothing.
    for (var i = first; i < params.length; i += u32(advance) * 4u) {
        let at = vec4<u32>(0u, 1u, 2u, 3u) * u32(advance) + i;
        let place = base + min(at, vec4<u32>(params.length - 1u)) * params.inner;
        let v = vec4<f32>(get_x(place.x), get_x(place.y), get_x(place.z), get_x(place.w));
        let e = select(vec4<f32>(0.0), exp4(v - top), at < vec4<u32>(params.length));
        sum += e.x + e.y + e.z + e.w;
    }
#if COOPERATIVE
    sum = workgroup_sum(vec4<f32>(sum), local).x;
    if local == 0u {
        store_y(lane, vec4<f32>(top, sum, 0.0, 0.0));
    }
#else
    store_y(lane, vec4<f32>(top, sum, 0.0, 0.0));
#endif
}
