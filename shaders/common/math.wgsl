// Elementary functions of four numbers at a time, where WGSL promises too little: its exp, tanh, log and pow may lose
// whole digits or overflow to NaN on some drivers, its sin is good only near zero, and it may assume that there is no
// NaN and no infinity. These agree with the reference to a few units in the last place, NaN and infinity included
// wherever the driver keeps them in comparisons and products.
//
// Polynomials are Taylor's, or least-squares fits weighted to an even relative error (below 1e-7 in f32).

fn is_nan4(v: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

fn is_inf4(v: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) == vec4<u32>(0x7f800000u);
}

// A number from its bits. The bits pass through a variable: WGSL refuses constants that are NaN or infinite.
fn from_bits4(bits: u32) -> vec4<f32> {
    var b = bits;
    return bitcast<vec4<f32>>(vec4<u32>(b));
}

fn nan4() -> vec4<f32> {
    return from_bits4(0x7fc00000u);
}

fn infinity4() -> vec4<f32> {
    return from_bits4(0x7f800000u);
}

// min(max(v, low), high) that lets NaN through: by its bits, for compilers may turn any comparison around.
fn bound4(v: vec4<f32>, low: f32, high: f32) -> vec4<f32> {
    return select(min(max(v, vec4<f32>(low)), vec4<f32>(high)), v, is_nan4(v));
}

// 2^n for n in -126 ..= 127.
fn power_of_two4(n: vec4<i32>) -> vec4<f32> {
    return bitcast<vec4<f32>>((n + vec4<i32>(127)) << vec4<u32>(23u));
}

// e^x = 2^k e^r with |r| <= ln 2 / 2. ln 2 is taken in two parts, so that k ln 2 has no rounding error of its own.
fn exp4(x: vec4<f32>) -> vec4<f32> {
    let c = bound4(x, -104.0, 89.0);
    let k = floor(c * 1.44269504 + 0.5);
    let n = vec4<i32>(k);
    // f32(n) is k under another name: else compilers join the two parts into one rounded product (Mesa does).
    let r = fma(vec4<f32>(n), vec4<f32>(2.12194440e-4), fma(k, vec4<f32>(-0.693359375), c));
    var p = fma(r, vec4<f32>(1.98412698e-4), vec4<f32>(1.38888889e-3));
    p = fma(r, p, vec4<f32>(8.33333333e-3));
    p = fma(r, p, vec4<f32>(4.16666667e-2));
    p = fma(r, p, vec4<f32>(0.166666667));
    p = fma(r, p, vec4<f32>(0.5));
    p = fma(r, p, vec4<f32>(1.0));
    p = fma(r, p, vec4<f32>(1.0));
    // Two factors, because 2^k itself may lie outside the normal numbers.
    let half = n >> vec4<u32>(1u);
    return p * power_of_two4(half) * power_of_two4(n - half);
}

// e^x - 1 without cancellation near zero.
fn expm1_4(x: vec4<f32>) -> vec4<f32> {
    var p = fma(x, vec4<f32>(1.98412698e-4), vec4<f32>(1.38888889e-3));
    p = fma(x, p, vec4<f32>(8.33333333e-3));
    p = fma(x, p, vec4<f32>(4.16666667e-2));
    p = fma(x, p, vec4<f32>(0.166666667));
    p = fma(x, p, vec4<f32>(0.5));
    return select(exp4(x) - 1.0, fma(x * x, p, x), abs(x) < vec4<f32>(0.35));
}

// 2 atanh(s) / s = 2 + 2 s²/3 + 2 s⁴/5 + …, for q = s² <= 1/9.
fn atanh_series4(q: vec4<f32>) -> vec4<f32> {
    var p = fma(q, vec4<f32>(0.133333333), vec4<f32>(0.153846154));
    p = fma(q, p, vec4<f32>(0.181818182));
    p = fma(q, p, vec4<f32>(0.222222222));
    p = fma(q, p, vec4<f32>(0.285714286));
    p = fma(q, p, vec4<f32>(0.4));
    p = fma(q, p, vec4<f32>(0.666666667));
    return fma(q, p, vec4<f32>(2.0));
}

