// y = x read through a table for each dimension: the element of y at (…, c2, c1, c0) is the element of x at
// Σ t_i(c_i), or `fill` where one of the t_i(c_i) is negative. Pad, Gather by constant indices, nearest Resize.
//
// Layout  y: dense over the sizes, innermost first. t_i(c) is table[first_i + c], or c · stride_i where first_i is
//         negative. Tables and strides count elements of x (FORM 2: units).
// Work    one invocation takes one unit of y.
// FORM    0  the unit's four elements lie anywhere
//         1  size0 is a multiple of four: they differ in c0 alone
//         2  they are a unit of x, or of `fill`

#import common/index
#param units: u32
#param elements: u32    // of y
#param fill: u32        // the bits of an element (WIDE: the lower ones)
#if WIDE
#param fill_high: u32
#endif
#for i in RANK
#param size{i}: u32
#param first{i}: i32
#param stride{i}: i32
#endfor
#if FORM == 2
#read x
#else
#read x elements
#endif
#read table elements
#write y

// A sum of table entries: negative once one of them was.
fn joined(a: i32, b: i32) -> i32 {
    return select(a + b, -1, a < 0 || b < 0);
}

#for i in RANK
fn t{i}(c: u32) -> i32 {
    if params.first{i} < 0 {
        return i32(c) * params.stride{i};
    }
    return get_table(u32(params.first{i}) + c);
}
#endfor

fn fill() -> x_element {
#if WIDE
    return bits_x(params.fill, params.fill_high);
#else
    return bits_x(params.fill, 0u);
#endif
}

fn fetch(at: i32) -> x_element {
    return select(fill(), get_x(u32(max(at, 0))), at >= 0);
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
#if FORM == 2
    var rest = u;
    var at = 0;
#for i in RANK
    at = joined(at, t{i}(rest % params.size{i}));
    rest = rest / params.size{i};
#endfor
    store_y(u, choose_x(splat_x(fill()), load_x(u32(max(at, 0))), at >= 0));
#endif
#if FORM == 1
    var rest = u << 2u;
    let c = rest % params.size0;
    var at = 0;
#for i in RANK
    if {i} > 0 {
        at = joined(at, t{i}(rest % params.size{i}));
    }
    rest = rest / params.size{i};
#endfor
    store_y(u, x_unit(
        fetch(joined(at, t0(c))), fetch(joined(at, t0(c + 1u))), fetch(joined(at, t0(c + 2u))), fetch(joined(at, t0(c + 3u))),
    ));
#endif
#if FORM == 0
    var out = x_unit();
    for (var k = 0u; k < 4u; k++) {
        // The padding of the last unit repeats the last element.
        var rest = min((u << 2u) + k, params.elements - 1u);
        var at = 0;
#for i in RANK
        at = joined(at, t{i}(rest % params.size{i}));
        rest = rest / params.size{i};
#endfor
        out[k] = fetch(at);
    }
    store_y(u, out);
#endif
}
