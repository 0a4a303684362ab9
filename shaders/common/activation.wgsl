// activate(v, kind, alpha, beta): the element-wise function that a kernel applies to its result before it stores it.
// `kind` and its parameters are numbered as `graph::Activation::parameters` numbers them; a test holds the two together.
// `kind` is the same for a whole dispatch, so that the switch costs one branch.

#import common/math

fn activate(v: vec4<f32>, kind: u32, alpha: f32, beta: f32) -> vec4<f32> {
    let zero = vec4<f32>(0.0);
    switch kind {
        // max(x, 0); NaN stays.
        case 1u: {
            return select(max(v, zero), v, is_nan4(v));
        }
        // min(max(x, alpha), beta)
        case 2u: {
            return bound4(v, alpha, beta);
        }
        // x where x >= 0, else alpha x
        case 3u: {
            return select(v, alpha * v, v < zero);
        }
        case 4u: {
            return sigmoid4(v);
        }
        case 5u: {
            return tanh4(v);
        }
        // x sigmoid(x), or with alpha 1 sigmoid(x), or with alpha 2 max(x, beta): all by one pipeline.
        case 6u: {
            let y = select(silu_factor4(v), vec4<f32>(1.0), alpha == 1.0) * sigmoid4(v);
            return select(y, bound4(v, beta, 3.40282347e+38), alpha == 2.0);
        }
        // Hard sigmoid: alpha x + beta between 0 and 1.
        case 7u: {
            return bound4(alpha * v + beta, 0.0, 1.0);
        }
        // Hard swish, or where alpha < beta x between these: both by one pipeline.
        case 8u: {
            return select(v * bound4(v * 0.166666667 + 0.5, 0.0, 1.0), bound4(v, alpha, beta), alpha < beta);
        }
#if ACTIVATION == 9
        // Gelu: only where it is used, for it is long.
        case 9u: {
            return gelu4(v);
        }
#endif
#if ACTIVATION == 10
        // Its approximation, likewise.
        case 10u: {
            return gelu_tanh4(v);
        }
#endif
#if EVERY
        // The exponential: no operator applies it to its result, but a kernel for all functions has it.
        case 11u: {
            return exp4(v);
        }
#endif
        default: {
            return v;
        }
    }
}
