//! Element types of eight bits and less that Rust has no types for.
//!
//! Formats and conversions: the ONNX standard's `Cast` (operator set 24), after the Open Compute Project's 8-bit
//! floating-point and microscaling specifications.

/// A small floating-point format with a sign: how its bits are divided.
struct Format {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    /// The code of the largest number.
    largest: u8,
    /// What a number beyond the largest becomes where it is not bounded: infinity, or NaN.
    beyond: u8,
    /// The code of NaN.
    nan: u8,
    /// Whether the code that would be a negative zero is NaN.
    one_zero: bool,
}

/// `2^exponent`, for exponents of normal `f64` numbers.
const fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

impl Format {
    fn decode(&self, code: u8) -> f64 {
        let sign_bit = 1u8 << (self.exponent_bits + self.mantissa_bits);
        let sign = if code & sign_bit == 0 { 1.0 } else { -1.0 };
        let magnitude = code & (sign_bit - 1);
        if self.one_zero && code == sign_bit {
            return f64::NAN;
        }
        if magnitude > self.largest {
            return if magnitude == self.beyond && self.beyond != self.nan { sign * f64::INFINITY } else { f64::NAN };
        }
        let exponent = i32::from(magnitude >> self.mantissa_bits);
        let fraction = f64::from(magnitude & ((1 << self.mantissa_bits) - 1));
        let digits = power_of_two(-self.mantissa_bits.cast_signed());
        sign * match exponent {
            0 => fraction * digits * power_of_two(1 - self.bias),
            _ => (1.0 + fraction * digits) * power_of_two(exponent - self.bias),
        }
    }

    /// The nearest number, of two the even one; beyond the largest that itself, or what the format has for it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers are whole and below 256")]
    fn encode(&self, v: f64, bounded: bool) -> u8 {
        let sign_bit = 1u8 << (self.exponent_bits + self.mantissa_bits);
        let sign = if v.is_sign_negative() { sign_bit } else { 0 };
        if v.is_nan() {
            return if self.one_zero { self.nan } else { sign | self.nan };
        }
        let lowest = 1 - self.bias;
        let exponent = ((v.abs().to_bits() >> 52) as i32 - 1023).max(lowest);
        // Of numbers that are far too large the exponent alone would not fit the format.
        let too_large = exponent > 64;
        let step = power_of_two(exponent.min(64) - self.mantissa_bits.cast_signed());
        let whole = (v.abs() / step).round_ties_even();
        let code = if too_large {
            f64::INFINITY
        } else {
            // A mantissa that was rounded up to the next power of two carries into the exponent by itself.
            f64::from((exponent - lowest) << self.mantissa_bits) + whole
        };
        let magnitude = match code {
            code if code <= f64::from(self.largest) => code as u8,
            _ if bounded => self.largest,
            _ if self.one_zero => return self.nan,
            _ => self.beyond,
        };
        if magnitude == 0 && self.one_zero { 0 } else { sign | magnitude }
    }
}

