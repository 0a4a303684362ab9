// y = Σ w_i · x_i / Σ w_i · t_i for the parts of the keys that a query's attention was split by: x_i the weighted sum of a
// part's values, t_i the sum of its weights, measured by its largest score s_i, and w_i = exp(s_i - max s).
//
// Layout  x: [batch, heads, queries, splits] times the v4 units of x_i and one unit s_i, t_i; y: rows of v4 units, the first
//         unit and the steps between rows, heads and batches are parameters.
// Work    one invocation takes one unit of y.

#import attention/running
#import common/index
#param units: u32
#param heads: u32
#param queries: u32
#param v4: u32
#param splits: u32
#param y_first: u32
#param y_batch: u32
#param y_head: u32
#param y_row: u32
#read x
#write y

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, WORKGROUP);
    if u >= params.units {
        return;
    }
    let line = u / params.v4;
    let step = params.v4 + 1u;
    let begin = line * params.splits * step;
    var largest = LOWEST;
    for (var i = 0u; i < params.splits; i++) {
        largest = max(largest, load_x(begin + i * step + params.v4).x);
    }
    var total = 0.0;
    var sum = vec4<f32>();
    for (var i = 0u; i < params.splits; i++) {
        let part = load_x(begin + i * step + params.v4);
        let weight = rescaled(part.x, largest);
        total += weight * part.y;
        sum += weight * load_x(begin + i * step + u % params.v4);
    }
    let row = line % params.queries;
    let head = line / params.queries % params.heads;
    let batch = line / params.queries / params.heads;
    let y_at = params.y_first + batch * params.y_batch + head * params.y_head + row * params.y_row;
    store_y(y_at + u % params.v4, sum * inverse(total));
}
