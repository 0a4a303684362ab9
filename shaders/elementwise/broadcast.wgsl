// y = f(a, b) or f(a, b, c), element by element, operands repeated along the dimensions that they lack:
// `EXPRESSION` is f in terms of `a`, `b`, `c`, four elements each.
// SCALAR: one element each, as it is stored (1), or as a 64-bit integer (2), see common/wide.
//
// Layout  y: a dense tensor of the (physical) dims … d1, d0, innermost last. Operand k lies with stride s<k>_<i> along d<i>,
//         0 where it is repeated. Dims that all operands walk alike were joined, so that few are left.
//         FLAT: all operands lie like y.   UNITS: d0 is whole units, along which an operand is dense (step 1) or repeated
//         (step 0).   Otherwise elements are fetched one by one.
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
#if !FLAT
#param elements: u32
#for i in DIVIDED
#param d{i}: u32
#endfor
#for k in OPERANDS
#param s{k}_step: u32
#for i in DIVIDED
#param s{k}_{i}: u32
#endfor
#param s{k}_outer: u32
#endfor
#endif
#for k in OPERANDS
#read x{k}
#endfor
#write y

#if !FLAT
// Where each operand has element e of y.
fn place(e: u32) -> array<u32, OPERANDS> {
    var at: array<u32, OPERANDS>;
    var rest = e;
#for i in DIVIDED
    let i{i} = rest % params.d{i};
    rest = rest / params.d{i};
#for k in OPERANDS
    at[{k}] += i{i} * params.s{k}_{i};
#endfor
#endfor
#for k in OPERANDS
    at[{k}] += rest * params.s{k}_outer;
#endfor
    return at;
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
#for k in OPERANDS
    var v{k}: x{k}_unit;
#endfor
#if FLAT
#for k in OPERANDS
    v{k} = load_x{k}(u);
#endfor
#else
#if UNITS
    let at = place(u << 2u);
#for k in OPERANDS
    if params.s{k}_step == 0u {
        v{k} = splat_x{k}(get_x{k}(at[{k}]));
    } else {
        v{k} = load_x{k}(at[{k}] >> 2u);
    }
#endfor
#else
    for (var j = 0u; j < 4u; j++) {
        // The last unit may reach beyond the tensor.
        let at = place(min((u << 2u) + j, params.elements - 1u));
#for k in OPERANDS
        v{k}[j] = get_x{k}(at[{k}]);
#endfor
    }
#endif
#endif
#if SCALAR
    // What WGSL has no vectors of is computed one by one.
    var out: y_unit;
    for (var j = 0u; j < 4u; j++) {
#if SCALAR == 2
        let a = wide_x0(v0[j]);
        let b = wide_x1(v1[j]);
#else
        let a = v0[j];
        let b = v1[j];
#endif
#if OPERANDS == 3
        let c = v2[j];
#endif
        out[j] = #paste EXPRESSION;
    }
    store_y(u, out);
#else
    let a = v0;
    let b = v1;
#if OPERANDS == 3
    let c = v2;
#endif
    store_y(u, #paste EXPRESSION);
#endif
}
