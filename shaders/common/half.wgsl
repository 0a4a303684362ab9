// pack_half(v): two numbers as 16-bit floats in one word.
//
// WGSL says what pack2x16float makes of a number only where that is finite and at most 65,504: on SwiftShader what is larger,
// infinity and NaN become NaN and spoil the neighbour. So these do not reach it: their 16 bits are made here, from their 32.

fn pack_half(v: vec2<f32>) -> u32 {
    let bits = bitcast<vec2<u32>>(v);
    let size = bits & vec2<u32>(0x7fffffffu);
    // From 65,520 on (halfway from the largest to the next that there would be) numbers round to infinity.
    let beyond = size >= vec2<u32>(0x477ff000u);
    let large = select(vec2<u32>(0x7c00u), vec2<u32>(0x7e00u), size > vec2<u32>(0x7f800000u));
    let odd = select(vec2<u32>(0u), large | ((bits >> vec2<u32>(16u)) & vec2<u32>(0x8000u)), beyond);
    return pack2x16float(select(v, vec2<f32>(0.0), beyond)) | odd.x | (odd.y << 16u);
}
