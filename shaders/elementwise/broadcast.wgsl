// y = f(a, b) or f(a, b, c), element by element, operands repeated along the dimensions that they lack:
// `EXPRESSION` is f in terms of `a`, `b`, `c`, four elements each.
// SCALAR: one element each, as it is stored (1), or as a 64-bit integer (2), see common/wide.
//
// Layout  see elementwise/operands.
// Work    one invocation takes one unit of y.

#import common/math
#if SCALAR
#import common/wide
#endif
#import common/index
#if QUANTIZED
#import common/quantize
#endif
#param units: u32
#import elementwise/operands

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
    var given = operands(u);
#if SCALAR
    // What WGSL has no vectors of is computed one by one.
    var out: y_unit;
    for (var j = 0u; j < 4u; j++) {
#if SCALAR == 2
        let a = wide_x0(given.v0[j]);
        let b = wide_x1(given.v1[j]);
#else
        let a = given.v0[j];
        let b = given.v1[j];
#endif
#if OPERANDS == 3
        let c = given.v2[j];
#endif
        out[j] = #paste EXPRESSION;
    }
    store_y(u, out);
#else
    let a = given.v0;
    let b = given.v1;
#if OPERANDS == 3
    let c = given.v2;
#endif
    store_y(u, #paste EXPRESSION);
#endif
}
