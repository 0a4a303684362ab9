// What a convolution writes: y = activate(sum + residual) or activate(sum) + residual (last), a unit at a time. With SPLIT the
// sum of a part of its inputs, as it is. Imported after the buffers that are read.

#import common/activation
#if RESIDUAL
#read residual
#endif
#write y
#if !SPLIT
#param alpha: f32
#param beta: f32
#endif
#if RESIDUAL
#param last: u32
#endif

fn finish(at: u32, sum: vec4<f32>) {
#if SPLIT
    store_y(at, sum);
#else
#if RESIDUAL
    let residual = load_residual(at);
    let last = params.last != 0u;
    let whole = select(sum + residual, sum, last);
    let y = activate(whole, ACTIVATION, params.alpha, params.beta);
    store_y(at, select(y, y + residual, last));
#else
    store_y(at, activate(sum, ACTIVATION, params.alpha, params.beta));
#endif
#endif
}
