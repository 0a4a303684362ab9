// Arithmetic on 64-bit integers, which WGSL lacks: an element is a vec2 of its lower and its upper word.
// What overflows wraps around. UNSIGNED: they have no sign.

fn widen(v: i32) -> vec2<u32> {
    return vec2<u32>(bitcast<u32>(v), bitcast<u32>(v >> 31u));
}

fn is_zero64(a: vec2<u32>) -> bool {
    return (a.x | a.y) == 0u;
}

// Whether the highest bit is set: of a signed number, its sign.
fn is_high64(a: vec2<u32>) -> bool {
    return a.y >= 0x80000000u;
}

fn is_negative64(a: vec2<u32>) -> bool {
#if UNSIGNED
    return false;
#else
    return is_high64(a);
#endif
}

fn add64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + u32(low < a.x));
}

fn subtract64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

fn negate64(a: vec2<u32>) -> vec2<u32> {
    return subtract64(vec2<u32>(0u), a);
}

fn multiply64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    // The lower words' product by halves, none of whose sums overflows.
    let al = a.x & 0xffffu;
    let ah = a.x >> 16u;
    let bl = b.x & 0xffffu;
    let bh = b.x >> 16u;
    let low = al * bl;
    let middle = ah * bl + (low >> 16u);
    let other = al * bh + (middle & 0xffffu);
    let high = ah * bh + (middle >> 16u) + (other >> 16u);
    return vec2<u32>((other << 16u) | (low & 0xffffu), high + a.x * b.y + a.y * b.x);
}

fn below64(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn less64(a: vec2<u32>, b: vec2<u32>) -> bool {
#if UNSIGNED
    return below64(a, b);
#else
    // With the sign turned, the order is that of numbers without.
    let turn = vec2<u32>(0u, 0x80000000u);
    return below64(a ^ turn, b ^ turn);
#endif
}

fn smaller64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(a, b, less64(b, a));
}

fn larger64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(a, b, less64(a, b));
}

fn magnitude64(a: vec2<u32>) -> vec2<u32> {
    return select(a, negate64(a), is_negative64(a));
}

fn sign64(a: vec2<u32>) -> vec2<u32> {
    return select(vec2<u32>(u32(!is_zero64(a)), 0u), vec2<u32>(0xffffffffu), is_negative64(a));
}

// By 64 and more nothing is left.
fn shift_left64(a: vec2<u32>, n: u32) -> vec2<u32> {
    if n >= 64u {
        return vec2<u32>(0u);
    }
    if n >= 32u {
        return vec2<u32>(0u, a.x << (n - 32u));
    }
    return vec2<u32>(a.x << n, (a.y << n) | select(0u, a.x >> ((32u - n) & 31u), n > 0u));
}

fn shift_right64(a: vec2<u32>, n: u32) -> vec2<u32> {
    if n >= 64u {
        return vec2<u32>(0u);
    }
    if n >= 32u {
        return vec2<u32>(a.y >> (n - 32u), 0u);
    }
    return vec2<u32>((a.x >> n) | select(0u, a.y << ((32u - n) & 31u), n > 0u), a.y >> n);
}

// How far a shift by the number `n` goes.
fn distance64(n: vec2<u32>) -> u32 {
    return select(64u, n.x, n.y == 0u);
}

// Of numbers without a sign: [quotient, remainder]; by zero, zeros. Long division, bit by bit.
fn divided64(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
    if is_zero64(b) {
        return vec4<u32>(0u);
    }
    if (a.y | b.y) == 0u {
        return vec4<u32>(a.x / b.x, 0u, a.x % b.x, 0u);
    }
    var quotient = a;
    var rest = vec2<u32>(0u);
    for (var i = 0u; i < 64u; i++) {
        let carried = is_high64(rest);
        rest = vec2<u32>((rest.x << 1u) | (quotient.y >> 31u), (rest.y << 1u) | (rest.x >> 31u));
        quotient = vec2<u32>(quotient.x << 1u, (quotient.y << 1u) | (quotient.x >> 31u));
        if carried || !below64(rest, b) {
            rest = subtract64(rest, b);
            quotient.x |= 1u;
        }
    }
    return vec4<u32>(quotient, rest);
}

