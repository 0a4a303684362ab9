// y[o, h, w, i] = Σ_a Σ_b u(h, a) · v(w, b) · x[o, s(h, a), t(w, b), i]: linear and cubic resizing along two axes.
// Indices s, t and weights u, v were computed on the host; a negative index means `fill`.
// INTEGERS: x are quantized numbers, the weights of each sum add up to 1, and y are others,
//           saturate(round((sum − x_zero) · factor) + zero). The bounds are those without the zero point.
//
// Layout  index, weight: first those of the lines (`taps_h` for each), from `first_w` on those of the columns.
//         x, y: `height` · `width` · inner, and `out_height` · `out_width` · inner; x has its rows `pitch` apart, y its
//         rows `out_pitch` (in elements; FORM 2: units).
// Work    one invocation takes one unit of y.
// FORM    0  the unit's elements may lie in several rows
//         1  they are neighbours in a row (inner is 1)
//         2  they are a unit of x, too: inner counts units

#import common/index
#param units: u32
#param elements: u32    // of y (FORM 2: units)
#param height: u32
#param pitch: u32
#param inner: u32
#param out_height: u32
#param out_width: u32
#param out_pitch: u32
#param taps_h: u32
#param taps_w: u32
#param first_w: u32
#param fill: f32
#if INTEGERS
#param x_zero: f32
#param factor: f32
#param zero: f32
#param low: f32
#param high: f32
#endif
#if FORM == 2
#read x
#else
#read x elements
#endif
#read index elements
#read weight elements
#write y

#if FORM == 2
alias Sample = vec4<f32>;
fn fetch(at: u32) -> Sample {
    return vec4<f32>(load_x(at));
}
#else
alias Sample = f32;
fn fetch(at: u32) -> Sample {
    return f32(get_x(at));
}
#endif

// The value at element (unit) i of column w in line `line`, lines counted through all images.
fn sample(line: u32, w: u32, i: u32) -> Sample {
    let h = line % params.out_height;
    let image = line / params.out_height;
    var sum = Sample();
    for (var a = 0u; a < params.taps_h; a++) {
        let s = get_index(h * params.taps_h + a);
        if s < 0 {
            return Sample(params.fill);
        }
        let row = (image * params.height + u32(s)) * params.pitch;
        var across = Sample();
        for (var b = 0u; b < params.taps_w; b++) {
            let e = params.first_w + w * params.taps_w + b;
            let t = get_index(e);
            if t < 0 {
                return Sample(params.fill);
            }
            across += get_weight(e) * fetch(row + u32(t) * params.inner + i);
        }
        sum += get_weight(h * params.taps_h + a) * across;
    }
    return sum;
}

fn result(sum: vec4<f32>) -> y_unit {
#if INTEGERS
    let v = clamp((sum - params.x_zero) * params.factor, vec4<f32>(params.low), vec4<f32>(params.high));
    return y_unit(round(v) + params.zero);
#else
    return y_unit(sum);
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
#if FORM == 2
    let column = u % params.out_pitch;
    store_y(u, result(sample(u / params.out_pitch, column / params.inner, column % params.inner)));
#else
    var out = vec4<f32>();
    for (var k = 0u; k < 4u; k++) {
        // Padding repeats the last element of the whole or of the row.
        let e = min((u << 2u) + k, params.elements - 1u);
        let column = e % params.out_pitch;
        out[k] = sample(e / params.out_pitch, min(column / params.inner, params.out_width - 1u), column % params.inner);
    }
    store_y(u, result(out));
#endif
}
