// y = softmax(cap(scale * q × kᵀ) + mask) × v, for each head, with cap(s) = softcap * tanh(s / softcap); a query whose keys
// are all masked gives 0. For few queries on software adapters, where lanes of a subgroup are those of a vector register. With
// SPLIT y is what some of the keys make of it, to be joined by attention/merge.
//
// Layout  see attention/operands; with SPLIT, y as attention/rows leaves it. Rows of v have at most UNITS * LANES units.
// Work    a workgroup is one subgroup of LANES lanes and owns ROWS queries of the heads that share keys and values. It walks
//         along the keys (with SPLIT, along `span` of them), LANES at a time: each lane scores one key for all queries;
//         then the weights are handed round, and each lane adds to UNITS units of the results, LANES apart. A query keeps
//         its largest score and its sum so far; what was summed is rescaled when the largest grows.

#import attention/operands
#if SPLIT
#param heads: u32
#param splits: u32
#param span: u32        // keys of one part
#endif

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
#if SPLIT
    let first = workgroup.x / params.splits * ROWS;
    let split = workgroup.x % params.splits;
#else
    let first = workgroup.x * ROWS;
#endif
    let last = params.group * params.queries - 1u;
    let batch = workgroup.z;
    let d4 = (params.d + 3u) / 4u;
    let k_at = batch * params.k_batch + workgroup.y * params.k_head;
    let v_at = batch * params.v_batch + workgroup.y * params.v_head;
    var end = 0u;
#for i in ROWS
    let place{i} = min(first + {i}u, last);
    let head{i} = workgroup.y * params.group + place{i} / params.queries;
    let row{i} = place{i} % params.queries;
    let q_at{i} = batch * params.q_batch + head{i} * params.q_head + row{i} * params.q_row;
    let seen{i} = seen(batch, row{i});
    end = max(end, seen{i});
    var largest{i} = LOWEST;
    var total{i} = 0.0;
#for t in UNITS
    var sum{i}_{t} = vec4<f32>();
#endfor
#endfor
#if SPLIT
    let begin = split * params.span;
    end = min(end, begin + params.span);
#else
    let begin = 0u;
#endif
#for t in UNITS
    let unit{t} = min(lane + {t}u * LANES, params.v4 - 1u);
#endfor
    for (var tile = begin; tile < end; tile += LANES) {
        let key = tile + lane;
        let at = k_at + min(key, end - 1u) * params.k_row;
#for i in ROWS
        var s{i} = 0.0;
#endfor
        for (var u = 0u; u < d4; u++) {
            // What lies in the padding must not count.
            let x = select(vec4<f32>(), unit_k(at + u), inside(u));
#for i in ROWS
            s{i} += dot(select(vec4<f32>(), unit_q(q_at{i} + u), inside(u)), x);
#endfor
        }
#for i in ROWS
        s{i} = masked(s{i} * params.scale, batch, head{i}, row{i}, key, min(end, seen{i}));
        let before{i} = largest{i};
        largest{i} = max(before{i}, subgroupMax(s{i}));
        let correction{i} = rescaled(before{i}, largest{i});
        let weight{i} = weight_of(s{i}, largest{i});
        total{i} = total{i} * correction{i} + weight{i};
#for t in UNITS
        sum{i}_{t} *= correction{i};
#endfor
#endfor
#for l in LANES
        {
            let begins = v_at + min(tile + {l}u, end - 1u) * params.v_row;
#for i in ROWS
            let w{i} = subgroupBroadcast(weight{i}, {l}u);
#endfor
#for t in UNITS
            let x{t} = unit_v(begins + unit{t});
#for i in ROWS
            sum{i}_{t} += w{i} * x{t};
#endfor
#endfor
        }
#endfor
    }
#for i in ROWS
    let all{i} = subgroupAdd(total{i});
    if first + {i}u <= last {
#if SPLIT
        let line = (batch * params.heads + head{i}) * params.queries + row{i};
        let y_at = (line * params.splits + split) * (params.v4 + 1u);
        let factor = 1.0;
        if lane == 0u {
            store_y(y_at + params.v4, vec4<f32>(largest{i}, all{i}, 0.0, 0.0));
        }
#else
        let y_at = params.y_first + batch * params.y_batch + head{i} * params.y_head + row{i} * params.y_row;
        let factor = inverse(all{i});
#endif
#for t in UNITS
        if lane + {t}u * LANES < params.v4 {
            store_y(y_at + lane + {t}u * LANES, sum{i}_{t} * factor);
        }
#endfor
    }
#endfor
}
