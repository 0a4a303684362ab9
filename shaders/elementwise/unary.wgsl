// y = f(x), element by element, for every function of one tensor: `EXPRESSION` is f in terms of `v`, a unit.
// SCALAR: one element, as it is stored (1), or as a 64-bit integer (2), see common/wide.
//
// Layout  any: x and y lie alike, so that padding meets padding.
// Work    one invocation takes one unit of four elements.

#import common/activation
#if SCALAR
#import common/double
#endif
#import common/index
#if QUANTIZED
#import common/quantize
#endif
#param units: u32
#param kind: u32
#param alpha: f32
#param beta: f32
#read x
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
#if SCALAR
    // What WGSL has no vectors of is computed one by one.
    let x = load_x(u);
    var out: y_unit;
    for (var j = 0u; j < 4u; j++) {
#if SCALAR == 2
        let v = wide_x(x[j]);
#else
        let v = x[j];
#endif
        out[j] = #paste EXPRESSION;
    }
    store_y(u, out);
#else
    let v = load_x(u);
    store_y(u, #paste EXPRESSION);
#endif
}
