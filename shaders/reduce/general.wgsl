// y = f of each set of elements of x that lie along the reduced dims, wherever these are: MAP, JOIN, START and FINISH as
// in reduce/lanes.wgsl.
//
// ANY     which of them it is the parameters say: sums of v (map 0), v² (1) or |v| (2), the root of it with `root` 1; the
//         largest (join 1), the smallest (2), the product (3).
// Layout  x: dense; kept dim i (innermost first) has k<i> places `ks<i>` apart, reduced dim i has r<i> places `rs<i>` apart.
//         y: one element a set, dense.
// Work    one invocation takes one unit of y, element after element.

#import common/index
#import common/math
#if SCALAR
#import common/wide
#endif
#param units: u32
#param outputs: u32
#param count: f32
#if ANY
#param map: u32
#param join: u32
#param start: f32
#param root: u32
#endif
#for i in 3
#param k{i}: u32
#param ks{i}: u32
#endfor
#param ks3: u32
#for i in 3
#param r{i}: u32
#param rs{i}: u32
#endfor
#read x elements
#write y

#if SCALAR
// Numbers are pairs of words, see common/wide.
alias Values = vec2<u32>;
#else
alias Values = vec4<x_element>;
#endif

fn combine(a: Values, b: Values) -> Values {
#if ANY
    let extreme = select(max(a, b), min(a, b), params.join == 2u);
    return select(select(extreme, a * b, params.join == 3u), a + b, params.join == 0u);
#else
    return #paste JOIN;
#endif
}

fn reduced(output: u32) -> Values {
    var rest = output;
    var base = 0u;
#for i in 3
    base += (rest % params.k{i}) * params.ks{i};
    rest = rest / params.k{i};
#endfor
    base += rest * params.ks3;
#if LOG_SUM_EXP
    var top = Values(-3.40282347e+38);
    for (var c = 0u; c < params.r2; c++) {
        for (var b = 0u; b < params.r1; b++) {
            for (var a = 0u; a < params.r0; a++) {
                top = max(top, Values(get_x(base + a * params.rs0 + b * params.rs1 + c * params.rs2)));
            }
        }
    }
#endif
#if ANY
    let nothing = Values(params.start);
#else
    let nothing = Values(#paste START);
#endif
    var all = nothing;
    for (var c = 0u; c < params.r2; c++) {
        for (var b = 0u; b < params.r1; b++) {
            // Long sums are made of sums of 64, so that roundings do not add up.
            for (var begin = 0u; begin < params.r0; begin += 64u) {
                var some = nothing;
                for (var a = begin; a < min(begin + 64u, params.r0); a++) {
#if SCALAR
                    let v = wide_x(get_x(base + a * params.rs0 + b * params.rs1 + c * params.rs2));
#else
                    let v = Values(get_x(base + a * params.rs0 + b * params.rs1 + c * params.rs2));
#endif
#if ANY
                    some = combine(some, select(select(v, v * v, params.map == 1u), abs(v), params.map == 2u));
#else
#if LOG_SUM_EXP
                    some = combine(some, exp4(v - top));
#else
                    some = combine(some, #paste MAP);
#endif
#endif
                }
                all = combine(all, some);
            }
        }
    }
#if ANY
    let mean = all / params.count;
    return select(mean, sqrt4(mean), params.root == 1u);
#else
    return #paste FINISH;
#endif
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
#if SCALAR
    var result = y_unit();
    for (var j = 0u; j < 4u; j++) {
        result[j] = narrow_y(reduced(min(u * 4u + j, params.outputs - 1u)));
    }
#else
    var result = Values();
    for (var j = 0u; j < 4u; j++) {
        result[j] = reduced(min(u * 4u + j, params.outputs - 1u)).x;
    }
#endif
    store_y(u, result);
}
