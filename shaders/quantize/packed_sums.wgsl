// Kernels over words of four bytes: what they read, and what becomes of their sums. RESULT: 1 sum · factor (+ rest) as
// floats, 2 saturate(round(sum · factor (+ rest)) + zero), for each output channel its own numbers.
//
// t: the numbers that sums begin with, then the factors, then (REST) what is added, `room` units each. OPEN: the zero point of
// x comes with the run, and stands behind them as `outside` (packed_ends.wgsl).
// Steps between pixels, quads of channels and samples are parameters, so that rows of a matrix are pixels too.

#read x
#read w
#read t
#write y
#param room: u32
#if RESULT == 2
#param zero: f32
#param low: f32         // without the zero point
#param high: f32
#endif
#param flip: u32        // the bits that make numbers with a sign of those without
#if !OPEN
#param outside: u32     // four times the zero point, as numbers with a sign
#endif
#param x_pixel: u32
#param x_quad: u32
#param x_sample: u32
#param y_pixel: u32
#param y_quad: u32
#param y_sample: u32

// What the quad of channels has in list `i` of the table, as floats.
fn floats_of(i: u32, quad: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(load_t(i * params.room + quad));
}

// What is read beyond the plane.
fn outside_x() -> u32 {
#if OPEN
#if REST
    return bitcast<u32>(load_t(3u * params.room).x);
#else
    return bitcast<u32>(load_t(2u * params.room).x);
#endif
#else
    return params.outside;
#endif
}

// The nearest floats: the conversion itself may round to either side.
fn nearest4(v: vec4<i32>) -> vec4<f32> {
    return fma(vec4<f32>(v >> vec4<u32>(8u)), vec4<f32>(256.0), vec4<f32>(v & vec4<i32>(255)));
}

fn finish(at: u32, sum: vec4<i32>, factor: vec4<f32>, rest: vec4<f32>) {
#if REST
    let v = nearest4(sum) * factor + rest;
#else
    let v = nearest4(sum) * factor;
#endif
#if RESULT == 2
    store_y(at, vec4<i32>(round(clamp(v, vec4<f32>(params.low), vec4<f32>(params.high))) + params.zero));
#else
    store_y(at, v);
#endif
}
