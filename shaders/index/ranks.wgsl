// ranks[e] = how many elements of e's lane come before it in order: TopK, first dispatch.
//
// The order is by size (LARGEST: the largest first), and by place among equal ones. NaN is larger than all numbers. Keys
// that can be compared as integers are made of the bits, for WGSL may assume that there is no NaN.
//
// FLOAT     x holds floats
// UNSIGNED  x holds integers without a sign
// Layout  dense; element i of lane (o, k) lies at (o · length + i) · inner + k.
// Work    one invocation takes one unit of ranks and counts through the lanes of its elements.

#import common/index
#param units: u32
#param elements: u32
#param length: u32
#param inner: u32
#read x elements
#write ranks

#if WIDE
alias Key = vec2<u32>;

fn key(e: u32) -> Key {
#if UNSIGNED
    let order = get_x(e);
#else
    let order = get_x(e) ^ vec2<u32>(0u, 0x80000000u);
#endif
#if LARGEST
    return order;
#else
    return ~order;
#endif
}

fn is_before(a: Key, b: Key) -> bool {
    return a.y > b.y || (a.y == b.y && a.x > b.x);
}
#else
alias Key = u32;

fn is_before(a: Key, b: Key) -> bool {
    return a > b;
}

fn key(e: u32) -> Key {
    let bits = bitcast<u32>(get_x(e));
#if FLOAT
    let size = bits & 0x7fffffffu;
    // -0 is 0.
    let sorted = select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u && size != 0u);
    let order = select(sorted, 0xffffffffu, size > 0x7f800000u);
#else
#if UNSIGNED
    let order = bits;
#else
    let order = bits ^ 0x80000000u;
#endif
#endif
#if LARGEST
    return order;
#else
    return ~order;
#endif
}
#endif

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
    var out = vec4<i32>(0);
    for (var k = 0u; k < 4u; k++) {
        let e = min((u << 2u) + k, params.elements - 1u);
        let own = key(e);
        let place = (e / params.inner) % params.length;
        let first = e - place * params.inner;
        var before = 0;
        for (var i = 0u; i < params.length; i++) {
            let other = key(first + i * params.inner);
            before += i32(is_before(other, own) || (!is_before(own, other) && i < place));
        }
        out[k] = before;
    }
    store_ranks(u, out);
}
