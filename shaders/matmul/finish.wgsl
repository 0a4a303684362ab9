// What happens to a product before it is stored: activation(alpha * sum + beta * c).
// Column is counted in units of four. C's rows are `c_pitch` units apart; 0 where there is one row for all.
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
#if BIAS
#param c_pitch: u32
#endif

fn finish(sum: vec4<f32>, row: u32, column: u32) -> vec4<f32> {
    var v = params.alpha * sum;
#if BIAS
    v += params.beta * load_c(row * params.c_pitch + column);
#endif
#if SWITCHED
    return activate(v, params.activation, params.activation_alpha, params.activation_beta);
#else
    return activate(v, ACTIVATION, params.activation_alpha, params.activation_beta);
#endif
}
