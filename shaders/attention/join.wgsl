// y[b, h, row] = x[b, h, row] for the rows of keys or of values: copies that lie dense, so that one buffer holds both.
//
// Layout  x: rows of `width` units at `x_first`, steps between batches, heads and rows as given. y: dense, from `y_first` on.
// Work    one invocation takes one unit.

#import common/index
#param units: u32
#param width: u32
#param rows: u32
#param heads: u32
#param x_first: u32
#param x_batch: u32
#param x_head: u32
#param x_row: u32
#param y_first: u32
#read x
#write y

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, 64u);
    if u >= params.units {
        return;
    }
    let line = u / params.width;
    let head = line / params.rows;
    let at = head / params.heads * params.x_batch + head % params.heads * params.x_head;
    store_y(params.y_first + u, load_x(params.x_first + at + line % params.rows * params.x_row + u % params.width));
}