macro_rules! small_floats {
    ($($(#[$doc:meta])* $name:ident, $format:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(transparent)]
        pub struct $name(pub u8);

        impl $name {
            const FORMAT: Format = $format;

            /// The number.
            pub fn to_f64(self) -> f64 {
                Self::FORMAT.decode(self.0)
            }

            /// The nearest number, of two the even one; what is too large, infinity included, becomes the largest.
            pub fn from_f64(v: f64) -> Self {
                Self(Self::FORMAT.encode(v, true))
            }

            /// The nearest number, of two the even one; what is too large becomes infinity where there is one, else NaN.
            pub fn from_f64_unbounded(v: f64) -> Self {
                Self(Self::FORMAT.encode(v, false))
            }
        }
    )*};
}

small_floats! {
    /// An 8-bit floating-point number: bias 7, largest 448, NaN, no infinity.
    F8E4M3FN, Format {
        exponent_bits: 4, mantissa_bits: 3, bias: 7, largest: 0x7e, beyond: 0x7f, nan: 0x7f, one_zero: false,
    };
    /// An 8-bit floating-point number: bias 8, largest 240, NaN, no infinity and no negative zero.
    F8E4M3FNUZ, Format {
        exponent_bits: 4, mantissa_bits: 3, bias: 8, largest: 0x7f, beyond: 0x80, nan: 0x80, one_zero: true,
    };
    /// An 8-bit floating-point number: bias 15, largest 57,344, NaN and infinity.
    F8E5M2, Format {
        exponent_bits: 5, mantissa_bits: 2, bias: 15, largest: 0x7b, beyond: 0x7c, nan: 0x7e, one_zero: false,
    };
    /// An 8-bit floating-point number: bias 16, largest 57,344, NaN, no infinity and no negative zero.
    F8E5M2FNUZ, Format {
        exponent_bits: 5, mantissa_bits: 2, bias: 16, largest: 0x7f, beyond: 0x80, nan: 0x80, one_zero: true,
    };
}

/// A 4-bit floating-point number: bias 1, largest 6, neither NaN nor infinity. Its bits are the low ones of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct F4E2M1(pub u8);

impl F4E2M1 {
    const FORMAT: Format =
        Format { exponent_bits: 2, mantissa_bits: 1, bias: 1, largest: 7, beyond: 7, nan: 8, one_zero: false };

    /// The number.
    pub fn to_f64(self) -> f64 {
        Self::FORMAT.decode(self.0 & 0xf)
    }

    /// The nearest number, of two the even one; what is too large becomes the largest, NaN a negative zero.
    pub fn from_f64(v: f64) -> Self {
        Self(if v.is_nan() { 8 } else { Self::FORMAT.encode(v, true) })
    }
}

/// A power of two, `2^(code − 127)`, or NaN: the scale of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct F8E8M0(pub u8);

/// How a number between two powers of two becomes one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PowerRounding {
    /// The larger one.
    #[default]
    Up,
    /// The smaller one.
    Down,
    /// The nearer one, of two the larger.
    Nearest,
}

impl F8E8M0 {
    /// The number.
    pub fn to_f64(self) -> f64 {
        if self.0 == 0xff { f64::NAN } else { power_of_two(i32::from(self.0) - 127) }
    }

    /// The larger of the powers of two about a number; what is too large or too small becomes the nearest that there is.
    pub fn from_f64(v: f64) -> Self {
        Self::rounded(v, PowerRounding::Up, true)
    }

    /// One of the powers of two about a number's magnitude. What is too large or too small becomes the nearest that there is if
    /// it is to be `bounded`, else NaN.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded before")]
    pub fn rounded(v: f64, rounding: PowerRounding, bounded: bool) -> Self {
        const NAN: F8E8M0 = F8E8M0(0xff);
        let v = v.abs();
        if v.is_nan() {
            return NAN;
        }
        if v < power_of_two(-127) {
            return if bounded { Self(0) } else { NAN };
        }
        let below = (v.to_bits() >> 52) as i32 - 1023;
        let fraction = v.to_bits() & ((1 << 52) - 1);
        let up = match rounding {
            PowerRounding::Up => fraction > 0,
            PowerRounding::Down => false,
            PowerRounding::Nearest => fraction >= 1 << 51,
        };
        match below + i32::from(up) + 127 {
            code if code <= 254 => Self(code as u8),
            _ if bounded => Self(254),
            _ => NAN,
        }
    }
}

/// A 4-bit integer from −8 to 7, in a byte of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct I4(i8);

/// A 4-bit integer from 0 to 15, in a byte of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct U4(u8);

impl I4 {
    /// The integer of the low four bits.
    pub const fn wrapping(v: i8) -> Self {
        Self(v << 4 >> 4)
    }

    /// The integer.
    pub const fn get(self) -> i8 {
        self.0 << 4 >> 4
    }
}

