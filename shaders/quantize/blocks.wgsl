// y = f(x, scale, zero), element by element, where a run of elements along an axis (a block) shares a scale and a zero
// point: `EXPRESSION` is f in terms of `a` (of x), `b` (scales), `c` (zero points), four elements each.
//
// Layout  all linear. x is outer · along · inner; scale and zero are outer · blocks · inner.
// Work    one invocation takes one unit of y.

#import common/index
#import common/quantize
#param units: u32
#param elements: u32
#param inner: u32
#param along: u32
#param block: u32
#param blocks: u32
#read x
#read scale elements
#if ZERO
#read zero elements
#endif
#write y

// Where element e of x has its scale.
fn place(e: u32) -> u32 {
    let row = e / params.inner;
    let block = row / params.along * params.blocks + row % params.along / params.block;
    return block * params.inner + e % params.inner;
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
    let a = load_x(u);
    var b = scale_unit();
#if ZERO
    var c = zero_unit();
#endif
    for (var k = 0u; k < 4u; k++) {
        // The last unit may reach beyond the tensor.
        let at = place(min((u << 2u) + k, params.elements - 1u));
        b[k] = get_scale(at);
#if ZERO
        c[k] = get_zero(at);
#endif
    }
    store_y(u, #paste EXPRESSION);
}
