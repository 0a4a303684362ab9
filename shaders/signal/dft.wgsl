// y[b, f, k, i] = scale · Σ_n w[n] x[b, f · frame_step + n, i] r[k n mod length]: discrete Fourier transforms of frames.
//
// r       the roots of unity e^(∓2πi m / length), real and imaginary part
// COMPLEX the signal's values have an imaginary part
// WINDOW  terms are weighted by w
// REAL    x is the first half of a symmetric spectrum and y is real: terms but the first, and the middle one of an even
//         length, count twice
// Layout  x: dense; value n of frame f of batch b lies at b · batch_step + f · frame_step + n · inner + i.
//         y: dense; complex numbers but for REAL.
// Work    one invocation takes one unit of y: two complex numbers, or four real ones.

#import common/index
#param units: u32
#param elements: u32    // of y
#param bins: u32
#param inner: u32
#param frames: u32
#param batch_step: u32
#param frame_step: u32
#param terms: u32
#param length: u32
#param scale: f32
#read x elements
#read r elements
#if WINDOW
#read w elements
#endif
#write y

fn value(at: u32) -> vec2<f32> {
#if COMPLEX
    return vec2<f32>(get_x(at * 2u), get_x(at * 2u + 1u));
#else
    return vec2<f32>(get_x(at), 0.0);
#endif
}

// Number c of y.
fn number(c: u32) -> vec2<f32> {
    let i = c % params.inner;
    let k = (c / params.inner) % params.bins;
    let frame = c / (params.inner * params.bins);
    var at = (frame / params.frames) * params.batch_step + (frame % params.frames) * params.frame_step + i;
    let step = k % params.length;
    var turn = 0u;
    var sum = vec2<f32>(0.0);
    for (var n = 0u; n < params.terms; n++) {
        var v = value(at);
#if WINDOW
        v *= get_w(n);
#endif
        let root = vec2<f32>(get_r(turn * 2u), get_r(turn * 2u + 1u));
#if REAL
        let once = n == 0u || n * 2u == params.length;
        v *= select(2.0, 1.0, once);
#endif
        sum += vec2<f32>(v.x * root.x - v.y * root.y, v.x * root.y + v.y * root.x);
        at += params.inner;
        turn += step;
        turn -= select(0u, params.length, turn >= params.length);
    }
    return sum * params.scale;
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
#if REAL
    for (var j = 0u; j < 4u; j++) {
        out[j] = number(min((u << 2u) + j, params.elements - 1u)).x;
    }
#else
    let last = params.elements / 2u - 1u;
    out = vec4<f32>(number(min(u * 2u, last)), number(min(u * 2u + 1u, last)));
#endif
    store_y(u, y_unit(out));
}
