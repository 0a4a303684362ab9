// y = x read by strides: the element of y at (…, c2, c1, c0) is the element of x at base + Σ c_i · stride_i.
// Transpose, Slice, Split, Expand, Tile, DepthToSpace and their like, their neighbouring dimensions merged.
//
// Layout  y: dense over the sizes, innermost first. x: any, strides count its elements (FORM 2: its units).
// Work    one invocation takes one unit of y.
// FORM    0  the unit's four elements lie anywhere: a counter walks them
//         1  size0 is a multiple of four: they are neighbours along the innermost dimension
//         2  they are a unit of x, too: sizes and strides count units

#import common/index
#param units: u32
#param base: i32
#for i in RANK
#param size{i}: u32
#param stride{i}: i32
#endfor
#if FORM == 2
#read x
#else
#read x elements
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
#if FORM == 2
    var rest = u;
#else
    var rest = u << 2u;
#endif
    var at = params.base;
#for i in RANK
    var c{i} = rest % params.size{i};
    rest = rest / params.size{i};
    at += i32(c{i}) * params.stride{i};
#endfor
#if FORM == 2
    store_y(u, load_x(u32(at)));
#endif
#if FORM == 1
    let step = params.stride0;
    store_y(u, x_unit(
        get_x(u32(at)), get_x(u32(at + step)), get_x(u32(at + 2 * step)), get_x(u32(at + 3 * step)),
    ));
#endif
#if FORM == 0
    var out = x_unit();
    for (var k = 0u; k < 4u; k++) {
        out[k] = get_x(u32(at));
        // To the next element. Past the last one of all the counter starts again at the first, so that padding reads
        // something that is there.
        var carry = true;
#for i in RANK
        c{i} += u32(carry);
        at += select(0, params.stride{i}, carry);
        carry = carry && c{i} == params.size{i};
        at -= select(0, i32(params.size{i}) * params.stride{i}, carry);
        c{i} = select(c{i}, 0u, carry);
#endfor
    }
    store_y(u, out);
#endif
}