// ln x = k ln 2 + 2 atanh((m - 1) / (m + 1)) with x = 2^k m, m in [0.707, 1.414).
fn log4(x: vec4<f32>) -> vec4<f32> {
    // Numbers too small to be normal are scaled up.
    let tiny = x < vec4<f32>(1.17549435e-38);
    let scaled = select(x, x * 16777216.0, tiny);
    // 0x3f3504f3 is sqrt(1/2): subtracting it makes the exponent change there instead of at 1.
    let bits = bitcast<vec4<u32>>(scaled) - vec4<u32>(0x3f3504f3u);
    let k = vec4<f32>(bitcast<vec4<i32>>(bits) >> vec4<u32>(23u)) - select(vec4<f32>(0.0), vec4<f32>(24.0), tiny);
    let m = bitcast<vec4<f32>>((bits & vec4<u32>(0x007fffffu)) + vec4<u32>(0x3f3504f3u));
    let s = (m - 1.0) / (m + 1.0);
    let y = fma(k, vec4<f32>(0.693359375), fma(k, vec4<f32>(-2.12194440e-4), s * atanh_series4(s * s)));
    // Of the rest: ln 0 = -inf, ln inf = inf, NaN stays, and below zero there is nothing.
    let odd = select(select(nan4(), -infinity4(), x == vec4<f32>(0.0)), x, is_nan4(x) | (x > vec4<f32>(0.0)));
    return select(odd, y, (x > vec4<f32>(0.0)) & (x <= vec4<f32>(3.40282347e+38)));
}

// ln(1 + x) for x >= 0, without the rounding error of 1 + x.
fn log1p4(x: vec4<f32>) -> vec4<f32> {
    let s = x / (x + 2.0);
    return select(log4(x + 1.0), s * atanh_series4(s * s), x < vec4<f32>(1.0));
}

fn tanh4(x: vec4<f32>) -> vec4<f32> {
    let q = x * x;
    var p = fma(q, vec4<f32>(-0.00585216284), vec4<f32>(0.0207536239));
    p = fma(q, p, vec4<f32>(-0.0537687019));
    p = fma(q, p, vec4<f32>(0.133316889));
    p = fma(q, p, vec4<f32>(-0.333332837));
    let near = fma(x * q, p, x);
    let far = 1.0 - 2.0 / (exp4(2.0 * bound4(abs(x), 0.0, 10.0)) + 1.0);
    return select(select(far, -far, x < vec4<f32>(0.0)), near, abs(x) < vec4<f32>(0.6));
}

fn sigmoid4(x: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp4(bound4(-x, -104.0, 87.0)));
}

// x sigmoid(x); far below zero sigmoid4 is tiny, not zero.
fn silu4(x: vec4<f32>) -> vec4<f32> {
    return silu_factor4(x) * sigmoid4(x);
}

fn silu_factor4(x: vec4<f32>) -> vec4<f32> {
    return select(x, vec4<f32>(0.0), x < vec4<f32>(-104.0));
}

// ln(1 + e^x)
fn softplus4(x: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), x, !(x < vec4<f32>(0.0))) + log1p4(exp4(-abs(x)));
}

// 1 - erf z for z >= 0
fn erfc_positive4(z: vec4<f32>) -> vec4<f32> {
    let t = 1.0 / fma(z, vec4<f32>(0.5), vec4<f32>(1.0));
    var p = fma(t, vec4<f32>(0.0808912963), vec4<f32>(-0.185040981));
    p = fma(t, p, vec4<f32>(0.0250606835));
    p = fma(t, p, vec4<f32>(0.105342381));
    p = fma(t, p, vec4<f32>(0.158041477));
    p = fma(t, p, vec4<f32>(0.252967328));
    p = fma(t, p, vec4<f32>(0.280990779));
    p = fma(t, p, vec4<f32>(0.282199413));
    p = fma(t, p, vec4<f32>(-4.10336725e-6));
    return select(exp4(-z * z) * p, 1.0 - erf_near4(z), z < vec4<f32>(1.0));
}

// erf z for |z| <= 1
fn erf_near4(z: vec4<f32>) -> vec4<f32> {
    let q = z * z;
    var p = fma(q, vec4<f32>(7.85385564e-5), vec4<f32>(-8.01019196e-4));
    p = fma(q, p, vec4<f32>(5.18832728e-3));
    p = fma(q, p, vec4<f32>(-0.026853811));
    p = fma(q, p, vec4<f32>(0.112835854));
    p = fma(q, p, vec4<f32>(-0.37612626));
    return z * fma(q, p, vec4<f32>(1.12837911));
}

fn erf4(x: vec4<f32>) -> vec4<f32> {
    let far = 1.0 - erfc_positive4(bound4(abs(x), 0.0, 10.0));
    return select(select(far, -far, x < vec4<f32>(0.0)), erf_near4(x), abs(x) < vec4<f32>(1.0));
}

// x Φ(x), with Φ through erfc so that its tail keeps its digits.
fn gelu4(x: vec4<f32>) -> vec4<f32> {
    let tail = 0.5 * erfc_positive4(bound4(abs(x) * 0.707106781, 0.0, 14.0));
    return x * select(1.0 - tail, tail, x < vec4<f32>(0.0));
}