impl U4 {
    /// The integer of the low four bits.
    pub const fn wrapping(v: u8) -> Self {
        Self(v & 0xf)
    }

    /// The integer.
    pub const fn get(self) -> u8 {
        self.0 & 0xf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        for code in 0..=255u8 {
            let same = |v: f64, back: u8| v.is_nan() || back == code;
            assert!(same(F8E4M3FN(code).to_f64(), F8E4M3FN::from_f64_unbounded(F8E4M3FN(code).to_f64()).0));
            assert!(same(F8E4M3FNUZ(code).to_f64(), F8E4M3FNUZ::from_f64(F8E4M3FNUZ(code).to_f64()).0));
            assert!(same(F8E5M2(code).to_f64(), F8E5M2::from_f64_unbounded(F8E5M2(code).to_f64()).0));
            assert!(same(F8E5M2FNUZ(code).to_f64(), F8E5M2FNUZ::from_f64(F8E5M2FNUZ(code).to_f64()).0));
            assert!(same(F8E8M0(code).to_f64(), F8E8M0::from_f64(F8E8M0(code).to_f64()).0));
        }
        for code in 0..16u8 {
            assert_eq!(F4E2M1::from_f64(F4E2M1(code).to_f64()).0, code);
        }
        let values: Vec<f64> = (0..8).map(|code| F4E2M1(code).to_f64()).collect();
        assert_eq!(values, [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
    }

    #[test]
    fn the_largest_and_what_is_beyond() {
        let all = [
            (F8E4M3FN(0x7e).to_f64(), 448.0),
            (F8E4M3FNUZ(0x7f).to_f64(), 240.0),
            (F8E5M2(0x7b).to_f64(), 57_344.0),
            (F8E5M2FNUZ(0x7f).to_f64(), 57_344.0),
            (F8E4M3FN::from_f64(f64::INFINITY).to_f64(), 448.0),
            (F8E4M3FNUZ::from_f64(-1e300).to_f64(), -240.0),
            (F8E5M2::from_f64(1e6).to_f64(), 57_344.0),
            (F8E5M2::from_f64_unbounded(-1e6).to_f64(), f64::NEG_INFINITY),
            (F4E2M1::from_f64(-1e6).to_f64(), -6.0),
            (F8E8M0::from_f64(1.1).to_f64(), 2.0),
            (F8E8M0::rounded(1.4, PowerRounding::Nearest, true).to_f64(), 1.0),
            (F8E8M0::rounded(1.9, PowerRounding::Down, true).to_f64(), 1.0),
        ];
        for (got, expected) in all {
            assert_eq!(got, expected);
        }
        assert!(F8E4M3FN::from_f64_unbounded(500.0).to_f64().is_nan());
        assert!(F8E4M3FNUZ::from_f64_unbounded(f64::INFINITY).to_f64().is_nan());
        assert!(F8E8M0::rounded(0.0, PowerRounding::Nearest, false).to_f64().is_nan());
        assert_eq!(F8E4M3FNUZ::from_f64(-1e-9).0, 0);
        assert_eq!((I4::wrapping(9).get(), U4::wrapping(0xf3).get()), (-7, 3));
    }

    /// Rounding against a search through all numbers of the format.
    #[test]
    fn the_nearest_number_is_taken() {
        let numbers: Vec<(u8, f64)> = (0..=0x7eu8).map(|code| (code, F8E4M3FN(code).to_f64())).collect();
        for i in 0..20_000 {
            let v = f64::from(i) * 448.0 / 20_000.0 / (1.0 + f64::from(i % 7) * 30.0);
            let nearest = numbers.iter().min_by(|a, b| {
                let order = (a.1 - v).abs().total_cmp(&(b.1 - v).abs());
                order.then((a.0 & 1).cmp(&(b.0 & 1)))
            });
            assert_eq!(F8E4M3FN::from_f64(v).0, nearest.unwrap().0, "of {v}");
        }
    }
}
