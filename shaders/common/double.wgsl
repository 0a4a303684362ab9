// 64-bit floats as pairs of words, lower word first: conversions, no arithmetic.

#import common/wide

fn double_of_float(v: f32) -> vec2<u32> {
    let bits = bitcast<u32>(v);
    let sign = bits & 0x80000000u;
    var exponent = (bits >> 23u) & 0xffu;
    var digits = bits & 0x7fffffu;
    if exponent == 0u && digits == 0u {
        return vec2<u32>(0u, sign);
    }
    if exponent == 0u {
        // Below the smallest normal float, but not below that of 64 bits.
        let shift = countLeadingZeros(digits) - 8u;
        digits = (digits << shift) & 0x7fffffu;
        exponent = 897u - shift;
    } else {
        exponent = select(exponent + 896u, 0x7ffu, exponent == 0xffu);
    }
    return vec2<u32>(digits << 29u, sign | (exponent << 20u) | (digits >> 3u));
}

// The nearest, ties to even.
fn double_of_integer(a: vec2<u32>) -> vec2<u32> {
    let m = magnitude64(a);
    if is_zero64(m) {
        return vec2<u32>(0u);
    }
    let zeros = select(countLeadingZeros(m.y), 32u + countLeadingZeros(m.x), m.y == 0u);
    let top = shift_left64(m, zeros);
    let digits = shift_right64(top, 11u);
    let rest = top.x & 0x7ffu;
    let up = rest > 0x400u || (rest == 0x400u && (digits.x & 1u) == 1u);
    // The highest of the digits adds one to the exponent.
    let bits = add64(add64(digits, vec2<u32>(u32(up), 0u)), vec2<u32>(0u, (1085u - zeros) << 20u));
    return vec2<u32>(bits.x, bits.y | select(0u, 0x80000000u, is_negative64(a)));
}

// The nearest float, ties to even; or (odd) one whose last bit is set where something was cut off, so that it can be
// rounded once more.
fn float_of_double(d: vec2<u32>, odd: bool) -> f32 {
    let sign = d.y & 0x80000000u;
    let exponent = (d.y >> 20u) & 0x7ffu;
    let some = ((d.y & 0xfffffu) | d.x) != 0u;
    if exponent == 0x7ffu {
        return bitcast<f32>(sign | select(0x7f800000u, 0x7fc00000u, some));
    }
    let e = i32(exponent) - 896;
    if e >= 255 {
        return bitcast<f32>(sign | select(0x7f800000u, 0x7f7fffffu, odd));
    }
    let digits = ((d.y & 0xfffffu) << 3u) | (d.x >> 29u) | select(0u, 0x800000u, exponent != 0u);
    var rest = d.x << 3u;
    var bits = (u32(max(e, 0)) << 23u) | (digits & 0x7fffffu);
    if e < -24 {
        bits = 0u;
        rest = u32(some || exponent != 0u);
    } else if e <= 0 {
        let shift = u32(1 - e);
        bits = digits >> shift;
        rest = (digits << (32u - shift)) | u32(rest != 0u);
    }
    if odd {
        return bitcast<f32>(sign | bits | u32(rest != 0u));
    }
    let up = rest > 0x80000000u || (rest == 0x80000000u && (bits & 1u) == 1u);
    return bitcast<f32>(sign | (bits + u32(up)));
}

// Rounded toward zero: what is beyond the least and the largest number is these, NaN is 0.
fn integer_of_double(d: vec2<u32>) -> vec2<u32> {
    let exponent = i32((d.y >> 20u) & 0x7ffu) - 1023;
    let negative = (d.y & 0x80000000u) != 0u;
    let nan = exponent == 1024 && ((d.y & 0xfffffu) | d.x) != 0u;
    if nan || exponent < 0 {
        return vec2<u32>(0u);
    }
#if UNSIGNED
    if negative {
        return vec2<u32>(0u);
    }
    if exponent > 63 {
        return vec2<u32>(0xffffffffu);
    }
#else
    if exponent > 62 {
        return select(vec2<u32>(0xffffffffu, 0x7fffffffu), vec2<u32>(0u, 0x80000000u), negative);
    }
#endif
    let digits = vec2<u32>(d.x, (d.y & 0xfffffu) | 0x100000u);
    let left = shift_left64(digits, u32(max(exponent - 52, 0)));
    let whole = select(left, shift_right64(digits, u32(max(52 - exponent, 0))), exponent < 52);
    return select(whole, negate64(whole), negative);
}

// The upper half of a float, its last bit set where something was cut off: enough to round to 8 bits.
fn upper_half(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    return (bits >> 16u) | u32((bits & 0xffffu) != 0u);
}
