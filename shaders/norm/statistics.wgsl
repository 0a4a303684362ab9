// Of each lane of x: what is taken from its elements and by what they are multiplied, m and f of norm/normalize.wgsl
// (MODE as there): the first pass where lanes share units.
//
// Layout  x: dense; element i of lane (o, k) lies at (o · length + i) · inner + k.   y: a unit (m, f, 0, 0) for each lane.
// Work    one invocation takes a lane, or one workgroup does (COOPERATIVE).

#import common/index
#if COOPERATIVE
#import common/workgroup
#endif
#param lanes: u32
#param length: u32
#param inner: u32
#param epsilon: f32
#read x elements
#write y

fn summed(base: u32, first: u32, advance: u32, centre: f32, spread: bool) -> f32 {
    var all = 0.0;
    var begin = first;
    while begin < params.length {
        let end = min(begin + 64u * advance, params.length);
        var some = 0.0;
        for (var i = begin; i < end; i += advance) {
            let v = get_x(base + i * params.inner) - centre;
#if MODE == 2
            some += abs(v);
#else
            some += select(v, v * v, spread);
#endif
        }
        all += some;
        begin += 64u * advance;
    }
    return all;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
#if COOPERATIVE
    let lane = workgroup.x + workgroup.y * workgroups.x;
    let first = local;
    let advance = u32(WORKGROUP);
#else
    let lane = linear_index(workgroup, workgroups, local, WORKGROUP);
    let first = 0u;
    let advance = 1u;
#endif
    if lane >= params.lanes {
        return;
    }
    let base = (lane / params.inner) * (params.length * params.inner) + lane % params.inner;
    let length = f32(params.length);
    var centre = 0.0;
#if MODE == 0
    centre = summed(base, first, advance, 0.0, false);
#if COOPERATIVE
    centre = workgroup_sum(vec4<f32>(centre), local).x;
#endif
    centre = centre / length;
#endif
    var sum = summed(base, first, advance, centre, true);
#if COOPERATIVE
    sum = workgroup_sum(vec4<f32>(sum), local).x;
#endif
#if MODE == 2
    let factor = select(1.0 / sum, 0.0, sum == 0.0);
#else
#if MODE == 3
    let factor = select(1.0 / sqrt(sum), 0.0, sum == 0.0);
#else
    let factor = 1.0 / sqrt(sum / length + params.epsilon);
#endif
#endif
#if COOPERATIVE
    if local == 0u {
        store_y(lane, vec4<f32>(centre, factor, 0.0, 0.0));
    }
#else
    store_y(lane, vec4<f32>(centre, factor, 0.0, 0.0));
#endif
}
