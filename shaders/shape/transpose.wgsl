// y = x with two dimensions exchanged, in blocks of four by four: the innermost dimension of y (size0) is not that of x (dimension J).
//
// Layout  both dense in units along their own innermost dimension; all sizes of the two are multiples of four.
//         Block (…, c1, c0), of which dimensions 0 and J count blocks, is read from x at base + Σ c_i · from_i, four
//         units `from_row` apart, and written to y at Σ c_i · to_i, four units `to_row` apart.
// Work    one invocation takes one block: four units in, transposed in registers, four units out.

#import common/index
#param blocks: u32
#param base: i32
#param from_row: i32
#param to_row: u32
#for i in RANK
#param size{i}: u32
#param from{i}: i32
#param to{i}: u32
#endfor
#read x
#write y

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_index(workgroup, workgroups, local, WORKGROUP);
    if i >= params.blocks {
        return;
    }
    var rest = i;
    var at = params.base;
    var out = 0u;
#for i in RANK
    let c{i} = rest % params.size{i};
    rest = rest / params.size{i};
    at += i32(c{i}) * params.from{i};
    out += c{i} * params.to{i};
#endfor
    let a = load_x(u32(at));
    let b = load_x(u32(at + params.from_row));
    let c = load_x(u32(at + 2 * params.from_row));
    let d = load_x(u32(at + 3 * params.from_row));
    store_y(out, x_unit(a[0], b[0], c[0], d[0]));
    store_y(out + params.to_row, x_unit(a[1], b[1], c[1], d[1]));
    store_y(out + 2u * params.to_row, x_unit(a[2], b[2], c[2], d[2]));
    store_y(out + 3u * params.to_row, x_unit(a[3], b[3], c[3], d[3]));
}
