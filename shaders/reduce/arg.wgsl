// y = where along its lane the best element of x lies: the first, or last, that is BETTER (of `v` and `best`).
//
// Layout  x: dense; element i of lane (o, k) lies at (o · length + i) · inner + k.   y: one element a lane, dense.
// Work    one invocation takes one unit of y, lane after lane.

#import common/index
#if WIDE
#import common/wide
#endif
#param units: u32
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
    let u = linear_index(workgroup, workgroups, local, WORKGROUP);
    if u >= params.units {
        return;
    }
    var result = y_unit();
    for (var j = 0u; j < 4u; j++) {
        let lane = min(u * 4u + j, params.lanes - 1u);
        let base = (lane / params.inner) * (params.length * params.inner) + lane % params.inner;
        var best = get_x(base);
        var place = 0u;
        for (var i = 1u; i < params.length; i++) {
            let v = get_x(base + i * params.inner);
            if #paste BETTER {
                best = v;
                place = i;
            }
        }
        result[j] = y_element(place);
    }
    store_y(u, result);
}
