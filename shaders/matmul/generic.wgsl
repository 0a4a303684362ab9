// y = activation(alpha * a × b + beta * c + r), for each product of a batch; the way for everything that the others leave.
//
// Layout  all linear, as ONNX orders them. Element (i, j) of a matrix of a lies at i * a_row + j * a_column, and so on.
// Work    one invocation takes one unit of y: four neighbouring results, each with its own walk along k.

#import common/index
#param units: u32
#param results: u32
#param m: u32
#param k: u32
#param n: u32
#param a_row: u32
#param a_column: u32
#param b_row: u32
#param b_column: u32
#if BIAS
#param c_row: u32
#param c_column: u32
#endif
#read a elements
#read b elements
#if BIAS
#read c elements
#endif
#if RESIDUAL
#read r
#endif
#write y
#import matmul/batch
#if INTEGER
#else
#import common/activation
#param alpha: f32
#param beta: f32
#param activation: u32
#param activation_alpha: f32
#param activation_beta: f32
#endif

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
    var out = vec4<y_element>();
    for (var e = 0u; e < 4u; e++) {
        // Beyond the last result, it is computed again.
        let result = min(unit * 4u + e, params.results - 1u);
        let column = result % params.n;
        let row = result / params.n % params.m;
        let offsets = batch_offsets(result / params.n / params.m);
        let a_at = offsets.x + row * params.a_row;
        let b_at = offsets.y + column * params.b_column;
        var sum = y_element();
        for (var kk = 0u; kk < params.k; kk++) {
            sum += get_a(a_at + kk * params.a_column) * get_b(b_at + kk * params.b_row);
        }
#if INTEGER
#else
        sum *= params.alpha;
#endif
#if BIAS
        let c_value = get_c(row * params.c_row + column * params.c_column);
#if INTEGER
        sum += c_value;
#else
        sum += params.beta * c_value;
#endif
#endif
        out[e] = sum;
    }
#if INTEGER
    store_y(unit, out);
#else
#if RESIDUAL
    out += load_r(unit);
#endif
    store_y(unit, activate(out, params.activation, params.activation_alpha, params.activation_beta));
#endif
}
