// y = the rows of `past`, then those of x: keys or values so far, for each batch and head.
//
// Layout  y: dense [batch, heads, past + rows, size]; past: dense alike; x: steps of batches, heads and rows are parameters,
//         a row's elements are neighbours.
// Work    one invocation takes one unit of y.

#import common/index
#param units: u32
#param elements: u32
#param heads: u32
#param before: u32      // rows of `past`
#param rows: u32
#param size: u32
#param x_batch: u32
#param x_head: u32
#param x_row: u32
#read x elements
#if PAST
#read past elements
#endif
#write y

fn element(e: u32) -> x_element {
    let i = e % params.size;
    let line = e / params.size;
    let row = line % (params.before + params.rows);
    let head = line / (params.before + params.rows);
#if PAST
    if row < params.before {
        return x_element(get_past((head * params.before + row) * params.size + i));
    }
#endif
    let begin = (head / params.heads) * params.x_batch + (head % params.heads) * params.x_head;
    return get_x(begin + (row - params.before) * params.x_row + i);
}

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
    var out = x_unit();
    for (var k = 0u; k < 4u; k++) {
        out[k] = element(min(u * 4u + k, params.elements - 1u));
    }
    store_y(u, y_unit(out));
}
