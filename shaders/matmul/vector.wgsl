// y = activation(alpha * a × b + beta * c + r), for each product of a batch, where a has few rows: the last layers of
// classifiers, and anything else that reads b once and is bound by that.
//
// Layout  a: rows of k padded to units; y: rows of n padded to units; b: panels of COLUMNS units of columns, see
//         matmul/subgroup and, for BITS, matmul/weights; c: see finish.wgsl.
// Work    one workgroup owns COLUMNS = LANES units of columns and ROWS rows. Invocations side by side take neighbouring columns of b;
//         SLICES slices walk along k, so many units of it apart, and are summed in workgroup memory at the end. With one
//         slice nothing is shared.

#import matmul/operands
#import matmul/part

const COLUMNS = LANES;
const SIZE = COLUMNS * SLICES;
#if SLICES != 1
var<workgroup> partial: array<vec4<f32>, ROWS * SIZE>;
#endif

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = workgroup.x * COLUMNS;
    let slice = local / COLUMNS;
    let row = workgroup.y * ROWS;
    let k4 = (params.k + 3u) / 4u;
    let offsets = batch_offsets(workgroup.z);
    let b_at = offsets.y + workgroup.x * params.b_panel + min(local % COLUMNS, params.n4 - 1u - first);
#for i in ROWS
    let a{i} = offsets.x + min(row + {i}u, params.m - 1u) * k4;
    var sum{i} = vec4<f32>();
#endfor
    let part = part_of_k(workgroup.z);
#if BITS
    // A slice takes spans of groups, none of which lies in two blocks.
    let column = min(first + local % COLUMNS, params.n4 - 1u);
    let whole = min(params.k / 4u, part.y) / HALVES;
    for (var g = (part.x / HALVES / params.b_span + slice) * params.b_span; g < whole; g += SLICES * params.b_span) {
        let block = g / params.b_block;
        let zeros = zeros_b(block, column);
#for i in ROWS
        var own{i} = vec4<f32>();
#endfor
        for (var at = g; at < min(g + params.b_span, whole); at++) {
            let group = load_b(b_at + at * params.b_step);
#for h in HALVES
            let b{h} = rows_b(group, {h}u, zeros);
#for i in ROWS
            let x{h}_{i} = load_a(a{i} + at * HALVES + {h}u);
            own{i} += x{h}_{i}.x * b{h}[0] + x{h}_{i}.y * b{h}[1] + x{h}_{i}.z * b{h}[2] + x{h}_{i}.w * b{h}[3];
#endfor
#endfor
        }
        let scales = scales_b(block, column);
#for i in ROWS
        sum{i} += own{i} * scales;
#endfor
    }
    let rest = whole * HALVES * 4u;
#else
    let whole = min(params.k / 4u, part.y);
    for (var u = part.x + slice; u < whole; u += SLICES) {
        let b_row = b_at + u * 4u * params.b_step;
#for q in 4
        let b{q} = load_b(b_row + {q}u * params.b_step);
#endfor
#for i in ROWS
        let x{i} = load_a(a{i} + u);
        sum{i} += x{i}.x * b0 + x{i}.y * b1 + x{i}.z * b2 + x{i}.w * b3;
#endfor
    }
    let rest = whole * 4u;
#endif
    if slice == 0u {
        for (var kk = rest; kk < min(params.k, part.y * 4u); kk++) {
#if BITS
            let b0 = row_b(b_at, params.b_step, kk, column);
#else
            let b0 = load_b(b_at + kk * params.b_step);
#endif
#for i in ROWS
            sum{i} += get_a(a{i} * 4u + kk) * b0;
#endfor
        }
    }
#if SLICES == 1
    if first + local >= params.n4 {
        return;
    }
#for i in ROWS
    if row + {i}u < params.m {
        let y_at = (workgroup.z * params.m + row + {i}u) * params.n4 + first + local;
        store_y(y_at, finish(sum{i}, row + {i}u, first + local, y_at));
    }
#endfor
#else
#for i in ROWS
    partial[{i}u * SIZE + local] = sum{i};
#endfor
    workgroupBarrier();
    if local >= ROWS * COLUMNS {
        return;
    }
    let own = local / COLUMNS;
    let own_column = first + local % COLUMNS;
    if own_column >= params.n4 || row + own >= params.m {
        return;
    }
    var sum = vec4<f32>();
    for (var s = 0u; s < SLICES; s++) {
        sum += partial[own * SIZE + s * COLUMNS + local % COLUMNS];
    }
    let y_at = (workgroup.z * params.m + row + own) * params.n4 + own_column;
    store_y(y_at, finish(sum, row + own, own_column, y_at));
#endif
}
