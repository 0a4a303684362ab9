// y = (x - m) · f with the lane's m and f from norm/statistics.wgsl: the second pass where lanes share units.
//
// Layout  x, y: dense; element i of lane (o, k) lies at (o · length + i) · inner + k.   s: a unit (m, f, 0, 0) for each lane.
// Work    one invocation takes a unit of y, whose elements may belong to four lanes.

#import common/index
#param units: u32
#param elements: u32
#param length: u32
#param inner: u32
#read x
#read s
#write y

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, WORKGROUP);
    if u >= params.units {
        return;
    }
    var centre = vec4<f32>(0.0);
    var factor = vec4<f32>(1.0);
    for (var j = 0u; j < 4u; j++) {
        let e = min(u * 4u + j, params.elements - 1u);
        let lane = (e / (params.length * params.inner)) * params.inner + e % params.inner;
        let statistics = load_s(lane);
        centre[j] = statistics.x;
        factor[j] = statistics.y;
    }
    store_y(u, (load_x(u) - centre) * factor);
}
