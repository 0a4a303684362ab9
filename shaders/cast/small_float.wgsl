// y = x as another type, where one of them or both is a floating-point type of eight bits or less, stored as its bits.
//
// Format  sign, exponent and mantissa from the highest bit on; a code c above `largest` is NaN, or infinity if it is
//         `beyond` and that is not `nan`. With an exponent E > 0: (1 + m / 2^M) · 2^(E − bias), else m / 2^M · 2^(1 − bias).
//         A format of exponents alone (MANTISSA of 0 bits, POWER) has no sign: 2^(c − 127).
// Round   to the nearest, of two the even one; powers of two as `rounding` says (0 up, 1 down, 2 nearest).
// Layout  any: x and y lie alike, so that padding meets padding.
// Work    one invocation takes one unit of four elements.

#import common/index
#param units: u32
#if FROM_BITS
// x's format.
#param x_exponent: u32
#param x_mantissa: u32
#param x_bias: i32
#param x_largest: u32
#param x_beyond: u32
#param x_nan: u32
#param x_one_zero: u32
#endif
#if TO_BITS
// y's format; `bounded`: what is too large becomes the largest.
#param y_exponent: u32
#param y_mantissa: u32
#param y_bias: i32
#param y_largest: u32
#param y_beyond: u32
#param y_nan: u32
#param y_one_zero: u32
#param bounded: u32
#param rounding: u32
#endif
#read x
#write y

struct Format {
    exponent: u32,
    mantissa: u32,
    bias: i32,
    largest: u32,
    beyond: u32,
    nan: u32,
    one_zero: bool,
}

// The bits of the f32 that a code stands for.
fn decoded(code: u32, f: Format) -> u32 {
    if f.mantissa == 0u {
        // A power of two; the least is below the smallest normal number.
        return select(select(code << 23u, 0x00400000u, code == 0u), 0x7fc00000u, code == 255u);
    }
    let sign_bit = 1u << (f.exponent + f.mantissa);
    let sign = select(0u, 0x80000000u, (code & sign_bit) != 0u);
    let magnitude = code & (sign_bit - 1u);
    if f.one_zero && code == sign_bit {
        return 0x7fc00000u;
    }
    if magnitude > f.largest {
        return sign | select(0x7fc00000u, 0x7f800000u, magnitude == f.beyond && f.beyond != f.nan);
    }
    let exponent = magnitude >> f.mantissa;
    let fraction = magnitude & ((1u << f.mantissa) - 1u);
    if exponent > 0u {
        return sign | (u32(i32(exponent) - f.bias + 127) << 23u) | (fraction << (23u - f.mantissa));
    }
    if fraction == 0u {
        return sign;
    }
    // Below the format's normal numbers: the leading bit becomes the one that f32 leaves out.
    let top = firstLeadingBit(fraction);
    let power = i32(top) + 1 - f.bias - i32(f.mantissa);
    return sign | (u32(power + 127) << 23u) | ((fraction << (23u - top)) & 0x7fffffu);
}

// The code of the power of two nearest to a number, by its bits.
fn encoded_power(bits: u32, bounded: bool, rounding: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return 255u;
    }
    if magnitude < 0x00400000u {
        return select(255u, 0u, bounded);
    }
    let exponent = magnitude >> 23u;
    // Of numbers below the smallest normal one the bit that says 2^-127 is no fraction.
    let half = select(0x400000u, 0x200000u, exponent == 0u);
    let fraction = magnitude & (half * 2u - 1u);
    let up = (rounding == 0u && fraction > 0u) || (rounding == 2u && fraction >= half);
    let code = exponent + u32(up);
    return select(code, select(255u, 254u, bounded), code > 254u);
}

// The code of the number nearest to that of these bits.
fn encoded(bits: u32, f: Format, bounded: bool, rounding: u32) -> u32 {
    if f.mantissa == 0u {
        return encoded_power(bits, bounded, rounding);
    }
    let sign = (bits >> 31u) << (f.exponent + f.mantissa);
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return select(sign | f.nan, f.nan, f.one_zero);
    }
    let lowest = 1 - f.bias;
    let power = i32(magnitude >> 23u) - 127;
    let exponent = max(power, lowest);
    // Numbers that f32 itself has no leading bit for are far below all of these formats.
    let digits = select((magnitude & 0x7fffffu) | 0x800000u, 0u, power == -127);
    let shift = min(u32(exponent - power) + 23u - f.mantissa, 26u);
    let even = (digits >> shift) & 1u;
    let whole = (digits + (1u << (shift - 1u)) - 1u + even) >> shift;
    // A mantissa that was rounded up to the next power of two carries into the exponent by itself.
    let code = (u32(exponent - lowest) << f.mantissa) + whole;
    if code > f.largest {
        if bounded {
            return sign | f.largest;
        }
        return select(sign | f.beyond, f.nan, f.one_zero);
    }
    return select(sign | code, 0u, code == 0u && f.one_zero);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, WORKGROUP);
    if u >= params.units {
        return;
    }
    let x = load_x(u);
    var bits: vec4<u32>;
#if FROM_BITS
    let x_format = Format(
        params.x_exponent, params.x_mantissa, params.x_bias, params.x_largest, params.x_beyond, params.x_nan,
        params.x_one_zero != 0u,
    );
    for (var j = 0u; j < 4u; j++) {
        bits[j] = decoded(u32(x[j]) & 0xffu, x_format);
    }
#else
    bits = bitcast<vec4<u32>>(vec4<f32>(x));
#endif
#if TO_BITS
    let y_format = Format(
        params.y_exponent, params.y_mantissa, params.y_bias, params.y_largest, params.y_beyond, params.y_nan,
        params.y_one_zero != 0u,
    );
    var codes: vec4<i32>;
    for (var j = 0u; j < 4u; j++) {
        codes[j] = i32(encoded(bits[j], y_format, params.bounded != 0u, params.rounding));
    }
    store_y(u, codes);
#else
    store_y(u, bitcast<vec4<f32>>(bits));
#endif
}
