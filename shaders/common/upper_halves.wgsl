// The upper halves of floats, rounded to the nearest, ties to even: bfloat16.

fn upper_halves(v: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(v);
    let upper = bits >> vec4<u32>(16u);
    let rounded = (bits + vec4<u32>(0x7fffu) + (upper & vec4<u32>(1u))) >> vec4<u32>(16u);
    let nan = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return select(rounded, upper | vec4<u32>(0x40u), nan);
}
