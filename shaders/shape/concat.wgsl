// y = up to three neighbouring parts side by side, where their borders do not fall on whole units.
//
// Layout  all dense. y is rows of `total` elements; part i is `length{i}` of them, from `first{i}` on.
// Work    one invocation takes one unit of y and finds for each of its four elements the part that it comes from.
//         More parts than three take several dispatches: all but the first of them (UPDATE) read the unit and change
//         only what is theirs.

#import common/index
#param units: u32
#param rows: u32
#param total: u32
#for i in COUNT
#param first{i}: u32
#param length{i}: u32
#endfor
#for i in COUNT
#read x{i} elements
#endfor
#if UPDATE
#update y
#else
#write y
#endif

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
#if UPDATE
    var out = load_y(u);
#else
    var out = y_unit();
#endif
    var row = (u << 2u) / params.total;
    var c = (u << 2u) % params.total;
    for (var k = 0u; k < 4u; k++) {
#for i in COUNT
        if c >= params.first{i} && c - params.first{i} < params.length{i} {
            out[k] = get_x{i}(row * params.length{i} + c - params.first{i});
        }
#endfor
        c++;
        if c == params.total {
            // The padding of the last unit of all repeats a row that is there.
            c = 0u;
            row = min(row + 1u, params.rows - 1u);
        }
    }
    store_y(u, out);
}
