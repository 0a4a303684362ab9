// y = activation(alpha * a × b + beta * c + r), for each product of a batch; for GPUs whose subgroups multiply small matrices
// of 16-bit floats as one, with sums in 32 bits (tensor cores, simdgroup matrices).
//
// Layout  a: rows of k padded to units; y: rows of n padded to units; b: k rows of n padded to units; a and b in 16 bits.
//         c: see finish.wgsl.
// Work    one workgroup is one subgroup of INVOCATIONS and owns DOWN × ACROSS matrices of SIDE × SIDE of y: ROWS = DOWN · SIDE
//         rows and COLUMNS = ACROSS · SIDE columns. SIDE of k at a time are brought into workgroup memory, zeros where the
//         matrix ends: a's own padding may hold anything. The sums go through workgroup memory, too, one matrix at a time,
//         since which invocation holds which of their elements is not told.

#enable f16
#enable wgpu_cooperative_matrix
#import matmul/operands

#if SIDE == 16
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;
#else
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
#endif

const UNITS = SIDE / 4;          // of a row of a small matrix
const COLUMN_UNITS = COLUMNS / 4;

var<workgroup> a_tile: array<f16, ROWS * SIDE>;    // [row][k]
var<workgroup> b_tile: array<f16, SIDE * COLUMNS>; // [k][column]
var<workgroup> sums: array<f32, SIDE * SIDE>;      // [row][column]

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first_row = workgroup.y * ROWS;
    let first_column = workgroup.x * COLUMN_UNITS;
    let k4 = (params.k + 3u) / 4u;
    let offsets = batch_offsets(workgroup.z);
    for (var t = local; t < SIDE * SIDE; t += INVOCATIONS) {
        sums[t] = 0.0;
    }
    workgroupBarrier();
#for i in DOWN
#for j in ACROSS
    var sum{i}_{j} = coopLoadT<Sum>(&sums[0], u32(SIDE));
#endfor
#endfor
    for (var first = 0u; first < params.k; first += SIDE) {
        for (var t = local; t < ROWS * UNITS; t += INVOCATIONS) {
            let row = t / UNITS;
            let u = first / 4u + t % UNITS;
            let x = load_a(offsets.x + min(first_row + row, params.m - 1u) * k4 + min(u, k4 - 1u));
            let inside = vec4<u32>(u * 4u, u * 4u + 1u, u * 4u + 2u, u * 4u + 3u) < vec4<u32>(params.k);
            let v = vec4<f16>(select(vec4<f32>(), x, inside));
#for q in 4
            a_tile[t * 4u + {q}u] = v[{q}];
#endfor
        }
        for (var t = local; t < SIDE * COLUMN_UNITS; t += INVOCATIONS) {
            let kk = first + t / COLUMN_UNITS;
            let column = min(first_column + t % COLUMN_UNITS, params.n4 - 1u);
            let x = load_b(offsets.y + min(kk, params.k - 1u) * params.n4 + column);
            let v = vec4<f16>(select(vec4<f32>(), x, kk < params.k));
#for q in 4
            b_tile[t * 4u + {q}u] = v[{q}];
#endfor
        }
        workgroupBarrier();
#for j in ACROSS
        let b{j} = coopLoadT<Right>(&b_tile[{j}u * SIDE], u32(COLUMNS));
#endfor
#for i in DOWN
        let a{i} = coopLoadT<Left>(&a_tile[{i}u * SIDE * SIDE], u32(SIDE));
#for j in ACROSS
        sum{i}_{j} = coopMultiplyAdd(a{i}, b{j}, sum{i}_{j});
#endfor
#endfor
        workgroupBarrier();
    }
    let y_at = workgroup.z * params.m * params.n4;
#for i in DOWN
#for j in ACROSS
    coopStoreT(sum{i}_{j}, &sums[0], u32(SIDE));
    workgroupBarrier();
    for (var t = local; t < SIDE * UNITS; t += INVOCATIONS) {
        let row = first_row + {i}u * SIDE + t / UNITS;
        let column = first_column + {j}u * UNITS + t % UNITS;
        if row < params.m && column < params.n4 {
            let v = vec4<f32>(sums[t * 4u], sums[t * 4u + 1u], sums[t * 4u + 2u], sums[t * 4u + 3u]);
            let at = y_at + row * params.n4 + column;
            store_y(at, finish(v, row, column, at));
        }
    }
    workgroupBarrier();
#endfor
#endfor
}
