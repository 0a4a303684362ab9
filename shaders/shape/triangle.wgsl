// y = x on one side of a diagonal, 0 on the other: Trilu.
//
// UPPER   the columns from `diagonal` to the right of the main one on are kept, else those up to it
// Layout  dense; matrices of rows · columns.
// Work    one invocation takes one unit of y.

#import common/index
#param units: u32
#param rows: u32
#param columns: u32
#param diagonal: i32
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
    let e = vec4<u32>(u << 2u) + vec4<u32>(0u, 1u, 2u, 3u);
    let column = vec4<i32>(e % params.columns);
    let edge = vec4<i32>((e / params.columns) % params.rows) + params.diagonal;
#if UPPER
    let kept = column >= edge;
#else
    let kept = column <= edge;
#endif
#if WIDE
    let v = load_x(u);
    var out = x_unit();
    for (var k = 0u; k < 4u; k++) {
        out[k] = select(out[k], v[k], kept[k]);
    }
    store_y(u, out);
#else
    store_y(u, select(x_unit(), load_x(u), kept));
#endif
}
