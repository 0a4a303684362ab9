// The second pass over lanes that share units, with what the first has found of each of them, m and f:
//   y = (x - m) · f                                      what norm/normalize.wgsl computes
//   y = exp(x - m) / f, or x - m - ln f (LOG)            SOFTMAX, what norm/softmax.wgsl computes
//
// Layout  x, y: dense; element i of lane (o, k) lies at (o · length + i) · inner + k.   s: a unit (m, f, 0, 0) for each lane.
// Work    one invocation takes a unit of y, whose elements may belong to four lanes.

#import common/index
#if SOFTMAX
#import common/math
#endif
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
    var m = vec4<f32>(0.0);
    var f = vec4<f32>(1.0);
    for (var j = 0u; j < 4u; j++) {
        let e = min(u * 4u + j, params.elements - 1u);
        let lane = (e / (params.length * params.inner)) * params.inner + e % params.inner;
        let statistics = load_s(lane);
        m[j] = statistics.x;
        f[j] = statistics.y;
    }
    let v = load_x(u) - m;
#if SOFTMAX
#if LOG
    store_y(u, v - log4(f));
#else
    store_y(u, exp4(v) / f);
#endif
#else
    store_y(u, v * f);
#endif
}
