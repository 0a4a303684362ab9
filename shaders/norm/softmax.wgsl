// y_i = exp(x_i - max x) / Σ_j exp(x_j - max x) along lanes, or its logarithm (LOG); or, where lanes share units (SINGLE),
// only the maximum and the sum, for norm/apply.
//
// Layout  x, y: lanes of whole units, see common/lanes; SINGLE: y is a unit (maximum, sum, 0, 0) for each lane.
// Work    one invocation takes a group (a row, or columns), or one workgroup does (COOPERATIVE): it walks the group three
//         times, for the maximum, the sum and the result.

#import common/turn
#import common/math
#import common/lanes
#import common/workgroup
#if SINGLE
#read x elements
#else
#read x
#endif
#write y

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = own_lane(workgroup, workgroups, local);
    if group >= params.groups {
        return;
    }
    let base = group_base(group);
    let first = first_step(local);
    let lowest = vec4<f32>(-3.40282347e+38);
    var top = lowest;
    for (var i = first; i < params.steps; i += ADVANCE) {
        top = max(top, select(lowest, lane_value(base, i), inside(i)));
    }
    top = lane_max(workgroup_max(top, local));
    var sum = vec4<f32>(0.0);
    for (var i = first; i < params.steps; i += ADVANCE) {
        sum += select(vec4<f32>(0.0), exp4(lane_value(base, i) - top), inside(i));
    }
    sum = lane_sum(workgroup_sum(sum, local));
#if SINGLE
    if first == 0u {
        store_y(group, vec4<f32>(top.x, sum.x, 0.0, 0.0));
    }
#else
#if LOG
    let offset = log4(sum);
#else
    let factor = 1.0 / sum;
#endif
    for (var i = first; i < params.steps; i += ADVANCE) {
        let v = lane_value(base, i) - top;
#if LOG
        store_y(base + i * params.stride, v - offset);
#else
        store_y(base + i * params.stride, exp4(v) * factor);
#endif
    }
#endif
}
