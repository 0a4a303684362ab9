// What a convolution writes: y = activate(sum + residual), a unit at a time. Imported after the buffers that are read.

#import common/activation
#if RESIDUAL
#read residual
#endif
#write y
#param alpha: f32
#param beta: f32

fn finish(at: u32, sum: vec4<f32>) {
#if RESIDUAL
    let whole = sum + load_residual(at);
#else
    let whole = sum;
#endif
    store_y(at, activate(whole, ACTIVATION, params.alpha, params.beta));
}
