// y[o, j, i] = x[o, index[j] - first, i] where that row is in x, else previous[o, j, i]: Gather from a tensor that lies
// in several parts, one of which is x. Without PREVIOUS the other rows are zeros.
//
// Layout  all dense; x is outer · rows · inner, a part of outer · size · inner; y is outer · count · inner (UNITS: inner
//         counts units).
// Work    one invocation takes one unit of y. Negative indices count from the back of all parts; what is out of range
//         then is clamped, as a kernel cannot refuse it.

#import common/index
#param units: u32
#param elements: u32    // of y (UNITS: units)
#param size: u32        // rows of all parts
#param first: u32       // the first row that x has, and how many it has
#param rows: u32
#param count: u32
#param inner: u32
#if UNITS
#read x
#else
#read x elements
#endif
#read index elements
#if PREVIOUS
#read previous
#endif
#write y

// Where element (unit) e of y lies in x, and whether it does.
struct Place {
    at: u32,
    inside: bool,
}

fn place(e: u32) -> Place {
    let i = e % params.inner;
    let rest = e / params.inner;
    let at = get_index(rest % params.count);
    let size = i32(params.size);
    let row = u32(clamp(select(at, at + size, at < 0), 0, size - 1));
    let inside = row >= params.first && row - params.first < params.rows;
    let within = select(0u, row - params.first, inside);
    return Place(((rest / params.count) * params.rows + within) * params.inner + i, inside);
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
#if PREVIOUS
    var out = load_previous(u);
#else
    var out = x_unit();
#endif
#if UNITS
    let p = place(u);
    if p.inside {
        out = load_x(p.at);
    }
#else
    for (var k = 0u; k < 4u; k++) {
        let p = place(min((u << 2u) + k, params.elements - 1u));
        if p.inside {
            out[k] = get_x(p.at);
        }
    }
#endif
    store_y(u, out);
}
