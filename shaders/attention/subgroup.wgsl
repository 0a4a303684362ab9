// y = softmax(cap(scale * q × kᵀ) + mask) × v, for each head, with cap(s) = softcap * tanh(s / softcap); a query whose keys
// are all masked gives 0. For software adapters, where loads are dear and lanes of a subgroup are those of a vector register.
//
// Layout  see attention/operands. Rows of v have at most UNITS * LANES units.
// Work    a workgroup is one subgroup of LANES lanes and owns QUERIES * LANES queries of one head. It walks along the keys,
//         LANES at a time. For the scores a lane owns QUERIES queries, LANES apart: each lane reads the units of one key, and
//         subgroupBroadcast at constant lanes hands them round. For the result it owns UNITS units, LANES apart, of all
//         queries: each lane reads those of a value, and what is handed round are the weights, a number for each query and
//         key. A query keeps its largest score and its sum so far; what was summed is rescaled when the largest grows.

#import attention/operands

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first = workgroup.x * (QUERIES * LANES);
    let head = workgroup.y;
    let batch = workgroup.z;
    let d4 = (params.d + 3u) / 4u;
    let q_at = batch * params.q_batch + head * params.q_head;
    let k_at = batch * params.k_batch + head / params.group * params.k_head;
    let v_at = batch * params.v_batch + head / params.group * params.v_head;
#for i in QUERIES
    let row{i} = min(first + {i}u * LANES + lane, params.queries - 1u);
    let seen{i} = seen(batch, row{i});
    var largest{i} = LOWEST;
    var total{i} = 0.0;
#for r in LANES
#for t in UNITS
    var sum{i}_{r}_{t} = vec4<f32>();
#endfor
#endfor
#endfor
#for t in UNITS
    let unit{t} = min(lane + {t}u * LANES, params.v4 - 1u);
#endfor
    let end = seen(batch, min(first + QUERIES * LANES, params.queries) - 1u);
    for (var tile = 0u; tile < end; tile += LANES) {
        let key = min(tile + lane, end - 1u);
#for i in QUERIES
#for l in LANES
        var s{i}_{l} = 0.0;
#endfor
#endfor
        for (var u = 0u; u < d4; u++) {
            // What lies in the padding must not count.
            let x = select(vec4<f32>(), unit_k(k_at + key * params.k_row + u), inside(u));
#for i in QUERIES
            let q{i} = select(vec4<f32>(), unit_q(q_at + row{i} * params.q_row + u), inside(u));
#endfor
#for l in LANES
            let x{l} = subgroupBroadcast(x, {l}u);
#for i in QUERIES
            s{i}_{l} += dot(q{i}, x{l});
#endfor
#endfor
        }
#for i in QUERIES
        let before{i} = largest{i};
#for l in LANES
        s{i}_{l} = masked(s{i}_{l} * params.scale, batch, head, row{i}, tile + {l}u, seen{i});
        largest{i} = max(largest{i}, s{i}_{l});
#endfor
        let correction{i} = rescaled(before{i}, largest{i});
        total{i} *= correction{i};
#for l in LANES
        let weight{i}_{l} = weight_of(s{i}_{l}, largest{i});
        total{i} += weight{i}_{l};
#endfor
#endfor
#for l in LANES
        let begins{l} = v_at + min(tile + {l}u, end - 1u) * params.v_row;
#for t in UNITS
        let x{l}_{t} = unit_v(begins{l} + unit{t});
#endfor
#endfor
        // Row by row, so that what is summed up is moved once for all keys.
#for i in QUERIES
#for r in LANES
        let by{i}_{r} = subgroupBroadcast(correction{i}, {r}u);
#for t in UNITS
        sum{i}_{r}_{t} *= by{i}_{r};
#endfor
#for l in LANES
        let w{i}_{r}_{l} = subgroupBroadcast(weight{i}_{l}, {r}u);
#for t in UNITS
        sum{i}_{r}_{t} += w{i}_{r}_{l} * x{l}_{t};
#endfor
#endfor
#endfor
#endfor
    }
#for i in QUERIES
    let factor{i} = inverse(total{i});
#for r in LANES
    let all{i}_{r} = subgroupBroadcast(factor{i}, {r}u);
    if first + {i}u * LANES + {r}u < params.queries {
        let row = first + {i}u * LANES + {r}u;
        let y_at = params.y_first + batch * params.y_batch + head * params.y_head + row * params.y_row;
#for t in UNITS
        if lane + {t}u * LANES < params.v4 {
            store_y(y_at + lane + {t}u * LANES, sum{i}_{r}_{t} * all{i}_{r});
        }
#endfor
    }
#endfor
#endfor
}
