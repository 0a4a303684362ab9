// What happens to a product before it is stored: activation(alpha * sum + beta * c).
// Column is counted in units of four. C's rows are `c_pitch` units apart; 0 where there is one row for all.

#import common/activation
#param alpha: f32
#param beta: f32
#param activation: u32
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
    return activate(v, params.activation, params.activation_alpha, params.activation_beta);
}