// x / 2 (1 + tanh(sqrt(2/π) (x + 0.044715 x³))) = x sigmoid(2 sqrt(2/π) (x + 0.044715 x³))
fn gelu_tanh4(x: vec4<f32>) -> vec4<f32> {
    let c = bound4(x, -20.0, 20.0);
    return x * sigmoid4(1.59576912 * fma(c * c * c, vec4<f32>(0.044715), c));
}

// x tanh(ln(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2)
fn mish4(x: vec4<f32>) -> vec4<f32> {
    let e = exp4(bound4(x, -104.0, 20.0));
    let n = e * (e + 2.0);
    return x * (n / (n + 2.0));
}

fn sqrt4(x: vec4<f32>) -> vec4<f32> {
    return select(sqrt(x), nan4(), x < vec4<f32>(0.0));
}

fn atan4(x: vec4<f32>) -> vec4<f32> {
    // |x| above tan(3π/8): π/2 - atan(1/|x|); above tan(π/8): π/4 + atan((|x| - 1) / (|x| + 1)).
    let a = abs(x);
    let large = a > vec4<f32>(2.41421356);
    let middle = a > vec4<f32>(0.414213562);
    let t = select(select(a, (a - 1.0) / (a + 1.0), middle), -1.0 / a, large);
    let q = t * t;
    var p = fma(q, vec4<f32>(-0.0603468791), vec4<f32>(0.1057344));
    p = fma(q, p, vec4<f32>(-0.142400771));
    p = fma(q, p, vec4<f32>(0.199982166));
    p = fma(q, p, vec4<f32>(-0.333333075));
    let start = select(select(vec4<f32>(0.0), vec4<f32>(0.785398163), middle), vec4<f32>(1.57079633), large);
    let y = start + fma(t * q, p, t);
    return select(y, -y, x < vec4<f32>(0.0));
}

// 2 atan(x / (1 + sqrt(1 - x²)))
fn asin4(x: vec4<f32>) -> vec4<f32> {
    return 2.0 * atan4(x / (1.0 + sqrt4((1.0 - x) * (1.0 + x))));
}

// 2 asin(sqrt((1 - x) / 2)), mirrored for x < 0 so that the root's argument is at most 1/2.
fn acos4(x: vec4<f32>) -> vec4<f32> {
    let y = 2.0 * asin4(sqrt4(0.5 - 0.5 * abs(x)));
    return select(y, 3.14159265 - y, x < vec4<f32>(0.0));
}

fn asinh4(x: vec4<f32>) -> vec4<f32> {
    let a = abs(x);
    let z = bound4(a, 0.0, 1e9);
    let y = select(log1p4(z + z * z / (1.0 + sqrt(fma(z, z, vec4<f32>(1.0))))), log4(a) + 0.693147181, a > vec4<f32>(1e9));
    return select(y, -y, x < vec4<f32>(0.0));
}

fn acosh4(x: vec4<f32>) -> vec4<f32> {
    let t = bound4(x, 0.0, 1e9) - 1.0;
    let y = select(log1p4(t + sqrt4(t * (t + 2.0))), log4(x) + 0.693147181, x > vec4<f32>(1e9));
    return select(y, nan4(), x < vec4<f32>(1.0));
}

// ln((1 + |x|) / (1 - |x|)) / 2
fn atanh4(x: vec4<f32>) -> vec4<f32> {
    let a = abs(x);
    let inside = a < vec4<f32>(1.0);
    let b = select(vec4<f32>(0.0), a, inside);
    let y = select(select(a, infinity4(), a == vec4<f32>(1.0)), 0.5 * log1p4(2.0 * b / (1.0 - b)), inside);
    return select(select(y, -y, x < vec4<f32>(0.0)), nan4(), a > vec4<f32>(1.0));
}

// (e^|x| - e^-|x|) / 2; the product of roots of e^|x| overflows no sooner than the result.
fn sinh4(x: vec4<f32>) -> vec4<f32> {
    let q = x * x;
    var p = fma(q, vec4<f32>(2.75573192e-6), vec4<f32>(1.98412698e-4));
    p = fma(q, p, vec4<f32>(8.33333333e-3));
    p = fma(q, p, vec4<f32>(0.166666667));
    let e = exp4(0.5 * abs(x));
    let far = (0.5 * e) * e - 0.5 / e / e;
    return select(select(far, -far, x < vec4<f32>(0.0)), fma(x * q, p, x), abs(x) < vec4<f32>(1.0));
}

fn cosh4(x: vec4<f32>) -> vec4<f32> {
    let e = exp4(0.5 * abs(x));
    return (0.5 * e) * e + 0.5 / e / e;
}

// x less the nearest multiple k of π/2, which is taken in four parts: good to about |x| = 10,000.
struct Quadrant {
    k: vec4<i32>,
    r: vec4<f32>,
}

