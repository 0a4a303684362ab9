// y = f(x), element by element, for every function of one tensor: `EXPRESSION` is f in terms of `v`, a unit
// (one element where WIDE, that is, where some have 64 bits).
//
// Layout  any: x and y lie alike, so that padding meets padding.
// Work    one invocation takes one unit of four elements.

#import common/activation
#if WIDE
#import common/wide
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
#if WIDE
    // What WGSL has no vectors of is computed one by one.
    let x = load_x(u);
    var out: y_unit;
    for (var j = 0u; j < 4u; j++) {
        let v = x[j];
        out[j] = #paste EXPRESSION;
    }
    store_y(u, out);
#else
    let v = load_x(u);
    store_y(u, #paste EXPRESSION);
#endif
}
