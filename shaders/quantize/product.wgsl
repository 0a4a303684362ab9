// y = f(Σ_k (a - a_zero) · (b - b_zero)), for each product of a batch, summed in 32 bits; f stands in quantize/finish.
//
// Layout  all linear, as ONNX orders them. Element (i, j) of a matrix of a lies at i * a_row + j * a_column, and so on.
//         Zero points and scales are one for a tensor (…_each = 0) or one for each row of a, each column of b (1).
// Work    one invocation takes one unit of y: four neighbouring results, each with its own walk along k.

#import common/index
#param units: u32
#param results: u32
#param m: u32
#param k: u32
#param n: u32
#param a_matrix: u32
#param a_row: u32
#param a_column: u32
#param b_matrix: u32
#param b_row: u32
#param b_column: u32
#param a_zero: u32
#param b_zero: u32
#param a_zero_each: u32
#param b_zero_each: u32
#if RESULT
#param a_scale_each: u32
#param b_scale_each: u32
#param c_row: u32
#param c_column: u32
#endif
#read a elements
#read b elements
#read t elements
#write y
#import matmul/batch
#import quantize/finish

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let unit = linear_index(workgroup, workgroups, local, 64u);
    if unit >= params.units {
        return;
    }
    var sum = vec4<i32>();
    var a_scale = vec4<u32>();
    var b_scale = vec4<u32>();
    var bias = vec4<u32>();
    for (var e = 0u; e < 4u; e++) {
        // Beyond the last result, it is computed again.
        let result = min(unit * 4u + e, params.results - 1u);
        let column = result % params.n;
        let row = result / params.n % params.m;
        // Which matrices: the batch's steps are counted in them.
        let matrix = batch_offsets(result / params.n / params.m);
        let a_line = matrix.x * params.m + row;
        let b_line = matrix.y * params.n + column;
        let a_zero = get_t(params.a_zero + a_line * params.a_zero_each);
        let b_zero = get_t(params.b_zero + b_line * params.b_zero_each);
        let a_at = matrix.x * params.a_matrix + row * params.a_row;
        let b_at = matrix.y * params.b_matrix + column * params.b_column;
        for (var kk = 0u; kk < params.k; kk++) {
            sum[e] += (get_a(a_at + kk * params.a_column) - a_zero) * (get_b(b_at + kk * params.b_row) - b_zero);
        }
#if RESULT
        a_scale[e] = a_line * params.a_scale_each;
        b_scale[e] = b_line * params.b_scale_each;
        bias[e] = row * params.c_row + column * params.c_column;
#endif
    }
    store_y(unit, finished(sum, a_scale, b_scale, bias));
}
