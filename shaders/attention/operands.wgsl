// The operands of attention, and what becomes of a score.
//
// Layout  a head's row of q, k, v or y is dense and begins at a whole unit; the first unit and the steps between rows, heads
//         and batches are parameters, so that [batch, head, row, d] and [batch, row, head · d] are both served. BOUND 0: q, k
//         and v are buffers of their own; 1: all three lie in x, as one projection leaves them; 2: k and v lie in x. Groups
//         of `group` heads of q share one of k and v. SOFTCAP: scores are kept within it. MASK 1: numbers that are added; 2:
//         truth values; linear, steps of 0 where it is repeated; it hides the keys behind those that it covers. VALID: how many
//         keys of each batch are valid.

#import attention/running

#param queries: u32
#param keys: u32
#param d: u32
#param v4: u32
#param group: u32
#param scale: f32
#if SOFTCAP
#param softcap: f32
#endif
#param causal: u32
#param before: i32      // keys before the first query's own place
#param q_first: u32
#param q_batch: u32
#param q_head: u32
#param q_row: u32
#param k_first: u32
#param k_batch: u32
#param k_head: u32
#param k_row: u32
#param v_first: u32
#param v_batch: u32
#param v_head: u32
#param v_row: u32
#param y_first: u32
#param y_batch: u32
#param y_head: u32
#param y_row: u32
#if MASK
#param covered: u32     // keys that the mask covers
#param mask_batch: u32
#param mask_head: u32
#param mask_row: u32
#param mask_column: u32
#endif
#if BOUND != 1
#read q
#endif
#if BOUND
#read x
#else
#read k
#read v
#endif
#if MASK
#read mask elements
#endif
#if VALID
#read valid elements
#endif
#write y

#if BOUND
fn unit_q(u: u32) -> vec4<f32> {
#if BOUND == 1
    return load_x(params.q_first + u);
#else
    return load_q(params.q_first + u);
#endif
}

fn unit_k(u: u32) -> vec4<f32> {
    return load_x(params.k_first + u);
}

fn unit_v(u: u32) -> vec4<f32> {
    return load_x(params.v_first + u);
}
#else
fn unit_q(u: u32) -> vec4<f32> {
    return load_q(params.q_first + u);
}

fn unit_k(u: u32) -> vec4<f32> {
    return load_k(params.k_first + u);
}

fn unit_v(u: u32) -> vec4<f32> {
    return load_v(params.v_first + u);
}
#endif

fn inside(u: u32) -> vec4<bool> {
    return vec4<u32>(u * 4u, u * 4u + 1u, u * 4u + 2u, u * 4u + 3u) < vec4<u32>(params.d);
}

// How many keys the query of a row may see: those that are valid, and none after its own place, which is counted from their
// end.
fn seen(batch: u32, row: u32) -> u32 {
    var count = i32(params.keys);
    var place = params.before + i32(row);
#if VALID
    count = clamp(get_valid(batch), 0, count);
    place = count - i32(params.queries) + i32(row);
#endif
    if params.causal != 0u {
        count = min(count, place + 1);
    }
#if MASK
    count = min(count, i32(params.covered));
#endif
    return u32(max(count, 0));
}

// The score of a key for the query of a row, which sees the keys before `end`: capped, with what the mask adds, LOWEST where
// it is hidden.
fn masked(score: f32, batch: u32, head: u32, row: u32, key: u32, end: u32) -> f32 {
    var allowed = key < end;
    var value = score;
#if SOFTCAP
    value = params.softcap * tanh(clamp(score / params.softcap, -10.0, 10.0));
#endif
#if MASK
    let place = row * params.mask_row + min(key, params.covered - 1u) * params.mask_column;
    let bias = get_mask(batch * params.mask_batch + head * params.mask_head + place);
#endif
#if MASK == 1
    // Minus infinity, by its bits: WGSL knows no infinity.
    allowed = allowed && bitcast<u32>(bias) != 0xff800000u;
    value += select(0.0, bias, allowed);
#endif
#if MASK == 2
    allowed = allowed && bias != 0;
#endif
    return select(LOWEST, max(value, -3.3e38), allowed);
}
