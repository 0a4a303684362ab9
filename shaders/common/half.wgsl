// pack_half(v): two numbers as 16-bit floats in one word, to the nearest, ties to even. unpack_half(w): back again.
//
// WGSL says what pack2x16float makes of a number only where that is finite and at most 65,504: on SwiftShader what is larger,
// infinity and NaN become NaN and spoil the neighbour. So these do not reach it: their 16 bits are made here, from their 32.
// Where a device has no such instruction (HALF_INSTRUCTIONS is 0), the bits of the others are made here, too.

fn pack_half(v: vec2<f32>) -> u32 {
    let bits = bitcast<vec2<u32>>(v);
    let size = bits & vec2<u32>(0x7fffffffu);
    // From 65,520 on (halfway from the largest to the next that there would be) numbers round to infinity.
    let beyond = size >= vec2<u32>(0x477ff000u);
    let large = select(vec2<u32>(0x7c00u), vec2<u32>(0x7e00u), size > vec2<u32>(0x7f800000u));
#if HALF_INSTRUCTIONS
    let odd = select(vec2<u32>(0u), large | ((bits >> vec2<u32>(16u)) & vec2<u32>(0x8000u)), beyond);
    return pack2x16float(select(v, vec2<f32>(0.0), beyond)) | odd.x | (odd.y << 16u);
#else
    // The exponent loses 112, the fraction thirteen bits; below 2^-14 numbers are multiples of 2^-24.
    let kept = select(size, vec2<u32>(0u), beyond);
    let normal = (kept + vec2<u32>(0xfffu) + ((kept >> vec2<u32>(13u)) & vec2<u32>(1u)) - vec2<u32>(0x38000000u)) >> vec2<u32>(13u);
    let small = vec2<u32>(round(bitcast<vec2<f32>>(min(kept, vec2<u32>(0x38800000u))) * 16777216.0));
    let finite = select(normal, small, kept < vec2<u32>(0x38800000u));
    let h = select(finite, large, beyond) | ((bits >> vec2<u32>(16u)) & vec2<u32>(0x8000u));
    return h.x | (h.y << 16u);
#endif
}

fn unpack_half(w: u32) -> vec2<f32> {
#if HALF_INSTRUCTIONS
    return unpack2x16float(w);
#else
    let h = vec2<u32>(w & 0xffffu, w >> 16u);
    let size = h & vec2<u32>(0x7fffu);
    let shifted = size << vec2<u32>(13u);
    let small = bitcast<vec2<u32>>(vec2<f32>(size) * 5.9604644775390625e-8);
    let finite = select(shifted + vec2<u32>(0x38000000u), small, size < vec2<u32>(0x400u));
    let any = select(finite, shifted | vec2<u32>(0x7f800000u), size >= vec2<u32>(0x7c00u));
    return bitcast<vec2<f32>>(any | ((h & vec2<u32>(0x8000u)) << vec2<u32>(16u)));
#endif
}
