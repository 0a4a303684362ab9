// What becomes of the sums of a product of integers (RESULT): 0 they themselves, 1 sum · factor + bias as floats,
// 2 numbers quantized anew, saturate(round((sum + bias) · factor) + y_zero), with factor = alpha · a_scale · b_scale / y_scale.
//
// All but the sums comes from the table `t` of 32-bit integers, floats by their bits, which the importing file reads.
// Where a scale is one for all it is there once, and its index 0.

#import common/quantize
#if RESULT
#param alpha: f32
#param a_scale: u32
#param b_scale: u32
#param bias: u32
#if RESULT == 2
#param y_scale: u32
#param y_zero: u32
#param low: f32
#param high: f32
#endif
#endif

fn table4(begin: u32, at: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(get_t(begin + at.x), get_t(begin + at.y), get_t(begin + at.z), get_t(begin + at.w));
}

// The nearest floats: the conversion itself may round to either side.
fn nearest4(v: vec4<i32>) -> vec4<f32> {
    return fma(vec4<f32>(v >> vec4<u32>(8u)), vec4<f32>(256.0), vec4<f32>(v & vec4<i32>(255)));
}

// `a`, `b`, `c`: the indices of the scales of both operands, and of the biases.
fn finished(sum: vec4<i32>, a: vec4<u32>, b: vec4<u32>, c: vec4<u32>) -> y_unit {
#if RESULT
    let a_scale = params.alpha * bitcast<vec4<f32>>(table4(params.a_scale, a));
    let b_scale = bitcast<vec4<f32>>(table4(params.b_scale, b));
    let bias = table4(params.bias, c);
#if RESULT == 2
    let y_scale = bitcast<vec4<f32>>(vec4<i32>(get_t(params.y_scale)));
    let y_zero = vec4<f32>(f32(get_t(params.y_zero)));
#if FLOAT_BIAS
    let rest = quotient4(bitcast<vec4<f32>>(bias), y_scale);
    return quantized4(nearest4(sum) * factor4(a_scale, b_scale, y_scale) + rest, y_zero, params.low, params.high);
#else
    return quantized4(nearest4(sum + bias) * factor4(a_scale, b_scale, y_scale), y_zero, params.low, params.high);
#endif
#else
#if FLOAT_BIAS
    return nearest4(sum) * (a_scale * b_scale) + bitcast<vec4<f32>>(bias);
#else
    return nearest4(sum + bias) * (a_scale * b_scale);
#endif
#endif
#else
    return sum;
#endif
}
