// y = activation(alpha * a × b + beta * c + r), for each product of a batch; for software adapters, where loads are dear and
// lanes of a subgroup are lanes of one vector register.
//
// Layout  a: rows of k padded to units; y: rows of n padded to units. b: panels of LANES units of columns, `b_panel` units
//         apart, in each panel k rows `b_step` units apart (a constant is packed so that a panel is dense; rows of whole
//         units are panels too, with b_panel = LANES and b_step = n4), for BITS as matmul/weights says. c: see finish.wgsl.
//         PACKED: a in panels of ROWS rows, in each the units of all rows one after the other (see panels.wgsl); there is
//         one product.
// Work    one workgroup is one subgroup of LANES lanes and owns ROWS = GROUPS * LANES rows of one panel; a lane owns one
//         unit of columns. For each unit of k, a lane reads GROUPS units of a, each of a row of its own, and four units of
//         b; subgroupBroadcast at constant lanes hands a's units round. Rows and columns beyond the matrix are clamped on
//         reading and not stored. REST = ROWS - LANES.

#import matmul/operands

// Units of a from one unit of a row to the next.
#if PACKED
const A_STEP = ROWS;
#else
const A_STEP = 1;
#endif

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = workgroup.x * LANES + lane;
    let clamped = min(column, params.n4 - 1u);
    let row = workgroup.y * ROWS;
    let k4 = (params.k + 3u) / 4u;
    let offsets = batch_offsets(workgroup.z);
    let b_at = offsets.y + clamped / LANES * params.b_panel + clamped % LANES;
    var sum: array<vec4<f32>, ROWS>;
#for g in GROUPS
#if PACKED
    let a{g} = row * k4 + {g}u * LANES + lane;
#else
    let a{g} = offsets.x + min(row + {g}u * LANES + lane, params.m - 1u) * k4;
#endif
#endfor
#if BITS
    let whole = params.k / 4u / HALVES;
    var at_group = 0u;
    while at_group < whole {
        let block = at_group / params.b_block;
        let zeros = zeros_b(block, clamped);
        let scales = scales_b(block, clamped);
        let end = min((block + 1u) * params.b_block, whole);
        for (; at_group < end; at_group++) {
            let group = load_b(b_at + at_group * params.b_step);
            for (var h = 0u; h < HALVES; h++) {
                let b = rows_b(group, h, zeros);
#for q in 4
                let b{q} = b[{q}] * scales;
#endfor
#for g in GROUPS
                let x{g} = load_a(a{g} + (at_group * HALVES + h) * A_STEP);
#for l in LANES
                let x{g}_{l} = subgroupBroadcast(x{g}, {l}u);
                sum[{g} * LANES + {l}] += x{g}_{l}.x * b0;
                sum[{g} * LANES + {l}] += x{g}_{l}.y * b1;
                sum[{g} * LANES + {l}] += x{g}_{l}.z * b2;
                sum[{g} * LANES + {l}] += x{g}_{l}.w * b3;
#endfor
#endfor
            }
        }
    }
    let rest = whole * HALVES * 4u;
#else
    let whole = params.k / 4u;
    for (var u = 0u; u < whole; u++) {
        let b_row = b_at + u * 4u * params.b_step;
#for q in 4
        let b{q} = load_b(b_row + {q}u * params.b_step);
#endfor
#for g in GROUPS
        let x{g} = load_a(a{g} + u * A_STEP);
#for l in LANES
        let x{g}_{l} = subgroupBroadcast(x{g}, {l}u);
        sum[{g} * LANES + {l}] += x{g}_{l}.x * b0;
        sum[{g} * LANES + {l}] += x{g}_{l}.y * b1;
        sum[{g} * LANES + {l}] += x{g}_{l}.z * b2;
        sum[{g} * LANES + {l}] += x{g}_{l}.w * b3;
#endfor
#endfor
    }
    let rest = whole * 4u;
#endif
    for (var kk = rest; kk < params.k; kk++) {
#if BITS
        let b0 = row_b(b_at, params.b_step, kk, clamped);
#else
        let b0 = load_b(b_at + kk * params.b_step);
#endif
#for g in GROUPS
        let x{g} = get_a((a{g} + kk / 4u * A_STEP) * 4u + kk % 4u);
#for l in LANES
        sum[{g} * LANES + {l}] += subgroupBroadcast(x{g}, {l}u) * b0;
#endfor
#endfor
    }
    if column >= params.n4 {
        return;
    }
    // Each turn takes the first LANES rows and brings the next ones to their place: loops, because reads and writes are
    // most of what a driver has to compile.
    let y_at = workgroup.z * params.m * params.n4 + column;
    for (var at = row; at < min(row + ROWS, params.m); at += LANES) {
#for l in LANES
        if at + {l}u < params.m {
            let u{l} = y_at + (at + {l}u) * params.n4;
            store_y(u{l}, finish(sum[{l}], at + {l}u, column, u{l}));
        }
#endfor
#for i in REST
        sum[{i}] = sum[{i} + LANES];
#endfor
    }
}
