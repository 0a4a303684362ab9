// y_i = exp(x_i - max x) / Σ_j exp(x_j - max x) along lanes, or its logarithm (LOG).
//
// Layout  x, y: lanes of whole units, see common/lanes.
// Work    one invocation takes a group (a row, or four columns), or one workgroup does (COOPERATIVE): it walks the group
//         three times, for the maximum, the sum and the result.

#import common/index
#import common/math
#import common/lanes
#if COOPERATIVE
#import common/workgroup
#endif
#read x
#write y

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
#if COOPERATIVE
    let group = workgroup.x + workgroup.y * workgroups.x;
    let first = local;
    let advance = WORKGROUP;
#else
    let group = linear_index(workgroup, workgroups, local, WORKGROUP);
    let first = 0u;
    let advance = 1u;
#endif
    if group >= params.groups {
        return;
    }
    let base = group_base(group);
    let lowest = vec4<f32>(-3.40282347e+38);
    var top = lowest;
    for (var i = first; i < params.steps; i += u32(advance)) {
        top = max(top, select(lowest, load_x(base + i * params.stride), inside(i)));
    }
#if COOPERATIVE
    top = workgroup_max(top, local);
#endif
    top = lane_max(top);
    var sum = vec4<f32>(0.0);
    for (var i = first; i < params.steps; i += u32(advance)) {
        sum += select(vec4<f32>(0.0), exp4(load_x(base + i * params.stride) - top), inside(i));
    }
#if COOPERATIVE
    sum = workgroup_sum(sum, local);
#endif
    sum = lane_sum(sum);
#if LOG
    let offset = log4(sum);
#else
    let factor = 1.0 / sum;
#endif
    for (var i = first; i < params.steps; i += u32(advance)) {
        let at = base + i * params.stride;
        let v = load_x(at) - top;
#if LOG
        store_y(at, v - offset);
#else
        store_y(at, exp4(v) * factor);
#endif
    }
}
