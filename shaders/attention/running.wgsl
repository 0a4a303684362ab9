// Weights from scores while their largest is not known yet: what was summed up is rescaled when the largest grows.

// The score of a key that a query does not see: below all others.
const LOWEST = -3.4e38;

// What the largest score so far was worth, measured by a larger one.
fn rescaled(before: f32, largest: f32) -> f32 {
    return select(exp(max(before - largest, -80.0)), 0.0, before == LOWEST);
}

// What a score is worth beside the largest.
fn weight_of(score: f32, largest: f32) -> f32 {
    return select(exp(max(score - largest, -87.0)), 0.0, score == LOWEST);
}

// One over the sum of the weights; of a query that sees no key 0.
fn inverse(total: f32) -> f32 {
    return select(0.0, 1.0 / max(total, 1e-30), total > 0.0);
}
