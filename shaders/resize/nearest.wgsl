// y = x with every element repeated `factor_h` times along the lines and `factor_w` times along the rows: nearest
// resizing by whole numbers. RESIDUAL: plus another tensor, which lies like y, if `added` is 1.
//
// Layout  planar: rows of `row_units` units in x, of `out_row_units` in y. CHANNELS: a unit is a position.
// Work    one invocation takes one unit of x and writes all of its factor_h · factor_w copies, so that x is read once.

#import common/index
#param units: u32
#param row_units: u32
#param out_row_units: u32
#param factor_h: u32
#param factor_w: u32
#read x
#if RESIDUAL
#param added: u32
#read residual
#endif
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
    let v = y_unit(load_x(u));
    let f = params.factor_w;
    let line = (u / params.row_units) * params.factor_h;
    let column = (u % params.row_units) * f;
    for (var j = 0u; j < f; j++) {
        // The padding of a row of x may have copies that a row of y has no room for.
        if column + j < params.out_row_units {
#if CHANNELS
            let copy = v;
#else
            let e = j << 2u;
            let copy = y_unit(v[e / f], v[(e + 1u) / f], v[(e + 2u) / f], v[(e + 3u) / f]);
#endif
            for (var i = 0u; i < params.factor_h; i++) {
                let at = (line + i) * params.out_row_units + column + j;
#if RESIDUAL
                var sum = copy;
                if params.added != 0u {
                    sum += load_residual(at);
                }
                store_y(at, sum);
#else
                store_y(at, copy);
#endif
            }
        }
    }
}
