// What happens to a product before it is stored: activation(alpha * sum + beta * c + r).
// Column is counted in units of four. BIAS 1: c's rows are `c_pitch` units apart; 0 where there is one row for all. BIAS 2: c
// is one row, a list of 32-bit floats behind b that begins at its unit `c_start`. BITS: b holds words. RESIDUAL: r lies as y does.
// With SWITCHED the activation is a parameter, else part of the pipeline: a software adapter runs every branch of a switch,
// which is little for a few rows and much for many.

#import common/activation
#param alpha: f32
#param beta: f32
#if SWITCHED
#param activation: u32
#endif
#param activation_alpha: f32
#param activation_beta: f32
#if BIAS == 1
#param c_pitch: u32
#endif
#if BIAS == 2
#param c_start: u32
#endif

// The result at unit `at` of y.
fn finish(sum: vec4<f32>, row: u32, column: u32, at: u32) -> vec4<f32> {
    var v = params.alpha * sum;
#if BIAS == 1
    v += params.beta * load_c(row * params.c_pitch + column);
#endif
#if BIAS == 2
#if BITS
    v += params.beta * bitcast<vec4<f32>>(load_b(params.c_start + column));
#else
    v += params.beta * exact4_b(params.c_start, column);
#endif
#endif
#if RESIDUAL
    v += load_r(at);
#endif
#if SWITCHED
    return activate(v, params.activation, params.activation_alpha, params.activation_beta);
#else
    return activate(v, ACTIVATION, params.activation_alpha, params.activation_beta);
#endif
}
