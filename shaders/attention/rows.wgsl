// y = softmax(cap(scale * q × kᵀ) + mask) × v, for each head, with cap(s) = softcap * tanh(s / softcap); a query whose keys
// are all masked gives 0. With SPLIT y is what some of the keys make of it, to be joined by attention/merge.
//
// Layout  see attention/operands. With SPLIT, y holds for each batch, head, query and part of the keys the v4 units of the
//         sum of its values, and then the largest score and the sum of the weights, measured by it.
// Work    one workgroup of 64 owns 4 queries of the heads that share keys and values, and walks along the keys (with SPLIT,
//         along `span` of them), 64 at a time. First each invocation scores one key for the 4 queries; then 16 invocations
//         take one query each: they keep its largest score and its sum so far (the sums so far are rescaled when the
//         largest grows), and each adds to up to 4 units of its result, 16 apart.

#import attention/operands
#if SPLIT
#param heads: u32
#param splits: u32
#param span: u32        // keys of one part
#endif

var<workgroup> query: array<vec4<f32>, 256>;    // [query][unit of d]
var<workgroup> score: array<f32, 256>;          // [query][key of the tile]
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
#if SPLIT
    let first = workgroup.x / params.splits * 4u;
    let split = workgroup.x % params.splits;
#else
    let first = workgroup.x * 4u;
#endif
    let last = params.group * params.queries - 1u;
    let batch = workgroup.z;
    let d4 = (params.d + 3u) / 4u;
    let k_at = batch * params.k_batch + workgroup.y * params.k_head;
    let v_at = batch * params.v_batch + workgroup.y * params.v_head;
    for (var i = local; i < d4 * 4u; i += 64u) {
        let place = min(first + i / d4, last);
        let head = workgroup.y * params.group + place / params.queries;
        let row = place % params.queries;
        let u = i % d4;
        let x = unit_q(batch * params.q_batch + head * params.q_head + row * params.q_row + u);
        // What lies in the padding must not count.
        query[i] = select(vec4<f32>(), x, inside(u)) * params.scale;
    }
    workgroupBarrier();
    let own = local / 16u;
    let lane = local % 16u;
    var largest = LOWEST;
    var total = 0.0;
#for t in 4
    var sum{t} = vec4<f32>();
#endfor
    var end = 0u;
    for (var i = 0u; i < 4u; i++) {
        end = max(end, seen(batch, min(first + i, last) % params.queries));
    }
#if SPLIT
    let begin = split * params.span;
    end = min(end, begin + params.span);
#else
    let begin = 0u;
#endif
    for (var tile = begin; tile < end; tile += 64u) {
        let key = tile + local;
        let clamped = min(key, end - 1u);
        var s = vec4<f32>();
        for (var u = 0u; u < d4; u++) {
            let x = select(vec4<f32>(), unit_k(k_at + clamped * params.k_row + u), inside(u));
            s += vec4<f32>(dot(query[u], x), dot(query[d4 + u], x), dot(query[2u * d4 + u], x), dot(query[3u * d4 + u], x));
        }
        for (var i = 0u; i < 4u; i++) {
            let place = min(first + i, last);
            let head = workgroup.y * params.group + place / params.queries;
            let row = place % params.queries;
            score[i * 64u + local] = masked(s[i], batch, head, row, key, min(end, seen(batch, row)));
        }
        workgroupBarrier();
        var top = LOWEST;
        for (var i = lane; i < 64u; i += 16u) {
            top = max(top, score[own * 64u + i]);
        }
        partial[local] = top;
        workgroupBarrier();
        let before = largest;
        for (var i = 0u; i < 16u; i++) {
            largest = max(largest, partial[own * 16u + i]);
        }
        let correction = rescaled(before, largest);
        total *= correction;
#for t in 4
        sum{t} *= correction;
#endfor
        let count = min(64u, end - tile);
        for (var i = 0u; i < count; i++) {
            let weight = weight_of(score[own * 64u + i], largest);
            total += weight;
            let at = v_at + (tile + i) * params.v_row;
#for t in 4
            if lane + {t}u * 16u < params.v4 {
                sum{t} += weight * unit_v(at + lane + {t}u * 16u);
            }
#endfor
        }
        workgroupBarrier();
    }
    let place = first + own;
    if place > last {
        return;
    }
    let head = workgroup.y * params.group + place / params.queries;
    let row = place % params.queries;
#if SPLIT
    let line = (batch * params.heads + head) * params.queries + row;
    let y_at = (line * params.splits + split) * (params.v4 + 1u);
    let factor = 1.0;
    if lane == 0u {
        store_y(y_at + params.v4, vec4<f32>(largest, total, 0.0, 0.0));
    }
#else
    let y_at = params.y_first + batch * params.y_batch + head * params.y_head + row * params.y_row;
    let factor = inverse(total);
#endif
#for t in 4
    if lane + {t}u * 16u < params.v4 {
        store_y(y_at + lane + {t}u * 16u, sum{t} * factor);
    }
#endfor
}
