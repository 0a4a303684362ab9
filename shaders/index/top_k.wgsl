// values[o, r, k] = the element of rank r in lane (o, k) of x, and places[o, r, k] where it lies in it: TopK, second dispatch.
//
// Layout  all dense; x is outer · length · inner, the results are outer · count · inner.
// Work    one invocation takes one unit of both results and looks for their ranks.

#import common/index
#param units: u32
#param elements: u32    // of a result
#param length: u32
#param count: u32
#param inner: u32
#read x elements
#read ranks elements
#write values
#write places

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
    var best = x_unit();
    var at = vec4<i32>(0);
    for (var k = 0u; k < 4u; k++) {
        let e = min((u << 2u) + k, params.elements - 1u);
        let rank = i32((e / params.inner) % params.count);
        let first = e / (params.inner * params.count) * (params.length * params.inner) + e % params.inner;
        var i = 0u;
        while i + 1u < params.length && get_ranks(first + i * params.inner) != rank {
            i++;
        }
        best[k] = get_x(first + i * params.inner);
        at[k] = i32(i);
    }
    store_values(u, best);
    store_places(u, at);
}