// Truncated toward zero; by zero it gives 0.
fn divide64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let quotient = divided64(magnitude64(a), magnitude64(b)).xy;
    return select(quotient, negate64(quotient), is_negative64(a) != is_negative64(b));
}

// With the sign of the dividend; by zero it gives 0.
fn remainder64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let rest = divided64(magnitude64(a), magnitude64(b)).zw;
    return select(rest, negate64(rest), is_negative64(a));
}

// With the sign of the divisor; by zero it gives 0.
fn modulo64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let rest = remainder64(a, b);
    let other = !is_zero64(rest) && is_negative64(rest) != is_negative64(b);
    return select(rest, add64(rest, b), other);
}

// An integer to a whole power. To one below zero what is left of its reciprocal, and of 0 the largest number of the type.
fn power64(a: vec2<u32>, exponent: vec2<u32>, largest: vec2<u32>) -> vec2<u32> {
    if is_negative64(exponent) {
        let odd = (exponent.x & 1u) == 1u;
        let one = a.x == 1u && a.y == 0u;
        let minus = (a.x & a.y) == 0xffffffffu && is_negative64(a);
        if is_zero64(a) {
            return largest;
        }
        return select(vec2<u32>(u32(one || minus), 0u), vec2<u32>(0xffffffffu), minus && odd);
    }
    var base = a;
    var rest = exponent;
    var power = vec2<u32>(1u, 0u);
    while !is_zero64(rest) {
        if (rest.x & 1u) == 1u {
            power = multiply64(power, base);
        }
        base = multiply64(base, base);
        rest = shift_right64(rest, 1u);
    }
    return power;
}

// The nearest float, ties to even.
fn float64(a: vec2<u32>) -> f32 {
    let m = magnitude64(a);
    let cut = cut_float64(m);
    let half = vec2<u32>(0u, 0x80u);
    let up = below64(half, cut.yz) || (all(cut.yz == half) && (cut.x & 1u) == 1u);
    return bitcast<f32>((cut.x + u32(up)) | select(0u, 0x80000000u, is_negative64(a)));
}

// A float whose last bit is set where something was cut off, so that it can be rounded once more.
fn odd_float64(a: vec2<u32>) -> f32 {
    let cut = cut_float64(magnitude64(a));
    return bitcast<f32>(cut.x | u32((cut.y | cut.z) != 0u) | select(0u, 0x80000000u, is_negative64(a)));
}

// The bits of a float cut off toward zero, and the 40 bits behind them.
fn cut_float64(m: vec2<u32>) -> vec3<u32> {
    if is_zero64(m) {
        return vec3<u32>(0u);
    }
    let zeros = select(countLeadingZeros(m.y), 32u + countLeadingZeros(m.x), m.y == 0u);
    let top = shift_left64(m, zeros);
    return vec3<u32>(((190u - zeros) << 23u) | ((top.y >> 8u) & 0x7fffffu), top.x, top.y & 0xffu);
}

// A float rounded toward zero: what is beyond the least and the largest number is these, NaN is 0.
fn integer64(v: f32) -> vec2<u32> {
    let bits = bitcast<u32>(v);
    let exponent = i32((bits >> 23u) & 0xffu) - 127;
    let negative = (bits & 0x80000000u) != 0u;
    if (bits & 0x7fffffffu) > 0x7f800000u || exponent < 0 {
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
    let digits = vec2<u32>((bits & 0x7fffffu) | 0x800000u, 0u);
    let left = shift_left64(digits, u32(max(exponent - 23, 0)));
    let whole = select(left, shift_right64(digits, u32(23 - exponent)), exponent < 23);
    return select(whole, negate64(whole), negative);
}
