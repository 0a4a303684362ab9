// The functions that the sums of a cell's gates go through, by their numbers, and the bound of those sums.

#import common/math
#param clip: f32

// A sum within the bound, where that is not 0.
fn bounded(v: vec4<f32>) -> vec4<f32> {
    if params.clip > 0.0 {
        return clamp(v, vec4<f32>(-params.clip), vec4<f32>(params.clip));
    }
    return v;
}

fn apply(function: u32, alpha: f32, beta: f32, v: vec4<f32>) -> vec4<f32> {
    let zero = vec4<f32>(0.0);
    switch function {
        case 0u: { return max(v, zero); }
        case 1u: { return tanh4(v); }
        case 2u: { return sigmoid4(v); }
        case 3u: { return v / (1.0 + abs(v)); }
        case 4u: { return softplus4(v); }
        case 5u: { return alpha * v + beta; }
        case 6u: { return select(v, alpha * v, v < zero); }
        case 7u: { return select(zero, v, v >= vec4<f32>(alpha)); }
        case 8u: { return alpha * tanh4(beta * v); }
        case 9u: { return clamp(alpha * v + beta, zero, vec4<f32>(1.0)); }
        default: { return select(v, alpha * expm1_4(min(v, zero)), v < zero); }
    }
}
