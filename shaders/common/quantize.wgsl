// The arithmetic of quantized numbers, rounded as the standard says: quotients to the nearest float, then to the nearest
// integer, ties to even.

#import common/half
#import common/math

// a - q · b where q is a / b but for some units in the last place. Both factors are halved by their bits, so that each
// product is exact, whether the device joins it with the sum or not (its fma may be a product and a sum, each rounded).
fn remainder_of4(a: vec4<f32>, q: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let q1 = bitcast<vec4<f32>>(bitcast<vec4<u32>>(q) & vec4<u32>(0xfffff000u));
    let b1 = bitcast<vec4<f32>>(bitcast<vec4<u32>>(b) & vec4<u32>(0xfffff000u));
    let q2 = q - q1;
    let b2 = b - b1;
    return (((a - q1 * b1) - q1 * b2) - q2 * b1) - q2 * b2;
}

// a / b to the nearest f32. A shader's own division may be off by some units in the last place, and what should be a tie
// would then fall to the wrong side: the quotient is mended by its remainder. Beyond ±65536 it need not be exact.
fn quotient4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let q = bound4(a / b, -65536.0, 65536.0);
    return q + remainder_of4(a, q, b) / b;
}

// a · b / c, each step to the nearest f32; not bounded, for finite numbers that are not too small.
fn factor4(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>) -> vec4<f32> {
    let p = a * b;
    let q = p / c;
    return q + remainder_of4(p, q, c) / c;
}

// f32 numbers to the nearest f16.
fn to_half4(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(unpack_half(pack_half(v.xy)), unpack_half(pack_half(v.zw)));
}

// f32 numbers to the nearest bf16: the upper half of their bits, ties to even.
fn to_brain4(v: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(v);
    let odd = (bits >> vec4<u32>(16u)) & vec4<u32>(1u);
    let rounded = (bits + vec4<u32>(0x7fffu) + odd) & vec4<u32>(0xffff0000u);
    return select(bitcast<vec4<f32>>(rounded), v, is_nan4(v) | is_inf4(v));
}

// A quotient as an integer with this zero point, bounded; NaN becomes 0.
fn quantized4(quotient: vec4<f32>, zero: vec4<f32>, low: f32, high: f32) -> vec4<i32> {
    let n = round(quotient) + zero;
    return vec4<i32>(select(bound4(n, low, high), vec4<f32>(0.0), is_nan4(n)));
}
