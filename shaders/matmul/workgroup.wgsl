// y = activation(alpha * a × b + beta * c + r), for each product of a batch; for GPUs with fast workgroup memory.
//
// Layout  a: rows of k padded to units; y: rows of n padded to units; b: k rows of n padded to units, or one panel
//         of matmul/weights; c: see finish.wgsl.
// Work    one workgroup of 8 × 8 owns a tile of 64 rows and 16 units of columns, an invocation 8 rows (8 apart) of
//         2 units (8 apart). Four units of k at a time are brought into workgroup memory (8 KiB), zeros where the
//         matrix ends: a's own padding may hold anything.

#import matmul/operands
#import matmul/part

// [unit of k][row], and [row of b][unit of columns]
var<workgroup> a_tile: array<vec4<f32>, 256>;
var<workgroup> b_tile: array<vec4<f32>, 256>;

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first_row = workgroup.y * 64u;
    let first_column = workgroup.x * 16u;
    let k4 = (params.k + 3u) / 4u;
    let offsets = batch_offsets(workgroup.z);
#for i in 8
    var sum{i}_0 = vec4<f32>();
    var sum{i}_1 = vec4<f32>();
#endfor
    let part = part_of_k(workgroup.z);
    for (var first = part.x; first < part.y; first += 4u) {
#for t in 4
        {
            // Neighbours read neighbouring units of a row of a: 4 units of 16 rows.
            let tile_row = {t}u * 16u + local / 4u;
            let u = first + local % 4u;
            let x = load_a(offsets.x + min(first_row + tile_row, params.m - 1u) * k4 + min(u, k4 - 1u));
            let inside = vec4<u32>(u * 4u, u * 4u + 1u, u * 4u + 2u, u * 4u + 3u) < vec4<u32>(params.k);
            a_tile[local % 4u * 64u + tile_row] = select(vec4<f32>(), x, inside);
#if !BITS
            let kk = first * 4u + {t}u * 4u + local / 16u;
            let column = min(first_column + local % 16u, params.n4 - 1u);
            let w = load_b(offsets.y + min(kk, params.k - 1u) * params.n4 + column);
            b_tile[{t}u * 64u + local] = select(vec4<f32>(), w, kk < params.k);
#endif
        }
#endfor
#if BITS
        {
            // Each takes the four rows of one unit of k and of columns.
            let u = first + local / 16u;
            let column = min(first_column + local % 16u, params.n4 - 1u);
            let at = min(u, k4 - 1u);
            let block = at / HALVES / params.b_block;
            let group = load_b(offsets.y + at / HALVES * params.n4 + column);
            let rows = rows_b(group, at % HALVES, zeros_b(block, column));
            let scales = scales_b(block, column);
#for q in 4
            b_tile[local / 16u * 64u + {q}u * 16u + local % 16u] = select(vec4<f32>(), rows[{q}] * scales, u * 4u + {q}u < params.k);
#endfor
        }
#endif
        workgroupBarrier();
        for (var u = 0u; u < 4u; u++) {
#for q in 4
            let b{q}_0 = b_tile[(u * 4u + {q}u) * 16u + id.x];
            let b{q}_1 = b_tile[(u * 4u + {q}u) * 16u + id.x + 8u];
#endfor
#for i in 8
            let x{i} = a_tile[u * 64u + id.y + {i}u * 8u];
            sum{i}_0 += x{i}.x * b0_0 + x{i}.y * b1_0 + x{i}.z * b2_0 + x{i}.w * b3_0;
            sum{i}_1 += x{i}.x * b0_1 + x{i}.y * b1_1 + x{i}.z * b2_1 + x{i}.w * b3_1;
#endfor
        }
        workgroupBarrier();
    }
    let y_at = workgroup.z * params.m * params.n4;
    let column = first_column + id.x;
#for i in 8
    let row{i} = first_row + id.y + {i}u * 8u;
    let at{i} = y_at + row{i} * params.n4 + column;
    if row{i} < params.m && column < params.n4 {
        store_y(at{i}, finish(sum{i}_0, row{i}, column, at{i}));
    }
    if row{i} < params.m && column + 8u < params.n4 {
        store_y(at{i} + 8u, finish(sum{i}_1, row{i}, column + 8u, at{i} + 8u));
    }
#endfor
}
