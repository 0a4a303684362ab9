// y[o, c, k] = x[o, c, k] / (bias + alpha · Σ x[o, i, k]²)^beta, i from c − before to c + after as far as there are such
//
// Layout  x, y: dense; channel c of (o, k) lies at (o · channels + c) · inner + k.
// Work    one invocation takes one unit of y, each of its elements from scratch.

#import common/index
#import common/math
#param units: u32
#param elements: u32
#param channels: u32
#param inner: u32
#param before: u32
#param after: u32
#param alpha: f32
#param beta: f32
#param bias: f32
#read x elements
#write y

// Σ of the squares around an element.
fn around(e: u32) -> f32 {
    let c = (e / params.inner) % params.channels;
    let first = c - min(c, params.before);
    let last = min(c + params.after, params.channels - 1u);
    let base = e - c * params.inner;
    var sum = 0.0;
    for (var i = first; i <= last; i++) {
        let v = get_x(base + i * params.inner);
        sum += v * v;
    }
    return sum;
}

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
    let last = params.elements - 1u;
    var v = vec4<f32>(0.0);
    var sum = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j++) {
        let e = min(u * 4u + j, last);
        v[j] = get_x(e);
        sum[j] = around(e);
    }
    store_y(u, v / pow4(params.bias + params.alpha * sum, vec4<f32>(params.beta)));
}
