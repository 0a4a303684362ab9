//! Element-wise functions that other operators can apply to their results before they store them.

/// An element-wise function with up to two parameters. Kernels take it as a parameter, not as a variant of the shader
/// (`shaders/common/activation.wgsl` numbers them alike), so that layers with different ones share a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Activation {
    /// x
    #[default]
    Identity,
    /// max(x, 0)
    Relu,
    /// min(max(x, low), high)
    Clip(f32, f32),
    /// x where x ≥ 0, else `alpha`·x
    LeakyRelu(f32),
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// tanh x
    Tanh,
    /// x · sigmoid(x), also called swish
    Silu,
    /// max(0, min(1, `alpha`·x + `beta`))
    HardSigmoid(f32, f32),
    /// x · max(0, min(1, x/6 + 1/2))
    HardSwish,
    /// x · Φ(x), with Φ the distribution of the standard normal. Products of matrices alone take it.
    Gelu,
    /// Gelu's approximation, x · sigmoid(2√(2/π) · (x + 0.044715 x³)). Products of matrices alone take it.
    GeluTanh,
}

impl Activation {
    /// The function's value. NaN stays NaN.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Self::Clip(low, high) => {
                let x = if x < low { low } else { x };
                if x > high { high } else { x }
            }
            Self::LeakyRelu(alpha) => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::HardSigmoid(alpha, beta) => {
                let y = alpha * x + beta;
                if y.is_nan() { y } else { y.clamp(0.0, 1.0) }
            }
            Self::HardSwish => {
                let y = x / 6.0 + 0.5;
                if y.is_nan() { y } else { x * y.clamp(0.0, 1.0) }
            }
            #[expect(clippy::cast_possible_truncation, reason = "the result is an f32")]
            Self::Gelu => {
                let x = f64::from(x);
                (0.5 * x * super::erf::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)) as f32
            }
            #[expect(clippy::cast_possible_truncation, reason = "the result is an f32")]
            Self::GeluTanh => {
                let x = f64::from(x);
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                (x / (1.0 + (-2.0 * inner).exp())) as f32
            }
        }
    }

    /// The function's number and its two parameters, as `activate(v, kind, alpha, beta)` in the shaders takes them.
    pub const fn parameters(self) -> (u32, f32, f32) {
        match self {
            Self::Identity => (0, 0.0, 0.0),
            Self::Relu => (1, 0.0, 0.0),
            Self::Clip(low, high) => (2, low, high),
            Self::LeakyRelu(alpha) => (3, alpha, 0.0),
            Self::Sigmoid => (4, 0.0, 0.0),
            Self::Tanh => (5, 0.0, 0.0),
            Self::Silu => (6, 0.0, 0.0),
            Self::HardSigmoid(alpha, beta) => (7, alpha, beta),
            Self::HardSwish => (8, 0.0, 0.0),
            Self::Gelu => (9, 0.0, 0.0),
            Self::GeluTanh => (10, 0.0, 0.0),
        }
    }

    /// Whether its code is long, so that kernels have it only where it is used.
    pub const fn is_long(self) -> bool {
        matches!(self, Self::Gelu | Self::GeluTanh)
    }
}
