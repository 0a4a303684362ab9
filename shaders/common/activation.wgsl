// The activations that operators can apply to what they store, numbered as `Activation::parameters` does.
//
// `kind` is the same for a whole dispatch, so that the branches cost little. WGSL may overflow in exp and tanh where the
// result would still be finite: arguments are clamped to where f32 can no longer tell the difference.
fn activate(v: vec4<f32>, kind: u32, alpha: f32, beta: f32) -> vec4<f32> {
    switch kind {
        case 1u: {
            return max(v, vec4<f32>(0.0));
        }
        case 2u: {
            return min(max(v, vec4<f32>(alpha)), vec4<f32>(beta));
        }
        case 3u: {
            return select(v, alpha * v, v < vec4<f32>(0.0));
        }
        case 4u: {
            return 1.0 / (1.0 + exp(-clamp(v, vec4<f32>(-80.0), vec4<f32>(80.0))));
        }
        case 5u: {
            return tanh(clamp(v, vec4<f32>(-10.0), vec4<f32>(10.0)));
        }
        case 6u: {
            return v / (1.0 + exp(-clamp(v, vec4<f32>(-80.0), vec4<f32>(80.0))));
        }
        case 7u: {
            return clamp(alpha * v + beta, vec4<f32>(0.0), vec4<f32>(1.0));
        }
        case 8u: {
            return v * clamp(v / 6.0 + 0.5, vec4<f32>(0.0), vec4<f32>(1.0));
        }
        default: {
            return v;
        }
    }
}
