// y = activation(alpha * a × b + beta * c + r), for each product of a batch.
//
// Layout  a: rows of k padded to units; y: rows of n padded to units; b: k rows of n padded to units (a constant is
//         packed so at load, transposed or not), or one panel of matmul/weights; c: see finish.wgsl.
// Work    one invocation owns ROWS rows of one unit of columns and keeps them in registers: for each unit of k it reads
//         ROWS units of a and four of b. Neighbouring invocations take neighbouring columns. Rows and columns beyond
//         the matrix are clamped on reading and not stored; what a's padding holds is never read.

#import matmul/operands
#import matmul/part

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = min(id.x, params.n4 - 1u);
    let row = id.y * ROWS;
    let k4 = (params.k + 3u) / 4u;
    let offsets = batch_offsets(id.z);
    let b_at = offsets.y + column;
#for i in ROWS
    let a{i} = offsets.x + min(row + {i}u, params.m - 1u) * k4;
    var sum{i} = vec4<f32>();
#endfor
    let part = part_of_k(id.z);
#if BITS
    let whole = min(params.k / 4u, part.y) / HALVES;
    var g = part.x / HALVES;
    while g < whole {
        let block = g / params.b_block;
        let zeros = zeros_b(block, column);
        let scales = scales_b(block, column);
        let end = min((block + 1u) * params.b_block, whole);
        for (; g < end; g++) {
            let group = load_b(b_at + g * params.n4);
#for h in HALVES
            let b{h} = rows_b(group, {h}u, zeros);
#for q in 4
            let b{h}_{q} = b{h}[{q}] * scales;
#endfor
#for i in ROWS
            let x{h}_{i} = load_a(a{i} + g * HALVES + {h}u);
            sum{i} += x{h}_{i}.x * b{h}_0 + x{h}_{i}.y * b{h}_1 + x{h}_{i}.z * b{h}_2 + x{h}_{i}.w * b{h}_3;
#endfor
#endfor
        }
    }
    let rest = whole * HALVES * 4u;
#else
    let whole = min(params.k / 4u, part.y);
    for (var u = part.x; u < whole; u++) {
        let b_row = b_at + u * 4u * params.n4;
#for q in 4
        let b{q} = load_b(b_row + {q}u * params.n4);
#endfor
#for i in ROWS
        let x{i} = load_a(a{i} + u);
        sum{i} += x{i}.x * b0 + x{i}.y * b1 + x{i}.z * b2 + x{i}.w * b3;
#endfor
    }
    let rest = whole * 4u;
#endif
    for (var kk = rest; kk < min(params.k, part.y * 4u); kk++) {
#if BITS
        let b0 = row_b(b_at, params.n4, kk, column);
#else
        let b0 = load_b(b_at + kk * params.n4);
#endif
#for i in ROWS
        sum{i} += get_a(a{i} * 4u + kk) * b0;
#endfor
    }
    if id.x >= params.n4 {
        return;
    }
    let y_at = id.z * params.m * params.n4 + column;
#for i in ROWS
    if row + {i}u < params.m {
        let at{i} = y_at + (row + {i}u) * params.n4;
        store_y(at{i}, finish(sum{i}, row + {i}u, column, at{i}));
    }
#endfor
}
