// y[o] = scale · Σ_s a[o, s] · b[o, s]: sums of products along any dimensions, each tensor read by strides of its own (0
// where it is repeated). Without b (no PAIR), sums of a. What Einsum and the steps of Attention are made of.
//
// Layout  y: dense over OUT dimensions, innermost first; along the innermost one rows are `pitch` elements (its size, or
//         that rounded up to whole units). The SUM dimensions are those that are summed, innermost first.
// Work    one invocation takes one unit of y; sums are made of sums of 64, so that roundings do not add up.

#import common/index
#param units: u32
#param elements: u32    // of y, rows by their pitch
#param pitch: u32
#param outer: u32       // terms of a sum, the innermost of its dimensions left out
#if SCALED
#param scale: f32
#endif
#for i in OUT
#param size{i}: u32
#param a_step{i}: u32
#if PAIR
#param b_step{i}: u32
#endif
#endfor
#for i in SUM
#param terms{i}: u32
#param a_term{i}: u32
#if PAIR
#param b_term{i}: u32
#endif
#endfor
#read a elements
#if PAIR
#read b elements
#endif
#write y

fn total(e: u32) -> a_element {
    var from_a = 0u;
    var from_b = 0u;
    var rest = e;
#for i in OUT
    {
        let across = select(params.size{i}, params.pitch, {i} == 0);
        // Padding repeats a row's last element.
        let c = min(rest % across, params.size{i} - 1u);
        rest = rest / across;
        from_a += c * params.a_step{i};
#if PAIR
        from_b += c * params.b_step{i};
#endif
    }
#endfor
    var all = a_element(0);
    for (var t = 0u; t < params.outer; t++) {
        var at_a = from_a;
        var at_b = from_b;
        var left = t;
#for i in SUM
        if {i} > 0 {
            let c = left % params.terms{i};
            left = left / params.terms{i};
            at_a += c * params.a_term{i};
#if PAIR
            at_b += c * params.b_term{i};
#endif
        }
#endfor
        var begin = 0u;
        while begin < params.terms0 {
            let end = min(begin + 64u, params.terms0);
            var some = a_element(0);
            for (var i = begin; i < end; i++) {
#if PAIR
                some += get_a(at_a + i * params.a_term0) * a_element(get_b(at_b + i * params.b_term0));
#else
                some += get_a(at_a + i * params.a_term0);
#endif
            }
            all += some;
            begin += 64u;
        }
    }
    return all;
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
    var out = a_unit();
    for (var k = 0u; k < 4u; k++) {
        out[k] = total(min(u * 4u + k, params.elements - 1u));
    }
#if SCALED
    out = out * params.scale;
#endif
    store_y(u, y_unit(out));
}
