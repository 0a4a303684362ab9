// Pairs of numbers turned by an angle: (a, b) becomes (cos · a - sin · b, sin · a + cos · b). The first `rotated` elements
// of a head are pairs, i and i + half, or (INTERLEAVED) 2i and 2i + 1; the others stay as they are.
//
// Layout  all dense; x and y are [batch, heads, length, size], or [batch, length, heads, size] where `length` is given as 1
//         and `heads` counts what lies between; cos and sin are [batch, length, half].
// Work    one invocation takes one unit of y.

#import common/index
#param units: u32
#param elements: u32
#param size: u32
#param heads: u32
#param length: u32
#param half: u32
#read x elements
#read cosine elements
#read sine elements
#write y

fn element(e: u32) -> f32 {
    let own = get_x(e);
    let i = e % params.size;
    if i >= 2u * params.half {
        return own;
    }
    let row = e / params.size;
    let place = (row / (params.heads * params.length)) * params.length + row % params.length;
#if INTERLEAVED
    let pair = i / 2u;
    let second = i % 2u == 1u;
    let other = get_x(select(e + 1u, e - 1u, second));
#else
    let second = i >= params.half;
    let pair = select(i, i - params.half, second);
    let other = get_x(select(e + params.half, e - params.half, second));
#endif
    let angle = place * params.half + pair;
    let c = get_cosine(angle);
    let s = get_sine(angle);
    return select(c * own - s * other, s * other + c * own, second);
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
    var out = vec4<f32>(0.0);
    for (var k = 0u; k < 4u; k++) {
        out[k] = element(min(u * 4u + k, params.elements - 1u));
    }
    store_y(u, out);
}