fn quadrant4(x: vec4<f32>) -> Quadrant {
    let k = floor(bound4(x, -1e6, 1e6) * 0.636619772 + 0.5);
    let n = vec4<i32>(k);
    // The same number under another name, as in exp4.
    let m = vec4<f32>(n);
    let r = fma(m, vec4<f32>(-4.83751297e-4), fma(k, vec4<f32>(-1.5703125), x));
    return Quadrant(n, fma(m, vec4<f32>(-2.56334407e-12), fma(k, vec4<f32>(-7.54953362e-8), r)));
}

// sin and cos for |r| <= π/4
fn sin_near4(r: vec4<f32>) -> vec4<f32> {
    let q = r * r;
    var p = fma(q, vec4<f32>(2.75573192e-6), vec4<f32>(-1.98412698e-4));
    p = fma(q, p, vec4<f32>(8.33333333e-3));
    p = fma(q, p, vec4<f32>(-0.166666667));
    return fma(r * q, p, r);
}

fn cos_near4(r: vec4<f32>) -> vec4<f32> {
    let q = r * r;
    var p = fma(q, vec4<f32>(-2.75573192e-7), vec4<f32>(2.48015873e-5));
    p = fma(q, p, vec4<f32>(-1.38888889e-3));
    p = fma(q, p, vec4<f32>(4.16666667e-2));
    p = fma(q, p, vec4<f32>(-0.5));
    return fma(q, p, vec4<f32>(1.0));
}

fn sin4(x: vec4<f32>) -> vec4<f32> {
    let a = quadrant4(x);
    let y = select(sin_near4(a.r), cos_near4(a.r), (a.k & vec4<i32>(1)) == vec4<i32>(1));
    return select(y, -y, (a.k & vec4<i32>(2)) == vec4<i32>(2));
}

fn cos4(x: vec4<f32>) -> vec4<f32> {
    let a = quadrant4(x);
    let y = select(cos_near4(a.r), sin_near4(a.r), (a.k & vec4<i32>(1)) == vec4<i32>(1));
    return select(y, -y, ((a.k + vec4<i32>(1)) & vec4<i32>(2)) == vec4<i32>(2));
}

fn tan4(x: vec4<f32>) -> vec4<f32> {
    let a = quadrant4(x);
    let s = sin_near4(a.r);
    let c = cos_near4(a.r);
    return select(s, -c, (a.k & vec4<i32>(1)) == vec4<i32>(1)) / select(c, s, (a.k & vec4<i32>(1)) == vec4<i32>(1));
}

// a less the multiple of b next to it toward zero: the remainder with the sign of a. Exact where that multiple is a number.
fn remainder4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let r = a - b * trunc(a / b);
    // A quotient rounded up to a whole number leaves a remainder on the other side.
    return select(r, r + select(abs(b), -abs(b), a < vec4<f32>(0.0)), r * a < vec4<f32>(0.0));
}

// The same for integers; 0 where b is 0. Not a % b, which GLSL leaves open where one of them is negative.
fn remainder_integer4(a: vec4<i32>, b: vec4<i32>) -> vec4<i32> {
    return select(a - (a / b) * b, vec4<i32>(0), b == vec4<i32>(0));
}

// The remainder with the sign of b. It is brought there by a sum that cannot overflow.
fn modulo_integer4(a: vec4<i32>, b: vec4<i32>) -> vec4<i32> {
    let r = remainder_integer4(a, b);
    return select(r, r + b, (r != vec4<i32>(0)) & ((r ^ b) < vec4<i32>(0)));
}

// a^b. Whole exponents up to 63 are products of squares, the others e^(b ln |a|), whose relative error grows with
// b ln |a| (88 times a rounding at most); the sign is that of a for odd b, and there is no result for a < 0 otherwise.
fn pow4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let whole = floor(b) == b;
    let odd = whole & (abs(b - 2.0 * floor(0.5 * b)) == vec4<f32>(1.0));
    let size = abs(a);
    let general = exp4(b * log4(size));
    let few = whole & (abs(b) <= vec4<f32>(63.0));
    var n = vec4<u32>(select(vec4<f32>(0.0), abs(b), few));
    var square = size;
    var product = vec4<f32>(1.0);
    for (var i = 0u; i < 6u; i++) {
        product = select(product, product * square, (n & vec4<u32>(1u)) == vec4<u32>(1u));
        n = n >> vec4<u32>(1u);
        square = select(square, square * square, n != vec4<u32>(0u));
    }
    let y = select(general, select(product, 1.0 / product, b < vec4<f32>(0.0)), few);
    let signed = select(y, -y, odd & (a < vec4<f32>(0.0)));
    let one = (b == vec4<f32>(0.0)) | (a == vec4<f32>(1.0));
    return select(select(signed, nan4(), (a < vec4<f32>(0.0)) & !whole), vec4<f32>(1.0), one);
}
